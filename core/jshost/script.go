package jshost

import (
	"context"
	"errors"
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
	return &Script{name: name, opts: opts, program: p, slots: make(chan struct{}, size)}
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

// Handle calls the script's function. The error says where in the source it went wrong.
func (s *Script) Handle(ctx context.Context, ev core.Event) error {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return fmt.Errorf("no runtime was free: %w", context.Cause(ctx))
	}
	rt, err := s.take()
	if err != nil {
		return err
	}
	err = rt.handle(ctx, s.name, &ev)
	if _, broken := errors.AsType[*brokenError](err); !broken {
		s.put(rt)
	}
	return err
}

func (s *Script) take() (*runtime, error) {
	s.mu.Lock()
	if last := len(s.idle) - 1; last >= 0 {
		rt := s.idle[last]
		s.idle = s.idle[:last]
		s.mu.Unlock()
		return rt, nil
	}
	program := s.program
	s.mu.Unlock()
	return newRuntime(program, s.opts)
}

func (s *Script) put(rt *runtime) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rt.program == s.program {
		s.idle = append(s.idle, rt)
	}
}
