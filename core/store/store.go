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
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/database"
)

// Options are what Open needs. URL is "sqlite:PATH" or "postgres://…".
type Options struct {
	URL     string
	Keep    Keep
	Log     *slog.Logger
	Now     func() time.Time // SQLite's clock, nil for time.Now; PostgreSQL has its own
	Replica int64            // this process's number among those on one PostgreSQL, kept over restarts; 0 for a new one
	Name    string           // how people call this process

	// Away lets Open succeed while PostgreSQL can't be reached. Until it can, everything fails with
	// Kind Unavailable, and Run keeps trying.
	Away bool
	// Ready is called once the schema is up to date, before anything is served; nil for nothing.
	Ready func(ctx context.Context, s *Store) error
}

// Store is an open database. Its methods may be called from many goroutines.
type Store struct {
	opts    Options
	backend backend
	read    *bun.DB

	plans    chan *plan
	attempts chan core.Attempt
	stopped  chan struct{}
	keep     atomic.Pointer[Keep]
	pending  atomic.Int64
	intake   core.Intake
	holds    holds
	kvCounts kvCounts
	trouble  core.Trouble // of the write loop
	alone    bool         // the last transaction saw no other process; belongs to the write loop
	ready    atomic.Bool  // prepare succeeded
	shared   atomic.Bool  // the last transaction or look at the lease saw another process; false with SQLite

	closeOnce sync.Once
	closeErr  error
}

// backend is what the two databases do differently. write runs one transaction and fills in each
// plan's result; the other methods are safe beside it.
type backend interface {
	prepare(ctx context.Context) error // brings the schema up to date
	write(b *batch) error
	// blames reports whether a failed write may be the fault of one of its rows.
	blames(err error) bool
	scan(ctx context.Context, q scan) ([]core.Pending, error)
	load(ctx context.Context, listener string, seqs []int64, newest bool) ([]row, error)
	// forget looks at up to limit events after seq, deletes those received longer ago than age that
	// have no pending delivery, and returns the last seq it looked at, 0 when none of them is older, and
	// about how many bytes were freed.
	forget(ctx context.Context, age time.Duration, after int64, limit int) (last, freed int64, err error)
	// forgetBeside deletes what is older than age and belongs to no event.
	forgetBeside(ctx context.Context, age time.Duration) error
	size(ctx context.Context) (int64, error) // of all events, in bytes, about
	// keep holds what this process may serve until ctx ends, then hands it back.
	keep(ctx context.Context, s *Store)
	edit() *bun.DB // may write beside the write loop, in short transactions
	// kv makes a change and sets what came of it; forgetKV deletes up to limit entries that have expired.
	kv(ctx context.Context, w *kvWrite) error
	forgetKV(ctx context.Context, limit int) (int64, error)
	close() error
}

// scan asks for pending deliveries of a listener in the order of their turns.
type scan struct {
	listener string
	after    int64 // only turns above it
	record   int64 // only this record's, unless 0
	limit    int
	shards   []int // only these
}

// Open connects, brings the schema up to date and takes hold of the database. For SQLite it fails
// when another process holds the file, naming that process; for PostgreSQL, when it can't be
// reached, unless Options.Away allows that. Close releases it again.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	loc, err := parseURL(opts.URL)
	if err != nil {
		return nil, err
	}
	s := &Store{
		opts: opts, intake: noIntake{}, holds: holds{now: clocks}, kvCounts: kvCounts{most: KVMaxEntries},
		plans: make(chan *plan, 1024), attempts: make(chan core.Attempt, 4096), stopped: make(chan struct{}),
	}
	s.Retain(opts.Keep)
	if opts.Replica == 0 {
		s.opts.Replica = 1 + rand.Int64N(1<<62)
	}
	if loc.SQLite {
		s.backend, s.read, err = openSQLite(ctx, loc, s.opts.Now)
		s.holds.all()
		s.alone = true
	} else {
		s.backend, s.read, err = openPostgres(loc, s.opts.Replica)
		s.shared.Store(true) // until a transaction has seen nobody else
	}
	if err == nil {
		if err = s.prepare(ctx); err != nil && opts.Away && !loc.SQLite && database.Unreachable(err) {
			opts.Log.Error("the database can't be reached; trying again until it can", "store", loc.Shown, "err", err)
			return s, nil
		}
	}
	if err != nil {
		if s.backend != nil {
			err = errors.Join(err, s.Close())
		}
		return nil, fmt.Errorf("store %s: %w", loc.Shown, err)
	}
	return s, nil
}

func (s *Store) prepare(ctx context.Context) error {
	if err := s.backend.prepare(ctx); err != nil {
		return err
	}
	if s.opts.Ready != nil {
		if err := s.opts.Ready(ctx, s); err != nil {
			return err
		}
	}
	s.ready.Store(true)
	return nil
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
	own := *ev // the chain goes on with its own, perhaps before the store is done with it
	p := &plan{ev: &own, done: make(chan struct{})}
	if err := s.submit(ctx, p); err != nil {
		return core.Receipt{}, err
	}
	return s.await(ctx, p)
}

func (s *Store) submit(ctx context.Context, p *plan) error {
	select {
	case s.plans <- p:
		return nil
	case <-ctx.Done():
		return unavailable("the store is overloaded", context.Cause(ctx))
	case <-s.stopped:
		return unavailable("the store is closed", nil)
	}
}

func (s *Store) await(ctx context.Context, p *plan) (core.Receipt, error) {
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
		return core.Receipt{}, refusal(p.err)
	}
	return p.receipt, nil
}

// refusal tells an event that the database will never take from a database that takes none now.
func refusal(err error) error {
	if database.Hopeless(err) {
		return &core.Error{Kind: core.Permanent, Msg: "the event can't be stored", Err: err}
	}
	return unavailable("the event could not be stored", err)
}

// CommitAll makes the events' plans durable in their order, and returns a receipt for each that was
// settled. After the first that fails the others are not tried.
func (s *Store) CommitAll(ctx context.Context, evs []*core.Event) (settled []core.Receipt, err error) {
	failed := new(atomic.Bool)
	plans := make([]*plan, len(evs))
	for i, ev := range evs {
		plans[i] = &plan{ev: ev, done: make(chan struct{}), failed: failed}
		if err = s.submit(ctx, plans[i]); err != nil {
			failed.Store(true)
			plans = plans[:i]
			break
		}
	}
	for _, p := range plans {
		receipt, err := s.await(ctx, p)
		if err != nil {
			failed.Store(true)
			return settled, err
		}
		settled = append(settled, receipt)
	}
	return settled, err
}

// Finish records what an attempt that Begin allowed came to. It returns before that is on disk: if
// the process dies in between, the delivery is attempted again. The result counts once, only while
// the delivery is pending under the attempt's turn, and only under the attempt's token. It blocks
// while very many results wait.
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

// Scan reads pending deliveries of the listener with a turn after the given one, in order, of the
// shards that this process holds. A record other than 0 asks for that record's only. What it
// returns may be in memory already, or be finished with its result not yet saved.
func (s *Store) Scan(ctx context.Context, listener string, after, record int64, limit int) ([]core.Pending, error) {
	shards := s.holds.list()
	if len(shards) == 0 {
		return nil, nil
	}
	found, err := s.backend.scan(ctx, scan{listener: listener, after: after, record: record, limit: limit, shards: shards})
	if err != nil {
		return nil, fmt.Errorf("pending deliveries of %s: %w", listener, err)
	}
	return found, nil
}

// Load reads the deliveries with their events, in no order; those that have ended are left out.
// With newest each says what was handled last for its record.
func (s *Store) Load(ctx context.Context, listener string, seqs []int64, newest bool) ([]core.Delivery, error) {
	rows, err := s.backend.load(ctx, listener, seqs, newest)
	if err != nil {
		return nil, fmt.Errorf("deliveries of %s: %w", listener, err)
	}
	loaded := make([]core.Delivery, len(rows))
	for i := range rows {
		loaded[i] = rows[i].delivery(listener)
	}
	return loaded, nil
}

// Epoch is the token under which this process serves the shard now, 0 when it does not.
func (s *Store) Epoch(shard int) int64 { return s.holds.current(shard) }

// Shards is how many shards this process serves now.
func (s *Store) Shards() int { return len(s.holds.list()) }

// Shared reports whether other processes store too. Their events are numbered before they are
// committed, so one may be seen before another whose number is lower.
func (s *Store) Shared() bool { return s.shared.Load() }

// Abandon ends an attempt that came to nothing.
func (s *Store) Abandon(shard int) { s.holds.end(shard) }

// Begin opens an attempt under the token, which Finish or Abandon ends. It fails when the token is no longer
// good: then another process may serve the shard.
func (s *Store) Begin(shard int, epoch int64) bool { return s.holds.begin(shard, epoch) }

// Ping reports whether the database answers and can be used.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.read.PingContext(ctx); err != nil {
		return err
	}
	if !s.ready.Load() {
		return errors.New("the schema is not up to date yet")
	}
	return nil
}

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

func (noIntake) Reserve(string, int) bool  { return false }
func (noIntake) Take(core.Delivery)        {}
func (noIntake) Return(string, bool, bool) {}
func (noIntake) Saved([]core.Attempt)      {}
func (noIntake) Lost([]core.Attempt)       {}
func (noIntake) Look(bool)                 {}
