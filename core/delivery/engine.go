// Package delivery hands stored events to listeners: each listener has a lane with a bounded queue
// and its own workers, so that a slow one costs disk and nobody else's time. It decides when to
// try again and when to give up. It knows no database and no kind of listener.
package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Store is what the engine needs of the place where deliveries are kept.
type Store interface {
	// Scan reads pending deliveries in the order of turns; record 0 is any.
	Scan(ctx context.Context, listener string, after, record int64, limit int) ([]core.Pending, error)
	// Load reads those that are still pending, with their events.
	Load(ctx context.Context, listener string, seqs []int64, newest bool) ([]core.Delivery, error)

	// Shared reports whether other processes store too: then an event may be seen before one whose
	// number is lower. It says so no later than what they store is seen.
	Shared() bool

	Epoch(shard int) int64             // the token under which the shard is served; 0 when it is not
	Begin(shard int, epoch int64) bool // opens an attempt, if the token is still good
	Abandon(shard int)                 // ends one that came to nothing
	Finish(a core.Attempt)             // ends one with its result
	Paused(ctx context.Context) (map[string]string, error)
	Edits(ctx context.Context) (map[string]int64, error) // grows for a listener when its deliveries are changed by hand
}

// Journal notes what runs, so that it is known after the process has ended in the middle. The
// attempt runs between Start and the call of end.
type Journal interface {
	Start(key core.DeliveryKey, number int) (end func())
}

// Order is what a listener's deliveries wait for.
type Order uint8

// The orders.
const (
	ByRecord Order = iota // one at a time for each record, as they were accepted
	Unordered
)

// OnFailure is what a failed delivery means for the others of its record.
type OnFailure uint8

// What a failure means.
const (
	Block OnFailure = iota // they wait until it has succeeded or is given up
	Skip                   // they go ahead while it waits
)

// Coalesce gathers what comes for one record until nothing has come for Quiet, at most for Max.
// Without Quiet it gathers nothing.
type Coalesce struct{ Quiet, Max time.Duration }

func (c Coalesce) on() bool { return c.Quiet > 0 }

// Subscription is a listener and the events it wants.
type Subscription struct {
	Name        string
	Match       []core.Pattern
	Changed     []string // when not empty: only events in which one of these fields changed
	Where       core.Where
	Source      string                            // when not empty: only events of this source
	Refuses     func(ev *core.Event) (why string) // may be nil; why is empty of an event that it takes
	Keeps       bool                              // it keeps records, and hears of what is withheld from others
	Listener    core.Listener
	Code        func() string // the version that runs; nil when the listener has none
	Timeout     time.Duration // of one attempt
	Concurrency int           // attempts at a time
	Retry       Retry
	Order       Order
	OnFailure   OnFailure
	DropStale   bool // skip what is older than one that was handled for the record
	Coalesce    Coalesce
	Breaker     Breaker
}

// Decide reports whether the listener wants the event. why is the rule that refused it, with the
// value that it saw; empty when not even the pattern fits.
func (s *Subscription) Decide(ev *core.Event) (wanted bool, why string) {
	if !slices.ContainsFunc(s.Match, func(p core.Pattern) bool { return p.Match(ev) }) {
		return false, ""
	}
	if s.Source != "" && ev.Source != s.Source {
		return false, "source: it is for events of " + s.Source + " only"
	}
	if s.Refuses != nil {
		if why := s.Refuses(ev); why != "" {
			return false, why
		}
	}
	if ev.Plan.Withheld && !s.Keeps {
		return false, "withheld: a stage left it to listeners that keep records"
	}
	if len(s.Changed) > 0 && !slices.ContainsFunc(s.Changed, ev.Changed) {
		if len(s.Changed) == 1 {
			return false, "changed: " + s.Changed[0] + " has not changed"
		}
		return false, "changed: none of " + strings.Join(s.Changed, ", ") + " has changed"
	}
	return s.Where.Decide(ev)
}

func (s *Subscription) ordered() bool { return s != nil && s.Order == ByRecord }

// readsBack reports whether a delivery needs what only the store knows.
func (s *Subscription) readsBack() bool { return s.DropStale || s.Coalesce.on() }

// Options are what New needs.
type Options struct {
	Store   Store
	Journal Journal                              // nil for none
	Restore func(ev *core.Event) error           // names an event that comes from the store
	Observe func(ev *core.Event, a core.Attempt) // sees every attempt; may be nil
	Quiet   bool                                 // attempts are not logged, since Observe shows them
	Log     *slog.Logger
	Now     func() time.Time // nil for time.Now
}

type noJournal struct{}

func (noJournal) Start(core.DeliveryKey, int) func() { return func() {} }

// Engine runs the lanes. It is a core.Intake for the store and a core.Service.
type Engine struct {
	opts    Options
	watches watches
	offered atomic.Int64  // events that are not stored, so far
	trouble core.Trouble  // with reading what was changed by hand; Run's own
	byHand  chan struct{} // asks Run to read what was changed by hand

	mu      sync.RWMutex
	lanes   map[string]*lane // never shrinks: a lane without a subscription is retired
	subs    []*Subscription
	paused  map[string]string // by listener: the reason; as last read
	edits   map[string]int64  // nil until read
	running context.Context   // nil until Run
	ended   sync.WaitGroup
}

// New makes an engine without listeners.
func New(opts Options) *Engine {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Journal == nil {
		opts.Journal = noJournal{}
	}
	if opts.Observe == nil {
		opts.Observe = func(*core.Event, core.Attempt) {}
	}
	return &Engine{opts: opts, lanes: map[string]*lane{}, byHand: make(chan struct{}, 1)}
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
			_, l.gate.paused = e.paused[sub.Name]
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

// Route lists the listeners that want the event, and for those whose pattern fits but whose rule
// refused it, which.
func (e *Engine) Route(ev *core.Event) (names []string, refused []core.Refusal) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, sub := range e.subs {
		if wanted, why := sub.Decide(ev); wanted {
			names = append(names, sub.Name)
		} else if why != "" {
			refused = append(refused, core.Refusal{Listener: sub.Name, Why: why})
		}
	}
	return names, refused
}

func (e *Engine) lane(listener string) *lane {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.lanes[listener]
}

// Reserve is part of core.Intake.
func (e *Engine) Reserve(listener string, bytes int) bool {
	l := e.lane(listener)
	return l != nil && l.reserve(bytes)
}

// Take is part of core.Intake.
func (e *Engine) Take(d core.Delivery) { e.lane(d.Listener).take(d) }

// Return is part of core.Intake.
func (e *Engine) Return(listener string, held, stored bool) {
	if l := e.lane(listener); l != nil {
		l.giveBack(held, stored)
	}
}

// Saved is part of core.Intake.
func (e *Engine) Saved(attempts []core.Attempt) {
	for i := range attempts {
		if l := e.lane(attempts[i].Listener); l != nil {
			l.saved(&attempts[i])
		}
	}
}

// Lost is part of core.Intake.
func (e *Engine) Lost(attempts []core.Attempt) {
	for i := range attempts {
		if l := e.lane(attempts[i].Listener); l != nil {
			l.lost(&attempts[i])
		}
	}
}

// Look is part of core.Intake.
func (e *Engine) Look(again bool) {
	if again { // perhaps because of somebody
		select {
		case e.byHand <- struct{}{}:
		default:
		}
	}
	for _, l := range e.all() {
		l.look(again)
	}
}

func (e *Engine) all() []*lane {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return slices.Collect(maps.Values(e.lanes))
}

// Offer gives an event that is not stored to its listeners. Attempts and their repetition then
// live in memory only. It fails with Kind Unavailable when a lane is full; the lanes before it have
// the event then.
func (e *Engine) Offer(ev core.Event, listeners []string) error {
	for _, name := range listeners {
		if l := e.lane(name); l == nil || !l.offer(ev, -e.offered.Add(1)) {
			return &core.Error{Kind: core.Unavailable, Msg: "a listener has too much to do", Err: fmt.Errorf("listener %s", name)}
		}
	}
	return nil
}

// Run works until ctx ends, then lets the attempts that run finish and returns. What was queued in
// memory stays stored for the next process.
func (e *Engine) Run(ctx context.Context) error {
	e.readByHand(ctx) // before anything runs
	e.mu.Lock()
	e.running = ctx
	for _, l := range e.lanes {
		l.start(ctx)
	}
	e.mu.Unlock()

	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.readByHand(ctx)
		case <-e.byHand:
			e.readByHand(ctx)
		case <-ctx.Done():
			for _, l := range e.all() {
				l.mu.Lock()
				l.recall()
				l.work.Broadcast()
				l.mu.Unlock()
			}
			e.ended.Wait()
			return nil
		}
	}
}

func (e *Engine) stopped() bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.running.Err() != nil
}

// Standing is why a listener's deliveries may not run.
type Standing struct {
	Paused bool // somebody said so
	Open   bool // its circuit breaker is
}

// Standing is that of every listener there is.
func (e *Engine) Standing() map[string]Standing {
	all := map[string]Standing{}
	for _, l := range e.all() {
		l.mu.Lock()
		if l.sub != nil {
			all[l.name] = Standing{Paused: l.gate.paused, Open: l.gate.pause > 0 || l.gate.away}
		}
		l.mu.Unlock()
	}
	return all
}
