package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Pool runs a program in this process. It keeps at most a number of runtimes and never runs more
// calls than that at a time.
type Pool struct {
	program *Program
	opts    Options
	slots   chan struct{}

	mu     sync.Mutex
	idle   []*runtime // the last used last, so that few stay warm when there is little to do
	closed bool
	runs   sync.WaitGroup

	background sync.WaitGroup // operations of the host, also of calls that were given up
}

// NewPool makes the runner of a program. Its runtimes are made when they are needed.
func NewPool(p *Program, o Options) *Pool {
	return &Pool{program: p, opts: o, slots: make(chan struct{}, max(o.Size, 1))}
}

var errClosed = errors.New("the script was stopped")

// Run implements Runner. All calls run in one runtime, unless one of them breaks it.
func (p *Pool) Run(ctx context.Context, calls []Call, done func(i int, r Result)) {
	allowed := remaining(ctx) // the wait for a runtime counts
	if err := p.enter(ctx); err != nil {
		for i := range calls {
			done(i, Result{Err: err})
		}
		return
	}
	var rt *runtime
	defer func() {
		p.put(rt)
		<-p.slots
		p.runs.Done()
	}()
	for i, call := range calls {
		done(i, p.one(ctx, &rt, call, allowed))
	}
}

// one makes a call in a runtime that is left for the next one, unless it can't be trusted any more.
func (p *Pool) one(ctx context.Context, rt **runtime, call Call, allowed time.Duration) Result {
	if ctx.Err() != nil {
		return Result{Err: fmt.Errorf("script %s: no time was left: %w", p.opts.Name, context.Cause(ctx))}
	}
	if *rt == nil {
		var err error
		if *rt, err = p.take(ctx, call.Event, allowed); err != nil {
			return Result{Err: err, Hash: p.program.Hash()}
		}
	}
	r := (*rt).handle(ctx, call, allowed)
	if (*rt).broken {
		*rt = nil
	}
	return r
}

// enter waits for a slot and counts as one more run.
func (p *Pool) enter(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return fmt.Errorf("script %s: %w", p.opts.Name, errClosed)
	}
	p.runs.Add(1)
	p.mu.Unlock()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		p.runs.Done()
		return fmt.Errorf("script %s: no runtime was free, all %d are busy: %w", p.opts.Name, cap(p.slots), context.Cause(ctx))
	}
}

func (p *Pool) take(ctx context.Context, ev *core.Event, allowed time.Duration) (*runtime, error) {
	p.mu.Lock()
	if last := len(p.idle) - 1; last >= 0 {
		rt := p.idle[last]
		p.idle = p.idle[:last]
		p.mu.Unlock()
		return rt, nil
	}
	p.mu.Unlock()
	if p.opts.Loading != nil {
		defer p.opts.Loading(ev)()
	}
	return newRuntime(ctx, p.program, p.opts, &p.background, allowed)
}

// put keeps a runtime for the next run.
func (p *Pool) put(rt *runtime) {
	if rt == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.idle = append(p.idle, rt)
	}
}

// Close implements Runner.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed, p.idle = true, nil
	p.mu.Unlock()
	p.runs.Wait()
	p.background.Wait()
}
