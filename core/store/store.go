// Package store keeps events, their deliveries and the attempts made, in SQLite or PostgreSQL. It
// makes the plans of many requests durable in one shared transaction and hands fresh deliveries
// to whoever takes them. It knows no listener, no stage and no HTTP.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/pipehook/pipehook/core"
)

// Lease is how long a delivery stays held by a process that does not renew it.
const Lease = 60 * time.Second

// Options are what Open needs. URL is "sqlite:PATH" or "postgres://…".
type Options struct {
	URL       string
	Retention time.Duration // how long events stay after their last delivery ended; 0 keeps them
	Log       *slog.Logger
	Now       func() time.Time // nil for time.Now
}

// Store is an open database. Its methods may be called from many goroutines.
type Store struct {
	opts    Options
	backend backend
	read    *bun.DB

	plans    chan *plan
	attempts chan core.Attempt
	stopped  chan struct{}
	intake   core.Intake

	closeOnce sync.Once
	closeErr  error
}

// backend is what the two databases do differently. write runs one transaction and fills in each
// plan's result; the other methods are safe beside it.
type backend interface {
	write(b *batch) error
	writers() int // how many calls of write may run at once
	claim(ctx context.Context, listener string, limit int, now time.Time) ([]row, error)
	adopt(ctx context.Context, listener string, now time.Time) (int64, error)
	renew(ctx context.Context, keys []core.DeliveryKey, until time.Time) error
	// forget looks at up to limit events after seq, deletes those older than before that have no
	// pending delivery, and returns the last seq it looked at; 0 when there is nothing older left.
	forget(ctx context.Context, before time.Time, after int64, limit int) (last int64, err error)
	close() error
}

// Open connects, brings the schema up to date and takes hold of the database. For SQLite it fails
// when another process holds the file, naming that process. Close releases it again.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	loc, err := parseURL(opts.URL)
	if err != nil {
		return nil, err
	}
	s := &Store{
		opts: opts, intake: noIntake{},
		plans: make(chan *plan, 1024), attempts: make(chan core.Attempt, 4096), stopped: make(chan struct{}),
	}
	owner := 1 + rand.Int64N(1<<31-1) // fits the second key of a PostgreSQL advisory lock
	if loc.sqlite {
		s.backend, s.read, err = openSQLite(ctx, loc, owner)
	} else {
		s.backend, s.read, err = openPostgres(ctx, loc, owner)
	}
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", loc.shown, err)
	}
	return s, nil
}

// Attach tells the store who takes fresh deliveries. It must be called before Run.
func (s *Store) Attach(intake core.Intake) { s.intake = intake }

// Close releases the database. It is safe twice and without Run, but not while Run works.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = errors.Join(s.read.Close(), s.backend.close()) })
	return s.closeErr
}

// Commit makes the event's plan durable, together with whatever else is waiting. It returns after
// the transaction is on disk. When ctx ends first the outcome is not known and the error says so.
func (s *Store) Commit(ctx context.Context, ev *core.Event) (core.Receipt, error) {
	p := &plan{ev: ev, done: make(chan struct{})}
	select {
	case s.plans <- p:
	case <-ctx.Done():
		return core.Receipt{}, unavailable("the store is overloaded", context.Cause(ctx))
	case <-s.stopped:
		return core.Receipt{}, unavailable("the store is closed", nil)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return core.Receipt{}, unavailable("the store did not answer in time", context.Cause(ctx))
	case <-s.stopped:
		// Run answers everything it took before it stops; what it did not take was not stored.
		select {
		case <-p.done:
		default:
			return core.Receipt{}, unavailable("the store is closed", nil)
		}
	}
	if p.err != nil {
		return core.Receipt{}, unavailable("the event could not be stored", p.err)
	}
	return p.receipt, nil
}

// Finish records what an attempt came to. It returns before that is on disk: if the process dies
// in between, the delivery is attempted again. It blocks while very many results wait.
func (s *Store) Finish(a core.Attempt) {
	select {
	case s.attempts <- a:
	case <-s.stopped:
	}
}

// Seen reports the id of the event with the key, when it was received after since. Pass the zero
// time for "ever".
func (s *Store) Seen(ctx context.Context, pipeline string, key []byte, since time.Time) (id string, ok bool, err error) {
	var found []string
	err = s.read.NewSelect().Model((*Event)(nil)).Column("id").
		Where("pipeline = ?", pipeline).Where("dedupe_key = ?", key).Where("received_at >= ?", micros(since)).
		Limit(1).Scan(ctx, &found)
	if err != nil {
		return "", false, unavailable("the duplicate check failed", err)
	}
	if len(found) == 0 {
		return "", false, nil
	}
	return found[0], true, nil
}

// Claim holds up to limit due deliveries of the listener for this process and returns them, the
// longest due first.
func (s *Store) Claim(ctx context.Context, listener string, limit int) ([]core.Delivery, error) {
	rows, err := s.backend.claim(ctx, listener, limit, s.opts.Now())
	if err != nil {
		return nil, fmt.Errorf("claim for %s: %w", listener, err)
	}
	claimed := make([]core.Delivery, len(rows))
	for i := range rows {
		claimed[i] = rows[i].delivery(listener)
	}
	return claimed, nil
}

// NextDue is when the listener's next pending delivery is due, held ones included.
func (s *Store) NextDue(ctx context.Context, listener string) (at time.Time, ok bool, err error) {
	var next []int64
	err = s.read.NewSelect().Model((*Delivery)(nil)).Column("next_at").
		Where("listener = ?", listener).Where("state = 0").Order("next_at").Limit(1).Scan(ctx, &next)
	if err != nil || len(next) == 0 {
		return time.Time{}, false, err
	}
	return time.UnixMicro(next[0]), true, nil
}

// Adopt frees the listener's deliveries that are held by processes which no longer live, and
// returns how many.
func (s *Store) Adopt(ctx context.Context, listener string) (int64, error) {
	return s.backend.adopt(ctx, listener, s.opts.Now())
}

// Renew holds the deliveries for another Lease. Those that were lost meanwhile stay lost.
func (s *Store) Renew(ctx context.Context, keys []core.DeliveryKey) error {
	return s.backend.renew(ctx, keys, s.opts.Now().Add(Lease))
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.read.PingContext(ctx) }

func unavailable(msg string, err error) error {
	return &core.Error{Kind: core.Unavailable, Msg: msg, Err: err}
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

type noIntake struct{}

func (noIntake) Reserve(string) bool   { return false }
func (noIntake) Release(string)        {}
func (noIntake) Take(core.Delivery)    {}
func (noIntake) Due(string, time.Time) {}
