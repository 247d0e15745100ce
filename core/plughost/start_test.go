//go:build unix

package plughost_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

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
			limits := plughost.Limits{FirstPause: time.Hour}
			if name == "says nothing" {
				limits.Start = 500 * time.Millisecond
			}
			b := newBench(t, limits)
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
	t.Parallel()
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
	t.Parallel()
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
