package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/scripttest"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// pluginBench starts plugins on the side, as they are started when pipehook serves. What they ask for
// is recorded and not done.
type pluginBench struct {
	conf  *config.Config
	dir   string
	host  *plughost.Host
	heard *heard
	asked *recordedServices
}

// recordedServices are a Recorder that a plugin asks.
type recordedServices struct {
	*scripttest.Recorder

	mu       sync.Mutex
	measures []effect.Measure
}

// Measure implements plughost.Services.
func (s *recordedServices) Measure(_ context.Context, _ effect.Caller, measures []effect.Measure) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.measures = append(s.measures, measures...)
	return nil
}

// measured is what was measured.
func (s *recordedServices) measured() []effect.Measure {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.measures)
}

// openPluginBench makes a bench. It is closed when nothing runs on it any more.
func openPluginBench(conf *config.Config, rec *scripttest.Recorder) (*pluginBench, error) {
	dir, err := os.MkdirTemp("", "pipehook-plugins-")
	if err != nil {
		return nil, &hinted{err, "set TMPDIR to a folder that programs can be started from"}
	}
	b := &pluginBench{conf: conf, dir: dir, heard: &heard{}, asked: &recordedServices{Recorder: rec}}
	b.host, err = plughost.Open(plughost.Options{
		Dir: filepath.Join(dir, "plugins"), Log: slog.New(slog.DiscardHandler), Said: func(*plughost.Spec) slog.Handler { return b.heard },
		Services: b.services,
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return b, nil
}

// services judge what a plugin asks for as they do when pipehook serves.
func (b *pluginBench) services(s *plughost.Spec) plughost.Services {
	return &benchServices{b.asked, newEffects(nil, nil, nil, slog.New(slog.DiscardHandler)).user(pluginHostSpec(s))}
}

// benchServices are what one plugin asks.
type benchServices struct {
	*recordedServices
	live *userHost
}

// Emit implements plughost.Services.
func (s *benchServices) Emit(ctx context.Context, by effect.Caller, e *effect.Emit) (*effect.Emitted, error) {
	if _, err := s.live.derive(by, e); err != nil {
		s.Refused(by, e, err)
		return nil, err
	}
	return s.recordedServices.Emit(ctx, by, e)
}

func (b *pluginBench) close() error { return errors.Join(b.host.Close(), os.RemoveAll(b.dir)) }

// readyWithin is how long a plugin may take until it has taken its configuration, or is known not to.
const readyWithin = 15 * time.Second

// start starts a plugin and waits until it runs. A binary that no place names is started as what it
// says that it is, which is noted in the use. The error is for the user, with its places in the file.
func (b *pluginBench) start(ctx context.Context, u *placedPlugin) (_ *plughost.Plugin, took time.Duration, err error) {
	if u.wrong != nil {
		return nil, 0, &usageError{err: u.wrong}
	}
	for _, kind := range u.kinds() {
		spec := u.spec
		spec.Kind = kind
		began := time.Now()
		p := b.host.Start(spec)
		if err = b.ready(ctx, p); err == nil {
			u.spec.Kind = kind
			return p, time.Since(began), nil
		}
		stopPlugin(p)
		if _, ok := errors.AsType[*wire.KindError](err); !ok { // else it may be another
			break
		}
	}
	return nil, 0, b.explain(u, err)
}

func (b *pluginBench) ready(ctx context.Context, p *plughost.Plugin) error {
	within, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	err := p.Ready(within)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("it was not ready within %s", readyWithin)
	}
	return err
}

// stopPlugin does not wait for calls: there are none.
func stopPlugin(p *plughost.Plugin) {
	hurry, cancel := context.WithCancel(context.Background())
	cancel()
	p.Stop(hurry)
}

// explain says why a plugin does not run. What the user has to mend is an usageError.
func (b *pluginBench) explain(u *placedPlugin, err error) error {
	bad, binary := errors.AsType[*plughost.BinaryError](err)
	refused, config := errors.AsType[plughost.Refused](err)
	switch {
	case u.place() != "" && (binary || isMistake(err)):
		return &usageError{err: u.mistakes(b.conf, err).Err()}
	case u.place() != "":
		return u.mistakes(b.conf, err).Err()
	case binary:
		return usagef(bad.Hint, "%s", bad.Msg)
	case config:
		return usagef("give it the configuration that it wants with --with, or name it in "+b.conf.Path, "%w", refused)
	}
	err = fmt.Errorf("%s does not start: %w", u.label(), err)
	if errors.Is(err, os.ErrPermission) {
		return &hinted{err, "programs must be startable from the folder of temporary files: set TMPDIR to another"}
	}
	return err
}

// heard keeps what plugins say.
type heard struct {
	mu    sync.Mutex
	lines []heardLine
}

type heardLine struct {
	engine.Line
	at time.Time
}

// Enabled implements slog.Handler.
func (h *heard) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h *heard) Handle(_ context.Context, r slog.Record) error {
	l := heardLine{Line: pluginLine(r), at: r.Time}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, l)
	return nil
}

// WithAttrs implements slog.Handler. Plugins' lines come without.
func (h *heard) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements slog.Handler.
func (h *heard) WithGroup(string) slog.Handler { return h }

// take returns what was said since it was last called.
func (h *heard) take() []heardLine {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := h.lines
	h.lines = nil
	return slices.Clone(lines)
}
