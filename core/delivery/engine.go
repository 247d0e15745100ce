// Package delivery hands stored events to listeners: each listener has a lane with a bounded queue
// and its own workers, so that a slow one costs disk and nobody else's time. It decides when to
// try again and when to give up. It knows no database and no kind of listener.
package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Store is what the engine needs of the place where deliveries are kept.
type Store interface {
	Claim(ctx context.Context, listener string, limit int) ([]core.Delivery, error)
	NextDue(ctx context.Context, listener string) (at time.Time, ok bool, err error)
	Adopt(ctx context.Context, listener string) (int64, error)
	Renew(ctx context.Context, keys []core.DeliveryKey) error
	Finish(a core.Attempt)
}

// Subscription is a listener and the events it wants.
type Subscription struct {
	Name        string
	Match       []core.Pattern
	Changed     []string // when not empty: only events in which one of these fields changed
	Listener    core.Listener
	Code        func() string // the version that runs; nil when the listener has none
	Timeout     time.Duration // of one attempt
	Concurrency int           // attempts at a time
	Retry       Retry
}

func (s *Subscription) wants(ev *core.Event) bool {
	if !slices.ContainsFunc(s.Match, func(p core.Pattern) bool { return p.Match(ev) }) {
		return false
	}
	return len(s.Changed) == 0 || slices.ContainsFunc(s.Changed, ev.Changed)
}

// Options are what New needs.
type Options struct {
	Store   Store
	Restore func(ev *core.Event) error           // names an event that comes from the store
	Observe func(ev *core.Event, a core.Attempt) // sees every attempt; may be nil
	Log     *slog.Logger
	Lease   time.Duration    // how long the store keeps a delivery held without Renew
	Now     func() time.Time // nil for time.Now
}

// Engine runs the lanes. It is a core.Intake for the store and a core.Service.
type Engine struct {
	opts    Options
	watches watches

	mu      sync.RWMutex
	lanes   map[string]*lane // never shrinks: a lane without a subscription is retired
	subs    []*Subscription
	running context.Context // nil until Run
	ended   sync.WaitGroup
}

// New makes an engine without listeners.
func New(opts Options) *Engine {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Observe == nil {
		opts.Observe = func(*core.Event, core.Attempt) {}
	}
	return &Engine{opts: opts, lanes: map[string]*lane{}}
}

// Subscribe replaces all subscriptions. Attempts that run go on with the listener they began with;
// deliveries to a listener that is gone stay stored until it comes back.
func (e *Engine) Subscribe(subs []Subscription) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.subs = make([]*Subscription, len(subs))
	kept := make(map[string]bool, len(subs))
	for i := range subs {
		sub := subs[i]
		e.subs[i], kept[sub.Name] = &sub, true
		l, ok := e.lanes[sub.Name]
		if !ok {
			l = newLane(e, sub.Name)
			e.lanes[sub.Name] = l
		}
		l.subscribe(&sub)
		if e.running != nil {
			l.start(e.running)
		}
	}
	for name, l := range e.lanes {
		if !kept[name] {
			l.subscribe(nil)
		}
	}
}

// Route lists the listeners that want the event.
func (e *Engine) Route(ev *core.Event) []string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var names []string
	for _, sub := range e.subs {
		if sub.wants(ev) {
			names = append(names, sub.Name)
		}
	}
	return names
}

func (e *Engine) lane(listener string) *lane {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.lanes[listener]
}

// Reserve is part of core.Intake.
func (e *Engine) Reserve(listener string) bool {
	l := e.lane(listener)
	return l != nil && l.reserve()
}

// Release is part of core.Intake.
func (e *Engine) Release(listener string) { e.lane(listener).release(1) }

// Take is part of core.Intake.
func (e *Engine) Take(d core.Delivery) { e.lane(d.Listener).push(job{Delivery: d}) }

// Due is part of core.Intake.
func (e *Engine) Due(listener string, at time.Time) {
	if l := e.lane(listener); l != nil {
		l.due(at)
	}
}

// Offer gives an event that is not stored to its listeners. Attempts and their repetition then
// live in memory only. It fails with Kind Unavailable, and gives it to none, when a lane is full.
func (e *Engine) Offer(ev core.Event, listeners []string) error {
	for i, name := range listeners {
		if l := e.lane(name); l != nil && l.reserveFleeting() {
			continue
		}
		for _, reserved := range listeners[:i] {
			e.Release(reserved)
		}
		return &core.Error{Kind: core.Unavailable, Msg: "a listener has too much to do", Err: fmt.Errorf("listener %s", name)}
	}
	for _, name := range listeners {
		e.lane(name).push(job{Delivery: core.Delivery{Listener: name, Attempt: 1, Event: ev}, fleeting: true})
	}
	return nil
}

// Run works until ctx ends, then lets the attempts that run finish and returns. What was queued in
// memory stays stored for the next process.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	e.running = ctx
	for _, l := range e.lanes {
		l.start(ctx)
	}
	e.mu.Unlock()

	tick := time.NewTicker(e.opts.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.renew(ctx)
		case <-ctx.Done():
			e.ended.Wait()
			return nil
		}
	}
}

// renew keeps hold of what has been in memory for a while: its queue is long or its attempt slow.
func (e *Engine) renew(ctx context.Context) {
	e.mu.RLock()
	lanes := make([]*lane, 0, len(e.lanes))
	for _, l := range e.lanes {
		lanes = append(lanes, l)
	}
	e.mu.RUnlock()
	before := e.opts.Now().Add(-e.opts.Lease / 3)
	for _, l := range lanes {
		keys := l.heldSince(before)
		if len(keys) == 0 {
			continue
		}
		if err := e.opts.Store.Renew(ctx, keys); err != nil && ctx.Err() == nil {
			e.opts.Log.Error("deliveries could not be kept; they may be attempted twice", "listener", l.name, "count", len(keys), "err", err)
		}
	}
}
