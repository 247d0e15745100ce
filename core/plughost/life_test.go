//go:build unix

package plughost_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

func TestAPluginSaysWhatItDoes(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{})
	before := time.Now()
	p := b.lab(t, "")
	s := p.State()
	if s.Kind != wire.Listener || s.Name != "tested" || s.Path != labSpec("").Path || s.Plugin != "lab" || s.Version != "1.2.3" || s.Contract != "1.2" || !slices.Contains(s.Does, wire.Listener) {
		t.Errorf("it is %+v", s)
	}
	if s.Word != plughost.Running || s.PID != number(t, p, "pid") || s.Restarts != 0 || s.Err != "" || s.Since.Before(before) || s.SHA256 != p.SHA256() {
		t.Errorf("it runs: %+v", s)
	}
	if err := handle(t, p, "exit"); core.KindOf(err) != core.Crashed {
		t.Fatal(err)
	}
	if now, pid := p.State(), number(t, p, "pid"); p.State().Restarts != 1 || p.State().PID != pid || pid == s.PID || !strings.Contains(p.State().Err, "it ended: exit status 7") || p.State().ErrAt.Before(before) || !p.State().Again.IsZero() {
		t.Errorf("after a crash: %+v, process %d", now, pid)
	}
	p.Stop(context.Background())
	if s := p.State(); s.Word != plughost.Stopped || s.PID != 0 || s.Plugin != "lab" || s.Err != "" {
		t.Errorf("stopped: %+v", s)
	}
}

func TestAPluginThatDoesNotRunSaysWhyAndWhenItIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{FirstPause: time.Hour})
	p := b.Start(plughost.Spec{Path: "/bin/false", Kind: wire.Stage, Name: "no"})
	until(t, "the second start has failed", func() bool { return p.State().Restarts == 1 && p.State().Word == plughost.Waiting })
	s := p.State()
	if !strings.Contains(s.Err, "it ended before it shook hands") || time.Until(s.Again) < 59*time.Minute || s.PID != 0 || s.Plugin != "" || s.Contract != "" {
		t.Errorf("it says %+v", s)
	}
}

// A stopped process takes no part in anything, and nobody would notice before the next event.
func TestAnIdlePluginThatFreezesIsReplaced(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{Idle: 50 * time.Millisecond, Health: 200 * time.Millisecond})
	p := b.lab(t, "")
	pid := number(t, p, "pid")
	freeze(t, pid)
	until(t, "another process runs", func() bool { s := p.State(); return s.Word == plughost.Running && s.PID != pid })
	if alive(pid) {
		t.Errorf("process %d lives on", pid)
	}
	if !strings.Contains(b.log.String(), "it was asked 3 times whether it lives, and did not answer") {
		t.Error("the log does not say why")
	}
	if err := handle(t, p, "nothing"); err != nil {
		t.Error(err)
	}
}

func TestAnIdlePluginThatAnswersIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{Idle: 2 * time.Millisecond})
	p := b.lab(t, "")
	pid := number(t, p, "pid")
	for began := time.Now(); time.Since(began) < 100*time.Millisecond; { // fifty questions, and none of ours
		time.Sleep(time.Millisecond)
	}
	if s := p.State(); s.PID != pid || s.Restarts != 0 {
		t.Errorf("it was replaced: %+v", s)
	}
}

func TestAPluginThatKeepsCrashingIsStartedMoreAndMoreSeldom(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{FirstPause: time.Hour})
	p := b.lab(t, "")
	for range 5 {
		if err := handle(t, p, "exit"); core.KindOf(err) != core.Crashed {
			t.Fatal(err)
		}
	}
	until(t, "it waits", func() bool { return p.State().Word == plughost.Waiting })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Handle(ctx, core.Event{ID: "1"}); core.KindOf(err) != core.Unreached || core.RetryAfter(err) < 59*time.Minute {
		t.Errorf("a call: %v, again after %s", err, core.RetryAfter(err))
	}
	if n := strings.Count(b.log.String(), "the plugin keeps crashing"); n != 1 {
		t.Errorf("the log says so %d times", n)
	}
}

func TestABreakerThatClosesSaysSo(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{FirstPause: 10 * time.Millisecond, Idle: 10 * time.Millisecond})
	p := b.lab(t, "")
	for range 5 {
		if err := handle(t, p, "exit"); core.KindOf(err) != core.Crashed {
			t.Fatal(err)
		}
	}
	for range 100 {
		if err := handle(t, p, "nothing"); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the log says that it is over", func() bool { return strings.Contains(b.log.String(), "the plugin runs again, and lasts") })
}
