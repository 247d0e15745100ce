package worker

import (
	"context"
	"fmt"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

// Run implements engine.Runner. Calls that had not begun when a child died are made in the next one.
// Those that ran have an error of Kind Crashed, or a plain one when the child was ended because of
// another call.
func (p *Process) Run(ctx context.Context, calls []engine.Call, done func(i int, r engine.Result)) {
	for next, vain := 0, 0; next < len(calls); {
		portion, suspect := p.portion(calls[next:])
		c, err := p.enter(ctx, suspect)
		if err != nil {
			for i := next; i < len(calls); i++ {
				done(i, engine.Result{Err: err})
			}
			return
		}
		ended, guilty := c.run(ctx, portion, func(i int, r engine.Result) {
			r.Hash = p.o.Code.Hash
			done(next+i, r)
		})
		p.exit(portion[:ended], guilty)
		if next += ended; ended > 0 {
			vain = 0
		} else if vain++; vain == 3 { // three children have died before it began
			for i := next; i < len(calls); i++ {
				done(i, engine.Result{Err: &core.Error{Kind: core.Unavailable, Msg: "the script's processes end before they do anything"}})
			}
			return
		}
	}
}

// portion is what may be sent at once: the calls up to the next suspect, or one alone.
func (p *Process) portion(calls []engine.Call) (_ []engine.Call, suspect bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.suspects[calls[0].Event.ID] {
		return calls[:1], true
	}
	size := 0
	for i := range calls {
		size += weight(calls[i].Event)
		if i > 0 && (size > maxEvents || i == maxBatch || len(p.suspects) > 0 && p.suspects[calls[i].Event.ID]) {
			return calls[:i], false
		}
	}
	return calls, false
}

// enter waits until a batch may run, and for the child to run it in.
func (p *Process) enter(ctx context.Context, suspect bool) (*child, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if suspect {
		p.lonely++
		defer func() {
			p.lonely--
			p.tell()
		}()
	}
	for p.calls >= p.o.Size || p.alone || suspect && p.calls > 0 || !suspect && p.lonely > 0 {
		if p.closed {
			return nil, errClosed
		}
		if err := p.wait(ctx, p.changed); err != nil {
			return nil, fmt.Errorf("script %s: its process was not free in time: %w", p.o.Name, err)
		}
	}
	if p.closed {
		return nil, errClosed
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("script %s: no time was left: %w", p.o.Name, err)
	}
	c := p.start()
	p.calls++ // keeps others out, and the child from being idle
	p.alone = suspect
	p.settle()
	err := p.wait(ctx, c.started)
	if err != nil {
		err = fmt.Errorf("script %s: its process did not start in time: %w", p.o.Name, err)
	} else if err = c.trouble(); err == nil {
		return c, nil
	}
	p.calls--
	p.alone = false
	p.settle()
	p.tell()
	return nil, err
}

// wait waits for a channel without the lock, which must be held.
func (p *Process) wait(ctx context.Context, until <-chan struct{}) error {
	p.mu.Unlock()
	defer p.mu.Lock()
	select {
	case <-until:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// exit takes back what enter gave, after these calls have ended. guilty is the event that the child
// may have died of: it is alone the next time, so that one that does it again is known for it and
// the others are cleared.
func (p *Process) exit(ended []engine.Call, guilty *core.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls--
	p.alone = false
	if len(p.suspects) > 0 {
		for _, call := range ended {
			delete(p.suspects, call.Event.ID)
		}
	}
	if guilty != nil {
		for old := range p.suspects { // most likely one that was given up and never comes again
			if len(p.suspects) < maxSuspects {
				break
			}
			delete(p.suspects, old)
		}
		p.suspects[guilty.ID] = true
	}
	p.settle()
	p.tell()
}
