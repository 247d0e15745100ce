// Package spool keeps events in files of this machine while the store is away, slow or refuses
// them, and gives them to it in their order once it is back. It stands before the store as a
// Committer: as long as something waits in it, everything goes through it, so that nothing overtakes.
package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Store is where events belong.
type Store interface {
	core.Committer
	// CommitAll commits in order and stops at the first that fails; each that was settled has a receipt.
	CommitAll(ctx context.Context, evs []*core.Event) (settled []core.Receipt, err error)
	Seen(ctx context.Context, pipeline string, key []byte, since time.Time) (id string, ok bool, err error)
}

// Options are what Open needs.
type Options struct {
	Dir     string // exists; no other process writes to it
	Store   Store
	Restore func(ev *core.Event) error // reads out of the body again what the source had read
	Log     *slog.Logger
	Limits  Limits
	Retry   time.Duration // between attempts to give the store what waits; 0 for 500 ms
}

// Limits may be changed while the spool runs.
type Limits struct {
	After    time.Duration // how long the store may take for an event
	MaxBytes int64         // of all that waits
}

// State says what waits.
type State struct {
	Bytes int64
	Since time.Time // when the store was left; zero while it is used directly
	Cause error     // why it was left
	Full  error     // why the last event could not be kept here either; nil when it could
}

// Spool is an open folder. Commit and Seen may be called from many goroutines while Run works.
type Spool struct {
	opts    Options
	limits  atomic.Pointer[Limits]
	entries chan *kept
	stopped chan struct{}
	wake    chan struct{} // one place: something waits

	waiting atomic.Bool // as state.Since says

	mu       sync.Mutex // held for what follows, also while a file is written
	state    State
	segments []*segment // the oldest first
	next     int        // number of the next file
	out      *os.File   // of the last of segments; nil when a new one is to be made
}

// kept is one event on its way to a file.
type kept struct {
	record []byte
	cause  error
	done   chan struct{}
	err    error
}

// Open finds what an earlier process left in the folder.
func Open(opts Options) (*Spool, error) {
	if opts.Retry == 0 {
		opts.Retry = 500 * time.Millisecond
	}
	s := &Spool{
		opts: opts, entries: make(chan *kept, 1024), stopped: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	s.Limit(opts.Limits)
	var err error
	if s.segments, s.next, err = segments(opts.Dir); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	for _, seg := range s.segments {
		s.state.Bytes += seg.size
	}
	if len(s.segments) > 0 {
		s.leave(errLeft)
	}
	return s, nil
}

var errLeft = errors.New("events wait that an earlier process left")

// Limit changes the limits.
func (s *Spool) Limit(l Limits) { s.limits.Store(&l) }

// State says what waits now.
func (s *Spool) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Run writes and drains until ctx ends. What waits then is found by the next process.
func (s *Spool) Run(ctx context.Context) error {
	var drain sync.WaitGroup
	drain.Go(func() { s.drainLoop(ctx) })
	s.writeLoop(ctx)
	drain.Wait()
	close(s.stopped)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seal()
}

// errBehind is why an event is kept while others are; it shows only when those are gone by then.
var errBehind = errors.New("events that came before are still given to it")

// Commit makes the event durable: in the store, or on this machine's disk when the store does not
// take it in time. Then the receipt can't say whether it is a duplicate; that is found when the
// store gets it. It fails with Unavailable when neither can, and when the store does not take an event whose
// plan has After.
func (s *Spool) Commit(ctx context.Context, ev *core.Event) (core.Receipt, error) {
	if s.waiting.Load() {
		if compares(ev) {
			return core.Receipt{}, unavailable("the store does not take events now", s.State().Cause)
		}
		return s.keep(ctx, ev, errBehind)
	}
	within, cancel := s.within(ctx)
	defer cancel()
	own := *ev // the store may still read it when the caller has gone on
	r, err := s.opts.Store.Commit(within, &own)
	if !away(err) || compares(ev) {
		return r, err
	}
	r, kept := s.keep(ctx, ev, err)
	if kept != nil {
		return r, errors.Join(kept, err)
	}
	return r, nil
}

// compares reports whether the event is to be stored only if nothing came about its record since. By the
// time it came out of a file that would say nothing any more, so it does not wait in one.
func compares(ev *core.Event) bool { return ev.Plan.After != 0 }

// Seen asks the store about a key. While that is away nothing is known to be a duplicate; the
// transaction that stores the event decides anyhow.
func (s *Spool) Seen(ctx context.Context, pipeline string, key []byte, since time.Time) (string, bool, error) {
	if s.waiting.Load() {
		return "", false, nil
	}
	within, cancel := s.within(ctx)
	defer cancel()
	id, ok, err := s.opts.Store.Seen(within, pipeline, key, since)
	if away(err) {
		return "", false, nil
	}
	return id, ok, err
}

// within is how long the store may take. Half of what the caller has is left for the disk.
func (s *Spool) within(ctx context.Context) (context.Context, context.CancelFunc) {
	after := s.limits.Load().After
	if deadline, ok := ctx.Deadline(); ok {
		after = min(after, time.Until(deadline)/2)
	}
	return context.WithTimeoutCause(ctx, after, fmt.Errorf("it took longer than %s", after))
}

// away tells a store that can't from one that won't.
func away(err error) bool {
	e, ok := errors.AsType[*core.Error](err)
	return ok && e.Kind == core.Unavailable
}

// keep returns when the event is on this machine's disk. Cause is why the store does not take it.
func (s *Spool) keep(ctx context.Context, ev *core.Event, cause error) (core.Receipt, error) {
	record, err := appendRecord(nil, ev)
	if err != nil {
		return core.Receipt{}, err
	}
	k := &kept{record: record, cause: cause, done: make(chan struct{})}
	select {
	case s.entries <- k:
	case <-ctx.Done():
		return core.Receipt{}, unavailable("the spool is overloaded", context.Cause(ctx))
	case <-s.stopped:
		return core.Receipt{}, unavailable("the spool is closed", nil)
	}
	select {
	case <-k.done:
	case <-ctx.Done():
		return core.Receipt{}, unavailable("the spool did not answer in time", context.Cause(ctx))
	case <-s.stopped: // what was taken before has been answered
		select {
		case <-k.done:
		default:
			return core.Receipt{}, unavailable("the spool is closed", nil)
		}
	}
	if k.err != nil {
		return core.Receipt{}, unavailable("the event could not be kept in the spool", k.err)
	}
	return core.Receipt{ID: ev.ID}, nil
}

func unavailable(msg string, err error) error {
	return &core.Error{Kind: core.Unavailable, Msg: msg, Err: err}
}
