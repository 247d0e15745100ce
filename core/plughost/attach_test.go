//go:build unix

package plughost_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// debugged starts the plugin of this file as its author would, and returns what it says of itself.
func debugged(t *testing.T, cache string) (*exec.Cmd, *plughost.Attachment) {
	t.Helper()
	return debuggedAs(t, cache, labSpec("").Path, "lab")
}

func debuggedAs(t *testing.T, cache, path, name string) (*exec.Cmd, *plughost.Attachment) {
	t.Helper()
	cmd := exec.Command(path, "--debug")
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache)
	cmd.Dir = t.TempDir()
	said, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	lines := bufio.NewReader(said)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal("it did not say where it is")
		}
		text := regexp.MustCompile(`^PIPEHOOK_REATTACH='(.*)' pipehook dev$`).FindStringSubmatch(strings.TrimSpace(line))
		if text == nil {
			continue
		}
		go func() { _, _ = io.Copy(os.Stderr, lines) }() // ends with the process
		all, err := plughost.ParseReattach(text[1])
		if err != nil || all[name] == nil {
			t.Fatalf("%s: %v", line, err)
		}
		return cmd, all[name]
	}
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "d") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestAPluginInADebuggerIsAttachedAndLeftAlone(t *testing.T) {
	t.Parallel()
	cache := shortDir(t)
	cmd, there := debugged(t, cache)
	attached := func(s *plughost.Spec) {
		s.Attach, s.SHA256, s.Path = there, strings.Repeat("0", 64), "/nowhere/lab"
	}
	b := newBench(t, plughost.Limits{Answer: 10 * time.Millisecond, Idle: time.Millisecond, FirstPause: 10 * time.Millisecond})
	p := b.lab(t, "", attached)
	second := b.lab(t, `{"greeting":"file"}`, attached)
	for _, p := range []*plughost.Plugin{p, second} {
		if pid := number(t, p, "pid"); pid != cmd.Process.Pid || p.State().PID != pid {
			t.Errorf("process %d, and it says %d; want %d", pid, p.State().PID, cmd.Process.Pid)
		}
	}
	if hours := number(t, p, "deadline"); hours != 23 {
		t.Errorf("an event has %d hours", hours)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // in which it begins, however busy the machine is
	defer cancel()
	got := make(chan error, 1)
	go func() { got <- p.Handle(ctx, core.Event{ID: "1", Object: "meet"}) }()
	<-ctx.Done()
	if err := handle(t, second, "meet"); err != nil { // which waits for the other one
		t.Error(err)
	}
	if err := <-got; err != nil {
		t.Errorf("a call that took longer than it may: %v", err)
	}

	go func() { got <- handle(t, p, "slow") }()
	until(t, "the call has arrived", func() bool { return handle(t, p, "nothing") == nil })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; core.KindOf(err) != core.Unavailable {
		t.Errorf("the call that was made, kind %s: %v", core.KindOf(err), err)
	}
	until(t, "it is waited for", func() bool { s := p.State(); return s.Word == plughost.Waiting && s.PID == 0 && s.Err != "" })
	cmd, _ = debugged(t, cache)
	if pid := number(t, p, "pid"); pid != cmd.Process.Pid || p.State().PID != pid || p.State().Restarts != 1 {
		t.Errorf("it came back as %d: %+v", cmd.Process.Pid, p.State())
	}

	p.Stop(context.Background())
	second.Stop(context.Background())
	if !alive(cmd.Process.Pid) {
		t.Error("it was ended")
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	for _, want := range []string{"attached to a plugin that pipehook did not start", "the plugin is waited for"} {
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("the log does not say: %s", want)
		}
	}
}

func TestADebuggedPluginThatRefusesItsConfigurationSaysSo(t *testing.T) {
	t.Parallel()
	_, there := debugged(t, shortDir(t))
	b := newBench(t, plughost.Limits{FirstPause: time.Hour})
	spec := labSpec(t.TempDir())
	spec.Attach, spec.Config = there, []byte(`{"greetin":"x"}`)
	if err := b.Start(spec).Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "greetin: unknown key") {
		t.Errorf("error %v", err)
	}
	spec.Config = nil // what another one was given is not what this one has
	if err := b.Start(spec).Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoPlaceOfAPluginInADebuggerIsRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                    "it is not what a plugin says that is started with --debug",
		"/sock":                               "it is not what a plugin says that is started with --debug",
		`{"a":{"protocol":2,"address":"/x"}}`: "it speaks version 2 of the plugin protocol, and this pipehook speaks version 1",
		`{"a":{"protocol":1}}`:                "a has no address",
		`{"a":{"protocol":1,"address":"","port":3}}`: "unknown field",
	} {
		if _, err := plughost.ParseReattach(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	b := newBench(t, plughost.Limits{FirstPause: time.Hour})
	nowhere := fmt.Sprint(t.TempDir(), "/nowhere")
	if err := b.Start(plughost.Spec{Attach: &plughost.Attachment{Address: nowhere}}).Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "nobody serves at "+nowhere) {
		t.Errorf("error %v", err)
	}
}

// Each place that names the binary has a connection of its own to the process, and what it asks pipehook
// is about its own events.
func TestAProcessInADebuggerIsAllThatItsPluginCanBe(t *testing.T) {
	t.Parallel()
	_, there := debuggedAs(t, shortDir(t), guise(t, "stage-and-source"), "both")
	b := newBench(t, plughost.Limits{})
	stage := b.Start(plughost.Spec{Kind: wire.Stage, Name: "one", Attach: there})
	source := b.Start(plughost.Spec{Kind: wire.Source, Name: "two", Attach: there})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 3 {
		if _, err := stage.Process(ctx, &core.Event{ID: "1"}); err != nil {
			t.Error(err)
		}
		if _, err := source.Name(ctx, &core.Event{ID: "1"}); err != nil {
			t.Error(err)
		}
	}
	listener := b.Start(plughost.Spec{Kind: wire.Listener, Name: "three", Attach: there})
	if err := listener.Ready(ctx); err == nil || !strings.Contains(err.Error(), "both is a stage and a source, and is named as a listener") {
		t.Errorf("error %v", err)
	}
}

func TestAPluginInADebuggerAsksForEffects(t *testing.T) {
	t.Parallel()
	_, there := debugged(t, shortDir(t))
	c := newClerk()
	dir := shortDir(t) // where sockets find room
	h, err := plughost.Open(plughost.Options{Dir: filepath.Join(dir, "p"), Log: discard(), Services: c.services})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second"} {
		p := h.Start(plughost.Spec{Kind: wire.Listener, Name: name, Attach: there, Secrets: map[string]string{"word": "of " + name}})
		if err := handle(t, p, "remember"); err != nil {
			t.Error(err)
		}
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	asked := strings.Join(c.all(), "\n")
	if len(c.all()) != 2 || !strings.Contains(asked, "set of first event remember") || !strings.Contains(asked, "set of second event remember") {
		t.Errorf("asked for\n%s", asked)
	}
}
