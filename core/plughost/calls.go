//go:build unix

package plughost

import (
	"context"
	"errors"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// Handle is part of core.Listener. It waits for a plugin that is being started as long as ctx
// allows. An error of Kind Crashed means that the process ended during the call.
func (p *Plugin) Handle(ctx context.Context, ev core.Event) error {
	var result wire.Result
	err := p.call(ctx, &ev, func(ctx context.Context, i *instance, timeout time.Duration, g wire.Given) error {
		return i.wire.Handle(ctx, timeout, []wire.Given{g}, func(_ int, r wire.Result) { result = wire.Result{Err: i.hidden(r.Err)} })
	})
	if err != nil {
		return err
	}
	return result.Err
}

// Process asks the plugin, as a stage, what it says of an event. The error is a wire.Rejection, or says
// why the plugin did not judge.
func (p *Plugin) Process(ctx context.Context, ev *core.Event) (j wire.Judgement, err error) {
	callErr := p.call(ctx, ev, func(ctx context.Context, i *instance, timeout time.Duration, g wire.Given) error {
		if j, err = i.wire.Process(ctx, timeout, g); err == nil {
			j.Reason = i.voice.secrets.Redact(j.Reason)
		}
		ofCall := asCall(err)
		err = i.hidden(err)
		return ofCall
	})
	if callErr != nil {
		return wire.Judgement{}, callErr
	}
	return j, err
}

// Name asks the plugin, as a source, what event a request is. The answer has nothing but what the plugin
// said. The error is a wire.Rejection, or says why the plugin did not name it.
func (p *Plugin) Name(ctx context.Context, ev *core.Event) (named *core.Event, err error) {
	callErr := p.call(ctx, ev, func(ctx context.Context, i *instance, timeout time.Duration, g wire.Given) error {
		named, err = i.wire.Name(ctx, timeout, g)
		ofCall := asCall(err)
		err = i.hidden(err)
		return ofCall
	})
	if callErr != nil {
		return nil, callErr
	}
	return named, err
}

// asCall is the error when it is one of the call, and not what the plugin said.
func asCall(err error) error {
	if call, ok := errors.AsType[*wire.CallError](err); ok {
		return call.Err
	}
	return nil
}

// call makes a call in the process that runs, once it may.
func (p *Plugin) call(ctx context.Context, ev *core.Event, do func(ctx context.Context, i *instance, timeout time.Duration, g wire.Given) error) error {
	i, _, err := p.enter(ctx, ev.ID)
	if err != nil {
		return err
	}
	g := i.desk.open(ev, 0)
	err = i.call(ctx, ev.ID, func(ctx context.Context, timeout time.Duration) error {
		return do(ctx, i, timeout, g)
	})
	i.desk.done(g)
	p.exit(i, core.KindOf(err) == core.Crashed, ev.ID)
	return err
}

// enter waits until the call may run. Of those that ran when the process crashed, each is alone the
// next time, so that one that does it again is known for it and the others are cleared.
func (p *Plugin) enter(ctx context.Context, event string) (_ *instance, suspect bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	suspect = p.suspects[event]
	if suspect {
		p.lonely++
		defer func() {
			p.lonely--
			p.tell()
		}()
	}
	for {
		switch {
		case p.stopping:
			return nil, false, errStopped
		case p.current == nil || p.current.lost() || p.alone || suspect && p.calls > 0 || !suspect && p.lonely > 0:
		default:
			p.calls++
			p.alone = suspect
			return p.current, suspect, nil
		}
		if err := p.wait(ctx); err != nil {
			return nil, false, err
		}
	}
}

// wait waits for a change. It fails when there will be none before the deadline.
func (p *Plugin) wait(ctx context.Context) error {
	deadline, bounded := ctx.Deadline()
	if p.failure != nil && bounded && p.again.After(deadline) {
		return p.unavailable()
	}
	changed := p.changed
	p.mu.Unlock()
	defer p.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unavailable()
}

// unavailable is why a call could not be made. The lock must be held.
func (p *Plugin) unavailable() error {
	if p.failure == nil {
		return &core.Error{Kind: core.Unreached, Msg: "the plugin was not free in time"}
	}
	return &core.Error{Kind: core.Unreached, Msg: "the plugin does not run", Err: p.failure, RetryAfter: max(time.Until(p.again), 0)}
}

// suspected reports whether the event must be alone.
func (p *Plugin) suspected(event string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.suspects[event]
}

// exit takes back what enter gave, after a call about the events. Those that it did not answer when the
// process crashed may be the cause. company reports that there were other calls then, so that it may
// just as well be one of those.
func (p *Plugin) exit(i *instance, crashed bool, events ...string) (company bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if crashed && p.calls > 1 { // the first of them to be here counts them all
		i.company = true
	}
	p.calls--
	p.alone = false
	for _, event := range events {
		if !crashed {
			delete(p.suspects, event)
			continue
		}
		for old := range p.suspects { // most likely one that was given up and never comes again
			if len(p.suspects) < maxSuspects {
				break
			}
			delete(p.suspects, old)
		}
		p.suspects[event] = true
	}
	p.tell()
	return crashed && i.company
}
