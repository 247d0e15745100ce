//go:build unix

package plughost_test

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"

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

func TestWhatAPluginSaysGoesToWhoIsGiven(t *testing.T) {
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
		p.Stop(t.Context()) // with which all is known that it has said
		if heard := slices.Contains(log.texts, "said"); heard != (name == "other") {
			t.Errorf("%s: the log has %q", name, log.texts)
		}
	}
	if err := host.Close(); err != nil {
		t.Error(err)
	}
	slices.Sort(own.texts)
	if want := []string{"on stderr", "on stdout", "said"}; !slices.Equal(own.texts, want) {
		t.Errorf("it heard %q, want %q", own.texts, want)
	}
}
