//go:build unix

package plughost_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
)

// A crash is known at once, also when something that the plugin has started, and that left its group,
// holds its output open.
func TestACrashFailsItsAttemptAtOnce(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, p *plughost.Plugin){
		"alone":                  func(*testing.T, *plughost.Plugin) {},
		"with a child":           func(t *testing.T, p *plughost.Plugin) { number(t, p, "fork") },
		"with one that has left": func(t *testing.T, p *plughost.Plugin) { number(t, p, "fork far") },
	} {
		t.Run(name, func(t *testing.T) {
			p := newBench(t, plughost.Limits{}).lab(t, "")
			var all []time.Duration
			for range 4 {
				before(t, p)
				began := time.Now()
				if err := handle(t, p, "exit"); core.KindOf(err) != core.Crashed {
					t.Fatal(err)
				}
				all = append(all, time.Since(began))
				if err := handle(t, p, "nothing"); err != nil {
					t.Fatal(err)
				}
			}
			if quickest := slices.Min(all); quickest > 100*time.Millisecond { // the others had a busy machine
				t.Errorf("it took %v", all)
			}
		})
	}
}

func TestAFileThatAnybodyMayReplaceIsRunOnlyWhenItIsPinned(t *testing.T) {
	const remedy = "or pin the file that you trust with sha256"
	for _, test := range []struct {
		name       string
		file, dir  fs.FileMode
		link       bool // it is named by a link in another folder
		msg, chmod string
	}{
		{"nobody else may", 0o755, 0o755, false, "", ""},
		{"the group may, which was made for it", 0o775, 0o775, false, "", ""},
		{"anybody may write to it", 0o757, 0o755, false, "anybody may write to", "chmod o-w "},
		{"anybody may rename it", 0o755, 0o777, false, "in the place of", "chmod o-w "},
		{"anybody may rename what the link leads to", 0o755, 0o777, true, "in the place of", "chmod o-w "},
		{"anybody may add files, as in /tmp", 0o755, 0o777 | fs.ModeSticky, false, "", ""},
	} {
		dir := filepath.Join(t.TempDir(), "d")
		path := filepath.Join(dir, "plugin")
		err := os.Mkdir(dir, 0o700)
		if err == nil {
			err = errors.Join(os.WriteFile(path, nil, 0o700), os.Chmod(path, test.file), os.Chmod(dir, test.dir))
		}
		named := path
		if test.link {
			named = filepath.Join(t.TempDir(), "plugin")
			err = errors.Join(err, os.Symlink(path, named))
		}
		if err != nil {
			t.Fatal(err)
		}
		sum, err := plughost.Check(named, "")
		bad, _ := errors.AsType[*plughost.BinaryError](err)
		switch {
		case test.msg == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.msg != "" && (bad == nil || !strings.Contains(bad.Msg, test.msg) || !strings.HasPrefix(bad.Hint, test.chmod) || !strings.HasSuffix(bad.Hint, remedy)):
			t.Errorf("%s: %v", test.name, err)
		}
		if sum == "" {
			sum = fmt.Sprintf("%x", sha256.Sum256(nil))
		}
		if _, err := plughost.Check(named, sum); err != nil {
			t.Errorf("%s, and pinned: %v", test.name, err)
		}
	}
}

// Whatever a plugin prints, pipehook's memory and its log stay small, and the plugin goes on.
func TestWhatAPluginPrintsCostsLittle(t *testing.T) {
	for _, object := range []string{"flood", "noise"} {
		t.Run(object, func(t *testing.T) {
			b := newBench(t, plughost.Limits{})
			p := b.lab(t, "")
			pid := number(t, p, "pid")
			done := make(chan error, 1)
			before := heap()
			go func() { done <- handle(t, p, object) }()
			most := before
			for running := true; running; {
				select {
				case err := <-done:
					if running = false; err != nil {
						t.Error(err)
					}
				case <-time.After(5 * time.Millisecond):
					most = max(most, heap())
				}
			}
			if grew := (int64(most) - int64(before)) >> 20; grew > 64 {
				t.Errorf("the heap grew by %d MiB", grew)
			}
			if now := number(t, p, "pid"); now != pid {
				t.Error("the process was ended")
			}
			if n := b.log.wrote() >> 20; object == "flood" && n > 0 {
				t.Errorf("%d MiB were logged", n)
			}
		})
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// The file is another one every moment. What does not have the checksum never runs.
func TestAFileThatIsSwappedWhileItIsStartedNeverRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, mark := filepath.Join(dir, "plugin"), filepath.Join(dir, "ran")
	good, evil := "#!/bin/sh\nexit 3\n", "#!/bin/sh\ntouch "+mark+"\n"
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(good)))
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() { // ends with stop
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			next, text := filepath.Join(dir, "next"), evil
			if n%2 == 0 {
				text = good
			}
			if err := errors.Join(os.WriteFile(next, []byte(text), 0o700), os.Rename(next, path)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	b := newBench(t, plughost.Limits{FirstPause: time.Hour})
	ran, refused := 0, 0
	for began := time.Now(); (ran < 20 || refused < 20) && time.Since(began) < 20*time.Second; {
		p := b.Start(plughost.Spec{Path: path, SHA256: sum, Plain: true})
		err := p.Ready(t.Context())
		if bad, ok := errors.AsType[*plughost.BinaryError](err); ok && bad.Checksum {
			refused++
		} else if err != nil && strings.Contains(err.Error(), "exit status 3") {
			ran++
		}
		p.Stop(t.Context())
	}
	close(stop)
	swapping.Wait()
	if _, err := os.Stat(mark); err == nil {
		t.Error("the other file ran")
	}
	if ran == 0 || refused == 0 {
		t.Errorf("%d ran and %d were refused: the test tests nothing", ran, refused)
	}
}

// What a plugin has started goes with it, in whatever group it is.
func TestNothingOfAProcessOutlivesIt(t *testing.T) {
	t.Parallel()
	if !onLinux() {
		t.Skip("what has left its group is not found on this system")
	}
	b := newBench(t, plughost.Limits{})
	p := b.lab(t, "")
	for _, end := range []string{"exit", "panic", "kill"} {
		children := []int{number(t, p, "fork"), number(t, p, "fork far")}
		if err := handle(t, p, end); core.KindOf(err) != core.Crashed {
			t.Fatal(err)
		}
		until(t, "the children are gone", func() bool { return !slices.ContainsFunc(children, alive) })
	}
	child := number(t, p, "fork far")
	p.Stop(t.Context())
	if alive(child) {
		t.Errorf("process %d outlived a stop", child)
	}
}

func TestAForkBombIsEndedWhole(t *testing.T) {
	if !onLinux() {
		t.Skip("processes are not listed on this system")
	}
	const mark = "86473.25" // seconds, which nobody else sleeps
	b := newBench(t, plughost.Limits{Start: 700 * time.Millisecond, FirstPause: time.Hour})
	p := b.Start(plughost.Spec{Path: script(t, "b() { [ $1 -gt 0 ] && { b $(($1-1)) & b $(($1-1)) & }; sleep "+mark+"; }\nb 6")})
	if err := p.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "did not start") {
		t.Errorf("error %v", err)
	}
	p.Stop(t.Context())
	until(t, "all are gone", func() bool { return len(running("cmdline", mark)) == 0 })
}

// running are the processes with a text in a file of theirs in /proc.
func running(file, text string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/" + file) // the pattern is good
	for _, path := range all {
		if said, err := os.ReadFile(path); err == nil && strings.Contains(string(said), text) {
			if pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path))); pid != os.Getpid() && alive(pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// A host that is killed leaves no plugin, whenever it was: while one starts, shakes hands, or works.
func TestNoPluginLivesASecondLongerThanAHostThatIsKilled(t *testing.T) {
	if !onLinux() {
		t.Skip("the system does not end children with their parent")
	}
	times := 20
	if testing.Short() {
		times = 3
	}
	for i := range times {
		dir := filepath.Join(shortDir(t), "plugins") // where its sockets find room
		cmd := exec.Command(labSpec("").Path)
		cmd.Env = append(os.Environ(), hostEnv+"="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		mine := func() []int { return running("environ", goplugin.EnvUnixSocketDir+"="+dir) }
		if i%2 == 0 {
			until(t, "a plugin runs", func() bool { return len(mine()) > 0 })
		}
		time.Sleep(time.Duration(i) * 5 * time.Millisecond) // somewhere in its life
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		_ = cmd.Wait() // it was killed
		plugins := func() []int {
			return slices.DeleteFunc(mine(), func(pid int) bool {
				command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
				return string(command) == "sleep\n" // what it has started and hidden is the next host's
			})
		}
		until(t, "no plugin is left", func() bool { return len(plugins()) == 0 })
		if took := time.Since(killed); took > time.Second {
			t.Errorf("a plugin lived on for %s", took)
		}
		for _, pid := range mine() {
			_ = syscall.Kill(pid, syscall.SIGKILL) // there is no next host here
		}
	}
}

func TestAPluginInheritsNothingButTheLock(t *testing.T) {
	if !onLinux() {
		t.Skip("files are not listed on this system")
	}
	secret, err := os.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = secret.Close() }()
	if _, err := unix.FcntlInt(secret.Fd(), unix.F_SETFD, 0); err != nil { // as if we had inherited it
		t.Fatal(err)
	}
	b := newBench(t, plughost.Limits{})
	p := b.lab(t, "")
	locks := 0
	for line := range strings.Lines(handle(t, p, "descriptors").Error()) {
		_, to, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case to == filepath.Join(b.dir, "alive"):
			locks++
		case strings.HasPrefix(to, "pipe:"), strings.HasPrefix(to, "socket:"), strings.HasPrefix(to, "anon_inode:"), to == os.DevNull, strings.HasPrefix(to, "/proc/"), to == "":
		case strings.HasPrefix(to, "/sys/"): // Go reads there what its control group allows
		default:
			t.Errorf("it has %s", line)
		}
	}
	if locks != 1 {
		t.Errorf("it has the lock %d times", locks)
	}
}
