package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// Server is what answers pipehook for the plugin. Serve and sdktest need it, nobody else does.
type Server struct {
	plugin Plugin
	host   *Host // since Configure
	begun  any   // what was started, for Stop
}

// NewServer makes a Server of a plugin.
func NewServer(p Plugin) *Server { return &Server{plugin: p} }

// stopWithin is how long a Stop may take.
const stopWithin = 2 * time.Second

// Configure is part of wire.Server.
func (s *Server) Configure(ctx context.Context, setup wire.Setup) (wire.Manifest, error) {
	m := wire.Manifest{Name: s.plugin.Name, Version: s.plugin.Version, Does: s.does()}
	if !m.Can(setup.Kind) {
		return m, &wire.KindError{Plugin: m.Name, Kind: setup.Kind, Does: m.Does}
	}
	if err := decode(setup.Config, s.plugin.Config); err != nil {
		return m, err
	}
	var err error
	if s.host, err = newHost(setup, slog.Default()); err != nil {
		return m, err
	}
	part := s.part(setup.Kind)
	if err := misfit(part); err != nil {
		return m, err
	}
	if err := start(ctx, part, s.host); err != nil {
		return m, err
	}
	s.begun = part
	return m, nil
}

// oldStarter is a Starter of 1.0.
type oldStarter interface {
	Start(ctx context.Context) error
}

func start(ctx context.Context, part any, host *Host) error {
	switch p := part.(type) {
	case Starter:
		return p.Start(ctx, host)
	case oldStarter:
		return p.Start(ctx)
	}
	return nil
}

// misfit refuses a Start or Stop of another form than Starter's and Stopper's, and one that only the pointer
// has where a value was given: it would not be called, and nobody would know.
func misfit(part any) error {
	_, starts := part.(Starter)
	_, startsAlone := part.(oldStarter)
	_, stops := part.(Stopper)
	t := reflect.TypeOf(part)
	_, start := t.MethodByName("Start") // the linker wants to see the names
	_, stop := t.MethodByName("Stop")
	_, startOfPointer := reflect.PointerTo(t).MethodByName("Start")
	_, stopOfPointer := reflect.PointerTo(t).MethodByName("Stop")
	for _, m := range []struct {
		name, form           string
		fits, has, ofPointer bool
	}{
		{"Start", "Start(ctx context.Context, host *sdk.Host) error", starts || startsAlone, start, startOfPointer},
		{"Stop", "Stop(ctx context.Context) error", stops, stop, stopOfPointer},
	} {
		switch {
		case m.fits:
		case m.has:
			return fmt.Errorf("%T has a %s that can't be called: it must be %s", part, m.name, m.form)
		case m.ofPointer:
			return fmt.Errorf("%T has no %s, but a pointer to it has: give that", part, m.name)
		}
	}
	return nil
}

func (s *Server) does() (kinds []string) {
	for _, kind := range []string{wire.Listener, wire.Stage, wire.Source} {
		if s.part(kind) != nil {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// part is what the plugin does as a kind; nil for nothing.
func (s *Server) part(kind string) any {
	switch {
	case kind == wire.Listener && s.plugin.Listener != nil:
		return s.plugin.Listener
	case kind == wire.Stage && s.plugin.Stage != nil:
		return s.plugin.Stage
	case kind == wire.Source && s.plugin.Source != nil:
		return s.plugin.Source
	}
	return nil
}

// Host is what the plugin was given; nil before Configure.
func (s *Server) Host() *Host { return s.host }

// Flush tells pipehook what the plugin has measured since the last time.
func (s *Server) Flush(ctx context.Context) { s.host.flush(ctx) }

// Stop stops what was started. No call may run any more.
func (s *Server) Stop() {
	if s.host == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	if stopper, ok := s.begun.(Stopper); ok {
		if err := stopper.Stop(ctx); err != nil {
			s.host.log.Error("stop failed", "err", err)
		}
	}
	s.host.close(ctx)
}

// Handle is part of wire.Server.
func (s *Server) Handle(ctx context.Context, c wire.Call, ev Event) error {
	return s.plugin.Listener.Handle(withCall(ctx, c), ev)
}

// Process is part of wire.Server.
func (s *Server) Process(ctx context.Context, c wire.Call, ev *Event) (core.Verdict, error) {
	return s.plugin.Stage.Process(withCall(ctx, c), ev)
}

// Name is part of wire.Server.
func (s *Server) Name(ctx context.Context, c wire.Call, ev *Event) error {
	return s.plugin.Source.Name(withCall(ctx, c), ev)
}

// running is the call that a context is of: contexts carry it, since pipehook must know for which event
// something is asked, and an Event is a value that may be copied and changed.
type running struct {
	wire.Call
	emits atomic.Int32
}

type callKey struct{}

func withCall(ctx context.Context, c wire.Call) context.Context {
	return context.WithValue(ctx, callKey{}, &running{Call: c})
}

func callOf(ctx context.Context) *running {
	if c, ok := ctx.Value(callKey{}).(*running); ok {
		return c
	}
	return &running{}
}

// Attempt is the number of the attempt that a listener's context is of, from 1; 0 when it is not known.
func Attempt(ctx context.Context) int { return callOf(ctx).Attempt }

var errNoHost = errors.New("pipehook can't be asked for anything: it is older than this plugin's SDK, or none was given to the test")
