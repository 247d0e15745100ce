//go:build unix

package plughost_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
)

// ear keeps the texts of what it hears.
type ear struct {
	slog.Handler
	mu    sync.Mutex
	texts []string
}

func (e *ear) Handle(_ context.Context, r slog.Record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.texts = append(e.texts, r.Message)
	return nil
}

func (e *ear) WithAttrs([]slog.Attr) slog.Handler { return e }

func (e *ear) heard() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(slices.Values(e.texts))
}

func TestWhatAPluginSaysGoesToWhoIsGiven(t *testing.T) {
	t.Parallel()
	everything := slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug})
	own, log := &ear{Handler: everything}, &ear{Handler: everything}
	dir := filepath.Join(t.TempDir(), "plugins")
	host, err := plughost.Open(plughost.Options{Dir: dir, Log: slog.New(log), Said: func(s *plughost.Spec) slog.Handler {
		if s.Name == "loud" {
			return own
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"loud", "other"} {
		spec := labSpec(filepath.Dir(dir))
		spec.Name = name
		p := host.Start(spec)
		if err := handle(t, p, "say"); err != nil {
			t.Error(err)
		}
		until(t, "all that it has said is known", func() bool { return len(own.heard()) == 3 && (name == "loud" || slices.Contains(log.heard(), "said")) })
		p.Stop(t.Context())
		if heard := slices.Contains(log.heard(), "said"); heard != (name == "other") {
			t.Errorf("%s: the log has %q", name, log.heard())
		}
	}
	if err := host.Close(); err != nil {
		t.Error(err)
	}
	if got, want := own.heard(), []string{"on stderr", "on stdout", "said"}; !slices.Equal(got, want) {
		t.Errorf("it heard %q, want %q", got, want)
	}
}

// Go says why it ends in many lines, and it is one thing that has happened.
func TestTheDumpOfACrashIsOneRecord(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{})
	p := b.lab(t, "")
	if err := handle(t, p, "panic"); core.KindOf(err) != core.Crashed || !strings.Contains(err.Error(), "exit status 2 (panic: the plugin has a bug") {
		t.Errorf("the crash: %v", err)
	}
	until(t, "it is logged", func() bool { return strings.Contains(b.log.String(), `"dump"`) })
	lines := 0
	for line := range strings.Lines(b.log.String()) {
		var l struct{ Level, Msg, Dump string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(line, "goroutine ") {
			continue
		}
		lines++
		if l.Level != "ERROR" || !strings.HasPrefix(l.Msg, "panic: the plugin has a bug") || !strings.Contains(l.Dump, "[running]:\n") || len(l.Dump) > 5<<10 {
			t.Errorf("%s %s with %d bytes of a dump", l.Level, l.Msg, len(l.Dump))
		}
	}
	if lines != 1 {
		t.Errorf("%d lines are about it", lines)
	}
}

// Who only says that it panics is heard, too.
func TestAPluginThatLivesOnAfterADumpIsHeard(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{})
	p := b.lab(t, "")
	if err := handle(t, p, "pretend"); err != nil {
		t.Fatal(err)
	}
	until(t, "its logger is heard at once", func() bool { return strings.Contains(b.log.String(), `"msg":"in between"`) })
	until(t, "the dump is", func() bool { return strings.Contains(b.log.String(), `"msg":"panic: not really`) })
	if err := handle(t, p, "say"); err != nil {
		t.Fatal(err)
	}
	until(t, "and what comes after it", func() bool { return strings.Contains(b.log.String(), `"msg":"on stderr"`) })
}
