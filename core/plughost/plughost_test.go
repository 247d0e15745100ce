//go:build unix

package plughost_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

func TestAnEventArrivesWhole(t *testing.T) {
	t.Parallel()
	p := newBench(t, plughost.Limits{}).lab(t, "")
	ev := core.Event{
		ID: "0192", Pipeline: "crm", Source: "pipedrive", ReceivedAt: time.Unix(1700000000, 123456789).UTC(),
		Remote: netip.MustParseAddr("2001:db8::1"), Header: http.Header{"X-One": {"a", "b"}}, Body: []byte("{\"a\":\"\\u0000\"}\xff"),
		Action: "updated", AlsoAction: "merged", Object: "whole", ObjectID: "9007199254740993",
		Current: []byte(`{"id":1}`), Previous: []byte(`{}`), Meta: []byte(`{}`), Version: "2.0", Attempt: 3, OccurredAt: time.Unix(1600000000, 5).UTC(),
		Facts: core.Facts{UserID: "1", CompanyID: "2", ChangeSource: "app", Bulk: true}, Gathered: []string{"x", "y"},
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got core.Event
	if err := json.Unmarshal([]byte(p.Handle(ctx, ev).Error()), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, ev) {
		t.Errorf("got  %+v\nwant %+v", got, ev)
	}
}

func TestTheLongestBodyFits(t *testing.T) {
	p := newBench(t, plughost.Limits{}).lab(t, "")
	body := []byte(`{"a":"` + strings.Repeat("x", 64<<20-8) + `"}`)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Handle(ctx, core.Event{ID: "1", Body: body, Current: body}); err != nil {
		t.Error(err)
	}
}

func TestAPluginSaysWhatItsErrorMeans(t *testing.T) {
	t.Parallel()
	p := newBench(t, plughost.Limits{}).lab(t, "")
	if err := handle(t, p, "nothing"); err != nil {
		t.Error(err)
	}
	if err := handle(t, p, "never"); core.KindOf(err) != core.Permanent || err.Error() != "never" {
		t.Errorf("kind %s: %v", core.KindOf(err), err)
	}
	if err := handle(t, p, "later"); core.RetryAfter(err) != 90*time.Second || core.KindOf(err) != core.Failed || err.Error() != "later" {
		t.Errorf("after %s: %v", core.RetryAfter(err), err)
	}
}

// A process that ends takes its attempt with it at once, counts as a crash, and is followed by the
// next, which serves.
func TestAProcessThatEndsIsACrashAndIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	for object, want := range map[string]string{
		"panic": "exit status 2 (panic: the plugin has a bug", "elsewhere": "panic: a bug elsewhere",
		"exit": "exit status 7", "clean": "exit status 0", "kill": "it was killed (SIGKILL) from outside",
	} {
		t.Run(object, func(t *testing.T) {
			t.Parallel()
			p := newBench(t, plughost.Limits{}).lab(t, "")
			if err := handle(t, p, "nothing"); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			err := handle(t, p, object)
			if core.KindOf(err) != core.Crashed || !strings.Contains(err.Error(), want) {
				t.Errorf("kind %s: %v", core.KindOf(err), err)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it took %s to notice", took)
			}
			if err := handle(t, p, "nothing"); err != nil {
				t.Errorf("the next process: %v", err)
			}
		})
	}
}

func TestAPluginThatHangsIsEndedAndCostsNobodyElse(t *testing.T) {
	t.Parallel()
	for _, object := range []string{"loop", "freeze"} {
		t.Run(object, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, plughost.Limits{Answer: 200 * time.Millisecond})
			p, other := b.lab(t, ""), b.lab(t, "")
			pid, otherPid := number(t, p, "pid"), number(t, other, "pid")
			child := number(t, p, "fork")
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			err := p.Handle(ctx, core.Event{ID: "1", Object: object})
			if core.KindOf(err) != core.Failed || !strings.Contains(err.Error(), "did not answer within 300ms") {
				t.Errorf("kind %s: %v", core.KindOf(err), err)
			}
			until(t, "the process and its child are gone", func() bool { return !alive(pid) && !alive(child) })
			if now := number(t, p, "pid"); now == pid {
				t.Errorf("process %d goes on", now)
			}
			if now := number(t, other, "pid"); now != otherPid {
				t.Errorf("the other plugin's process is %d, was %d", now, otherPid)
			}
		})
	}
}

// What ran beside a call that hung was ended by us: that is no crash, and says nothing of its event.
func TestWhatRanBesideAHangIsNoCrash(t *testing.T) {
	t.Parallel()
	p := newBench(t, plughost.Limits{Answer: 50 * time.Millisecond}).lab(t, "")
	var beside sync.WaitGroup
	beside.Go(func() {
		if err := handle(t, p, "elsewhere-slow"); err != nil {
			t.Errorf("a call that had ended: %v", err)
		}
	})
	beside.Wait()
	errs := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		errs <- p.Handle(ctx, core.Event{ID: "slow", Object: "slow"})
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := p.Handle(ctx, core.Event{ID: "loop", Object: "loop"}); core.KindOf(err) != core.Failed {
		t.Errorf("the hang: %v", err)
	}
	if err := <-errs; core.KindOf(err) != core.Failed || !strings.Contains(err.Error(), "because it did not answer within 300ms (event loop)") {
		t.Errorf("beside it, kind %s: %v", core.KindOf(err), err)
	}
}

func TestASlowPluginThatHeedsItsDeadlineLives(t *testing.T) {
	t.Parallel()
	p := newBench(t, plughost.Limits{}).lab(t, "")
	pid := number(t, p, "pid")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Handle(ctx, core.Event{ID: "1", Object: "slow"}); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("error %v", err)
	}
	if now := number(t, p, "pid"); now != pid {
		t.Errorf("process %d was ended", pid)
	}
}

// Two calls run when the process ends. Only one of them is to blame, and it is found: alone the
// other succeeds.
func TestAfterACrashInCompanyEachIsTriedAlone(t *testing.T) {
	t.Parallel()
	p := newBench(t, plughost.Limits{}).lab(t, "")
	var both sync.WaitGroup
	for _, object := range []string{"meet", "meet and panic"} {
		both.Go(func() {
			if err := handle(t, p, object); object != "meet" && core.KindOf(err) != core.Crashed {
				t.Errorf("%s: %v", object, err)
			}
		})
	}
	both.Wait()
	var all sync.WaitGroup
	for _, object := range []string{"meet and panic", "nothing", "pid"} {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			err := p.Handle(ctx, core.Event{ID: "event " + object, Object: object})
			if core.KindOf(err) == core.Crashed {
				t.Errorf("%s, for which there was no company: %v", object, err)
			}
		})
	}
	all.Wait()
}

func TestAFileThatIsNoPluginIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ script, want string }{
		"ends":                {"exit 3", "it ended before it shook hands: exit status 3"},
		"complains and ends":  {"echo no such table >&2; exit 1", "exit status 1 (no such table)"},
		"greets":              {"echo hello; sleep 60", `the first it says is "hello"`},
		"greets and ends":     {"echo hello", `the first it says is "hello"`},
		"has another version": {"echo '1|99|unix|/nowhere|grpc|'; sleep 60", "it speaks version 99 of the plugin protocol, and this pipehook speaks version 1"},
		"speaks otherwise":    {`echo "1|1|unix|$PLUGIN_UNIX_SOCKET_DIR/x|netrpc|"; sleep 60`, "unsupported plugin protocol"},
		"is elsewhere":        {"echo '1|1|unix|/nowhere|grpc|'; sleep 60", "must serve at a socket in"},
		"never ends its line": {"yes | tr -d '\\n'", `the first it says is "yyyy`},
		"says nothing":        {"sleep 60", "it did not start within 500ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, plughost.Limits{Start: 500 * time.Millisecond, FirstPause: time.Hour})
			file := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(file, []byte("#!/bin/sh\n"+test.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			p := b.Start(plughost.Spec{Path: file, Plain: true})
			if err := p.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
			until(t, "the second start has failed", func() bool { return time.Until(p.State().Again) > time.Minute })
			if n := strings.Count(b.log.String(), "the plugin does not run"); n != 1 {
				t.Errorf("it is said %d times", n)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := p.Handle(ctx, core.Event{ID: "1"}); core.KindOf(err) != core.Unreached || core.RetryAfter(err) < 59*time.Minute {
				t.Errorf("a call: %v, again after %s", err, core.RetryAfter(err))
			}
		})
	}
}

// What the system says is about a copy that nobody knows.
func TestAFileThatTheSystemDoesNotStartIsNamed(t *testing.T) {
	b := newBench(t, plughost.Limits{FirstPause: time.Hour})
	file := filepath.Join(t.TempDir(), "plugin")
	for text, want := range map[string]string{
		"no program":          file + " is not a program for " + runtime.GOOS + "/" + runtime.GOARCH,
		"#!/nowhere/at/all\n": file + " needs an interpreter or a loader that is not on this machine",
		"#!/etc/passwd\n":     file + " can't be started from " + b.dir + ", where its copy is and programs must be allowed: permission denied",
	} {
		if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := b.Start(plughost.Spec{Path: file}).Ready(t.Context()); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestAPluginThatDiesAtTheStartSaysWhy(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{FirstPause: time.Hour})
	spec := labSpec(t.TempDir())
	spec.Config = []byte(`{"greeting":"die"}`)
	if err := b.Start(spec).Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "it ended while it started: exit status 2 (panic: no greeting") {
		t.Errorf("error %v", err)
	}
}

func TestStartsThatFailComeMoreAndMoreSeldom(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{FirstPause: 10 * time.Millisecond, LastPause: 40 * time.Millisecond})
	began := time.Now()
	p := b.Start(plughost.Spec{Path: "/bin/false"})
	until(t, "six starts have failed", func() bool { return p.State().Restarts >= 6 })
	if took, least := time.Since(began), 150*time.Millisecond; took < least { // 10, 20, and three times 40
		t.Errorf("that took %s, want at least %s", took, least)
	}
	if n := strings.Count(b.log.String(), "does not run"); n != 1 {
		t.Errorf("it is said %d times", n)
	}
}

// Who tries a plugin hears from Ready why it does not run, and says it better.
func TestOfAPluginThatIsTriedIsOnlySaidWhatReadyDoesNot(t *testing.T) {
	b := newBench(t, plughost.Limits{FirstPause: 10 * time.Millisecond, LastPause: 10 * time.Millisecond})
	p := b.Try(plughost.Spec{Path: "/bin/false"})
	until(t, "five starts have failed", func() bool { return p.State().Restarts >= 5 })
	if err := p.Ready(t.Context()); err == nil {
		t.Error("it is ready")
	}
	before := p.State().Restarts
	until(t, "two more have failed", func() bool { return p.State().Restarts >= before+2 })
	if log := b.log.String(); strings.Contains(log, "does not run") {
		t.Errorf("it is said:\n%s", log)
	}
	p = b.Try(plughost.Spec{Path: "/bin/cat"}) // which waits
	hasty, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Ready(hasty); err == nil {
		t.Error("it is ready")
	}
	until(t, "what comes after it is said", func() bool { return strings.Contains(b.log.String(), "the plugin does not run") })
}

func TestAConfigurationThatAPluginRefusesNamesTheKeys(t *testing.T) {
	t.Parallel()
	for config, want := range map[string][]string{
		`{"greeting":"no"}`:         {"greeting: is not polite", "retry.max: is too small"},
		`{"greetin":"hello"}`:       {"greetin: unknown key; did you mean \"greeting\"?"},
		`{"greeting":3}`:            {"greeting: must be text, is a number"},
		`{"retry":{"max":"three"}}`: {"retry.max: must be a whole number, is text"},
	} {
		b := newBench(t, plughost.Limits{FirstPause: time.Hour})
		spec := labSpec(t.TempDir())
		spec.Config = []byte(config)
		refused, ok := errors.AsType[plughost.Refused](b.Start(spec).Ready(t.Context()))
		if !ok || len(refused) != len(want) {
			t.Errorf("%s: %v", config, refused)
			continue
		}
		for i := range want {
			if refused[i].Error() != want[i] {
				t.Errorf("%s: %s, want %s", config, &refused[i], want[i])
			}
		}
	}
}

func TestABinaryThatMustNotRunDoesNot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mark := filepath.Join(dir, "ran")
	file := filepath.Join(dir, "script")
	if err := os.WriteFile(file, []byte("#!/bin/sh\ntouch "+mark+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, plughost.Limits{FirstPause: time.Hour})
	for want, spec := range map[string]plughost.Spec{
		"there is no ":      {Path: filepath.Join(dir, "nothing")},
		"is no program":     {Path: file},
		dir + " is no prog": {Path: dir},
	} {
		bad, ok := errors.AsType[*plughost.BinaryError](b.Start(spec).Ready(t.Context()))
		if !ok || !strings.Contains(bad.Msg, want) || bad.Checksum {
			t.Errorf("error %v, want %s", bad, want)
		}
	}
	if err := os.Chmod(file, 0o700); err != nil {
		t.Fatal(err)
	}
	sum, err := plughost.Check(file, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plughost.Check(file, strings.ToUpper(sum)); err != nil {
		t.Error(err)
	}
	bad, ok := errors.AsType[*plughost.BinaryError](b.Start(plughost.Spec{Path: file, SHA256: strings.Repeat("0", 64)}).Ready(t.Context()))
	if !ok || !bad.Checksum || !strings.Contains(bad.Msg, sum) {
		t.Errorf("error %v", bad)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("it ran")
	}
}

// What was checked is what runs: the file on disk may become another at any time.
func TestAFileThatIsReplacedDoesNotRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "lab")
	self := labSpec("").Path
	text, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(file, text, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	sum, err := plughost.Check(file, "")
	if err != nil {
		t.Fatal(err)
	}
	p := newBench(t, plughost.Limits{}).Start(plughost.Spec{Kind: wire.Listener, Path: file, SHA256: sum, Dir: dir})
	if err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("#!/bin/sh\necho another\n"), 0o700); err != nil { // in place
		t.Fatal(err)
	}
	for range 3 {
		if err := handle(t, p, "exit"); core.KindOf(err) != core.Crashed {
			t.Fatal(err)
		}
		if err := handle(t, p, "nothing"); err != nil {
			t.Errorf("after a crash: %v", err)
		}
	}
	if p.SHA256() != sum || !strings.HasPrefix(sum, p.Code()) {
		t.Errorf("it says that %s runs", p.SHA256())
	}
}

func TestAPluginSeesNothingOfOurEnvironment(t *testing.T) {
	t.Setenv("PIPEHOOK_STORE__URL", "postgres://u:secret@h/d")
	p := newBench(t, plughost.Limits{}).lab(t, "")
	allowed := map[string]bool{"PATH": true, "HOME": true, "TMPDIR": true, "TZ": true, "LANG": true, "SSL_CERT_FILE": true, "SSL_CERT_DIR": true}
	inCertificate := false
	all := handle(t, p, "environ").Error()
	if onLinux() {
		all += "\n" + handle(t, p, "first environ").Error()
	}
	for line := range strings.Lines(all) {
		name, _, _ := strings.Cut(line, "=")
		if strings.Contains(line, "secret") {
			t.Errorf("it sees %s", line)
		}
		if line == "\n" {
			continue
		}
		inCertificate = inCertificate || name == "PLUGIN_CLIENT_CERT"
		if !allowed[name] && !strings.HasPrefix(name, "PLUGIN_") && name != "PIPEHOOK_PLUGIN" && !inCertificate {
			t.Errorf("it sees %s", line)
		}
		inCertificate = inCertificate && !strings.Contains(line, "END CERTIFICATE")
	}
}

func TestWhatAPluginSaysIsInTheLogUnderItsName(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{})
	p := b.lab(t, "")
	for _, object := range []string{"evil", "long", "say"} {
		if err := handle(t, p, object); err != nil {
			t.Fatal(err)
		}
	}
	type line struct {
		Level, Msg, Plugin, Listener, Event string
		Data                                map[string]any
	}
	name := filepath.Base(labSpec("").Path)
	for _, want := range []line{
		{"WARN", "said", name, "tested", "event say", map[string]any{"n": json.Number("9007199254740993"), "password": "kept apart"}},
		{"INFO", "on stdout", name, "tested", "", nil}, {"WARN", "on stderr", name, "tested", "", nil},
		{"INFO", "after it", name, "tested", "", nil}, {"WARN", `{"@message": 1}`, name, "tested", "", nil},
	} {
		until(t, want.Msg+" is in the log", func() bool {
			for text := range strings.Lines(b.log.String()) {
				var got line
				dec := json.NewDecoder(strings.NewReader(text))
				dec.UseNumber()
				if dec.Decode(&got) == nil && reflect.DeepEqual(got, want) {
					return true
				}
			}
			return false
		})
	}
	if n := len(b.log.String()); n > 64<<10 {
		t.Errorf("%d bytes were logged", n)
	}
}

func TestAStopWaitsForCallsAndLetsThePluginCleanUp(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{})
	p := b.lab(t, `{"greeting":"file"}`)
	errs := make(chan error, 1)
	go func() { errs <- handle(t, p, "meet") }()
	until(t, "the call has arrived", func() bool { return handle(t, p, "nothing") == nil })
	stopped := make(chan struct{})
	go func() {
		p.Stop(context.Background())
		close(stopped)
	}()
	until(t, "no call is taken any more", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		err := p.Handle(ctx, core.Event{ID: "x", Object: "nothing"})
		return core.KindOf(err) == core.Unreached
	})
	select {
	case <-stopped:
		t.Error("it did not wait for the call")
	default:
	}
	second := b.lab(t, "") // a call of another process does not meet ours: end it as its deadline would
	second.Stop(context.Background())
	hurry, cancel := context.WithCancel(context.Background())
	cancel()
	p.Stop(hurry)
	<-stopped
	if err := <-errs; core.KindOf(err) != core.Failed || !strings.Contains(err.Error(), "pipehook stops") {
		t.Errorf("the call: %v", err)
	}

	gentle := b.lab(t, `{"greeting":"file"}`)
	gentle.Stop(context.Background())
	if _, err := os.Stat(filepath.Join(filepath.Dir(b.dir), "ended")); err != nil {
		t.Error(err)
	}
}

// A host that is killed takes its plugins with it, and what they have started and hidden is ended
// before the next host starts anything.
func TestNothingOutlivesAHostThatIsKilled(t *testing.T) {
	if !onLinux() {
		t.Skip("the system does not end children with their parent")
	}
	dir := filepath.Join(t.TempDir(), "plugins")
	cmd := exec.Command(labSpec("").Path)
	cmd.Env = append(os.Environ(), hostEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var pids []int
	for len(pids) < 2 && lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(lines.Text())
		}
		pids = append(pids, pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	_ = cmd.Wait() // it was killed
	until(t, "the plugin is gone", func() bool { return !alive(pids[0]) })
	if took := time.Since(killed); took > time.Second {
		t.Errorf("the plugin lived on for %s", took)
	}
	if !alive(pids[1]) {
		t.Fatal("the plugin's child, which left its group, is gone already: the test tests nothing")
	}
	b := &bench{dir: dir}
	b.Host, err = plughost.Open(plughost.Options{Dir: dir, Log: discard()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	if alive(pids[1]) {
		t.Errorf("process %d lives on", pids[1])
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
	if err := handle(t, b.lab(t, ""), "nothing"); err != nil {
		t.Error(err)
	}
}

func TestWhatAPluginHasStartedEndsWithTheHost(t *testing.T) {
	t.Parallel()
	if !onLinux() {
		t.Skip("what has left its group is not found on this system")
	}
	dir := filepath.Join(t.TempDir(), "plugins")
	h, err := plughost.Open(plughost.Options{Dir: dir, Log: discard()})
	if err != nil {
		t.Fatal(err)
	}
	p := h.Start(labSpec(t.TempDir()))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	child, err := strconv.Atoi(p.Handle(ctx, core.Event{ID: "1", Object: "fork far"}).Error())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	until(t, "the child is gone", func() bool { return !alive(child) })
}

// A folder too deep for a socket is no reason not to start.
func TestAPluginStartsInADeepFolder(t *testing.T) {
	deep := strings.Repeat("d", 100)
	for name, temp := range map[string]string{"the system's is not": t.TempDir(), "the system's is too": filepath.Join(t.TempDir(), deep)} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(temp, 0o700); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), deep)
			t.Setenv("TMPDIR", temp)
			h, err := plughost.Open(plughost.Options{Dir: dir, Log: discard(), Services: newClerk().services})
			if err != nil {
				t.Fatal(err)
			}
			p := h.Start(labSpec(dir))
			if err := handle(t, p, "remember"); err != nil {
				t.Error(err)
			}
			links, err := filepath.Glob(filepath.Join(dir, "s*"))
			if err != nil || len(links) != 1 {
				t.Fatalf("links %v (%v)", links, err)
			}
			sockets, err := os.Readlink(links[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(sockets); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left behind (%v)", sockets, err)
			}
		})
	}
}

func BenchmarkACall(b *testing.B) {
	h, err := plughost.Open(plughost.Options{Dir: filepath.Join(b.TempDir(), "p"), Log: discard()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	p := h.Start(labSpec(b.TempDir()))
	ev := core.Event{ID: "1", Body: []byte(fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", 2000)))}
	for b.Loop() {
		ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
		if err := p.Handle(ctx, ev); err != nil {
			b.Fatal(err)
		}
		cancel()
	}
}
