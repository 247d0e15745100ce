package jshost

import (
	"context"
	"fmt"
	"sync"

	"github.com/pipehook/pipehook/core"
)

// Script is a listener that a program runs. It keeps at most size runtimes and never runs more
// calls than that at a time.
type Script struct {
	name  string
	opts  Options
	slots chan struct{}

	mu      sync.Mutex
	program *Program
	idle    []*runtime // the last used last, so that few stay warm when there is little to do
}

// NewScript makes a listener of a program that Handles.
func NewScript(name string, p *Program, size int, opts Options) *Script {
	return &Script{name: name, opts: opts, program: p, slots: make(chan struct{}, max(size, 1))}
}

// Swap replaces the program at once. Calls that run finish on the old one.
func (s *Script) Swap(p *Program) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.program, s.idle = p, nil
}

// Hash is that of the program that the next call runs.
func (s *Script) Hash() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.program.hash
}

// Handle calls the script's function. It waits for a runtime as long as ctx allows. The error says
// where in the source it went wrong.
func (s *Script) Handle(ctx context.Context, ev core.Event) error {
	allowed := remaining(ctx) // the wait for a runtime counts
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return fmt.Errorf("script %s: no runtime was free, all %d are busy: %w", s.name, cap(s.slots), context.Cause(ctx))
	}
	if ctx.Err() != nil { // both were ready
		return fmt.Errorf("script %s: no time was left: %w", s.name, context.Cause(ctx))
	}
	rt, err := s.take(ctx)
	if err != nil {
		return err
	}
	defer s.put(rt)
	return rt.handle(ctx, allowed, &ev)
}

func (s *Script) take(ctx context.Context) (*runtime, error) {
	s.mu.Lock()
	if last := len(s.idle) - 1; last >= 0 {
		rt := s.idle[last]
		s.idle = s.idle[:last]
		s.mu.Unlock()
		return rt, nil
	}
	program := s.program
	s.mu.Unlock()
	return newRuntime(ctx, program, s.name, s.opts)
}

// put keeps a runtime for the next call, unless it can't be trusted or the program is another now.
func (s *Script) put(rt *runtime) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !rt.broken && rt.program == s.program {
		s.idle = append(s.idle, rt)
	}
}
