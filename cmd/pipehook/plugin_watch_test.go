package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/core/store"
)

// everywhere is a project in which a plugin is a stage, a listener and, elsewhere, the same listener again.
func everywhere(t *testing.T, more string) *project {
	t.Helper()
	p := newProject(t, testdb.SQLite(t), pluginChain, map[string]string{
		"plugin": "plugin = \"all\"\n  config = { mark = \"on\" }",
		"":       "[[listener]]\nname = \"first\"\nplugin = \"all\"\n" + more + "[[listener]]\nname = \"second\"\nplugin = \"all\"\n" + more,
	})
	p.install(t, "all", "")
	return p
}

// attempts are all that are stored of events.
func (p *project) attempts(t *testing.T, events []store.Event) (all []store.Attempt) {
	t.Helper()
	r, err := store.OpenReader(t.Context(), p.storeURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for _, ev := range events {
		_, of, err := r.Event(t.Context(), ev.ID)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, of...)
	}
	return all
}

// A binary that is replaced again and again under load costs no request and no attempt.
func TestABinaryIsReplacedUnderLoad(t *testing.T) {
	bin := buildBinary(t)
	p := everywhere(t, "")
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	pr.says(t, "plugin started", 3)
	l, stop := p.press(t, 40, nil)
	const rounds = 10
	for n := range rounds {
		behind := fmt.Sprint("version ", n)
		if n%5 == 4 { // written over in place, in two steps
			p.overwrite(t, "all", behind)
		} else {
			p.install(t, "all", behind)
		}
		pr.says(t, "plugin replaced", 3*(n+1))
		l.more(t, 10)
	}
	stop()
	l.flawless(t, p)
	events := p.events(t)
	versions := map[string]bool{}
	for _, a := range p.attempts(t, events) {
		if versions[a.Code] = true; a.Error != "" {
			t.Errorf("an attempt failed: %s", a.Error)
		}
	}
	for _, ev := range events {
		if ev.Labels != `{"mark":"on"}` || len(ev.Deliveries) != 2 || ev.Deliveries[0].State != core.Done || ev.Deliveries[1].State != core.Done {
			t.Errorf("event %s has the labels %s and %+v", ev.ID, ev.Labels, ev.Deliveries)
		}
	}
	if len(versions) < rounds {
		t.Errorf("%d versions have made attempts", len(versions))
	}
	if n := len(pr.said(t, "the plugin's new file is not used")) + len(pr.said(t, "the plugin does not run")); n > 0 {
		t.Errorf("%d times it did not run", n)
	}
	pr.says(t, "plugin stopped", 3*rounds)
	t.Logf("%d events, the slowest answer took %s", len(events), l.slowest)
	pr.stop(t, p, pr.cmd.Process.Pid)
}

// overwrite writes over a plugin's file in place, as cp does, slowly: half of it is there for a while.
func (p *project) overwrite(t *testing.T, name, behind string) {
	t.Helper()
	text := testPlugin.text(t)
	f, err := os.OpenFile(filepath.Join(p.dir, "plugins", "bin", name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text[:len(text)/2]); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text[len(text)/2:] + behind); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// What is wrong with a new binary is said once, and the old one goes on.
func TestABinaryThatIsNoGoodChangesNothing(t *testing.T) {
	bin := buildBinary(t)
	p := everywhere(t, "")
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	pr.says(t, "plugin started", 3)
	label := func() string { return p.told(t, p.post(t, titled(t, "plain")).ID).Labels["mark"] }
	const unused = "the plugin's new file is not used; the old one goes on"
	for n, test := range []struct{ name, text, want string }{
		{"no program", "no program", "plugins/bin/all is not a program for " + runtime.GOOS + "/" + runtime.GOARCH},
		{"no plugin", "#!/bin/sh\necho hello\n", "it is no plugin of pipehook"},
		{"ends", "#!/bin/sh\nexit 3\n", "it ended before it shook hands: exit status 3"},
	} {
		p.installText(t, "all", test.text)
		if line := pr.says(t, unused, n+1); !strings.Contains(line.Err, test.want) {
			t.Errorf("%s: it is said that %s", test.name, line.Err)
		}
		if got := label(); got != "on" {
			t.Errorf("%s: the mark is %q", test.name, got)
		}
	}
	path := filepath.Join(p.dir, "plugins", "bin", "all")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if line := pr.says(t, unused, 4); !strings.Contains(line.Err, "is no program") || line.Key == "" || line.Line == 0 {
		t.Errorf("it is said that %+v", line)
	}
	if err := os.Chmod(path, 0o700); err != nil { // what was said to be the remedy
		t.Fatal(err)
	}
	if line := pr.says(t, unused, 5); !strings.Contains(line.Err, "it ended before it shook hands: exit status 3") {
		t.Errorf("it is said that %s", line.Err)
	}
	if err := os.Remove(path); err != nil { // that is no replacement
		t.Fatal(err)
	}
	if line := pr.says(t, "the plugin's file is gone", 1); line.Level != "WARN" {
		t.Errorf("that the file is gone is said as %s", line.Level)
	}
	if got := label(); got != "on" {
		t.Errorf("without a file the mark is %q", got)
	}
	pickyPlugin.install(t, filepath.Join(p.dir, "plugins", "bin", "all")) // its listener has no objection
	if line := pr.says(t, unused, 6); line.Key != "pipeline[0].stage[2].config.bad" || line.Line == 0 {
		t.Errorf("it is said: %+v", line)
	}
	pr.says(t, "plugin replaced", 2)
	if got := label(); got != "on" {
		t.Errorf("beside one that refuses its configuration the mark is %q", got)
	}
	p.install(t, "all", "good")
	pr.says(t, "plugin replaced", 5)
	if n := len(pr.said(t, "the plugin's file is gone")); n != 1 {
		t.Errorf("%d times it is said that the file is gone", n)
	}
	if got := label(); got != "on" {
		t.Errorf("after a good one the mark is %q", got)
	}
	if n := len(pr.said(t, unused)); n != 6 {
		t.Errorf("it is said %d times", n)
	}
	pr.stop(t, p, pr.cmd.Process.Pid)
}

func TestABinaryThatIsNotThePinnedOneIsNotUsed(t *testing.T) {
	bin := buildBinary(t)
	p := everywhere(t, "")
	sum, err := plughost.Check(filepath.Join(p.dir, "plugins", "bin", "all"), "")
	if err != nil {
		t.Fatal(err)
	}
	p.replace(t, strings.Replace(readFile(t, p.config), "name = \"second\"\n", "name = \"second\"\nsha256 = \""+sum+"\"\n", 1))
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	pr.says(t, "plugin started", 3)
	p.install(t, "all", "another")
	if line := pr.says(t, "the plugin's new file is not used", 1); !strings.Contains(line.Err, "has the SHA-256 ") || !strings.Contains(line.Err, "which is not the pinned "+sum) || line.Key != "listener[1].sha256" || line.Line == 0 {
		t.Errorf("it is said that %+v", line)
	}
	pr.says(t, "plugin replaced", 2) // the others are not pinned
	r := p.post(t, titled(t, "plain"))
	want(t, r, 200, "accepted")
	codes := map[string]bool{}
	for _, a := range p.attempts(t, p.events(t)) {
		codes[a.Code] = true
	}
	if len(codes) != 2 || !codes[sum[:12]] {
		t.Errorf("attempts were made by %v, the pinned one is %s", codes, sum[:12])
	}
	pr.stop(t, p, pr.cmd.Process.Pid)
}

// Half a file is not run: who writes has it open, and one that is written over in place must stay the
// same for longer than one that was put in the place of another.
func TestAFileIsLeftAloneWhileItIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte("one"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := &runningPlugin{file: binaryStamp(path)}
	r.spec.Path = path
	stale := func(alike int) bool {
		return len(changed([]*runningPlugin{r}, seenFile{binaryStamp(path), alike})) == 1
	}
	if stale(100) {
		t.Error("a file that is as it was has changed")
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(" and a half"); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" && stale(100) {
		t.Error("a file that is being written is taken")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if stale(copying-1) || !stale(copying) {
		t.Error("a file that was written over is not taken after as many looks as it should be")
	}
	if err := os.WriteFile(path+".new", []byte("two"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if stale(1) || !stale(2) {
		t.Error("a file that was put in the place of another is not taken at the second look")
	}
	r.took(binaryStamp(path))
	for _, mended := range []string{path, filepath.Dir(path)} {
		if err := os.Chmod(mended, 0o711); err != nil {
			t.Fatal(err)
		}
		if !stale(copying) {
			t.Errorf("chmod of %s goes unnoticed", mended)
		}
		r.took(binaryStamp(path))
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if stale(100) {
		t.Error("a file that is gone is taken")
	}
}

func TestAPipeInThePlaceOfAPluginIsNotWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin")
	if err := syscall.Mkfifo(path, 0o700); err != nil {
		t.Fatal(err)
	}
	looked := make(chan bool)
	go func() { looked <- (seenFile{stampOf(path), copying}).replaces(fileStamp{}, path) }() // ends with the open
	select {
	case <-looked:
	case <-time.After(10 * time.Second):
		t.Error("nobody writes to it, and it is waited for")
	}
}

// The pin of a file that comes next may be saved before it: the configuration is refused, and taken with
// the file.
func TestAPinThatIsSavedBeforeItsFileIsTakenWithIt(t *testing.T) {
	const pin = "sha256 = \"%x\"\n"
	text := testPlugin.text(t)
	before, next := fmt.Sprintf(pin, sha256.Sum256([]byte(text))), fmt.Sprintf(pin, sha256.Sum256([]byte(text+"next")))
	p := everywhere(t, before)
	pr := launch(t, p, exec.Command(buildBinary(t), "serve", "--config", p.config))
	pr.says(t, "plugin started", 3)
	p.replace(t, strings.ReplaceAll(readFile(t, p.config), before, next))
	if line := pr.says(t, "the configuration was not reloaded", 2); !strings.HasSuffix(line.Key, ".sha256") {
		t.Errorf("it is refused for %+v", line)
	}
	p.install(t, "all", "next")
	pr.says(t, "configuration reloaded", 1)
	want(t, p.post(t, titled(t, "plain")), 200, "accepted")
	for _, a := range p.attempts(t, p.events(t)) {
		if !strings.Contains(next, a.Code) {
			t.Errorf("an attempt was made by %s", a.Code)
		}
	}
	pr.stop(t, p, pr.cmd.Process.Pid)
}

// Whoever stops pipehook while binaries are replaced does not wait for that, and nothing of it stays.
func TestAStopWhileABinaryIsReplacedLeavesNothing(t *testing.T) {
	p := everywhere(t, "")
	pr := launch(t, p, exec.Command(buildBinary(t), "serve", "--config", p.config))
	pr.says(t, "plugin started", 3)
	p.installText(t, "all", "#!/bin/sh\necho $$ > begun\nexec sleep 1000\n") // it never shakes hands
	eventually(t, "the new one has begun", func() bool {
		text, err := os.ReadFile(filepath.Join(p.dir, "begun"))
		return err == nil && strings.HasSuffix(string(text), "\n")
	})
	began := time.Now()
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGTERM)
	<-pr.exit
	if code, took := pr.cmd.ProcessState.ExitCode(), time.Since(began); code != exitDone || took > 8*time.Second {
		t.Errorf("exit code %d after %s", code, took)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(readFile(t, filepath.Join(p.dir, "begun"))))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new one has ended", func() bool { return syscall.Kill(pid, 0) != nil })
	if n := len(pr.said(t, "the plugin's new file is not used")); n > 0 {
		t.Errorf("%d times it is said that the new one is not used", n)
	}
	if left, err := filepath.Glob(filepath.Join(p.dir, "pipehook.spool", "*", "plugins")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}
