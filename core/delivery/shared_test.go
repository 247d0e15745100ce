package delivery_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/store"
)

// another is a process that shares the database and does just what a test says.
type another struct {
	t  *testing.T
	db *sql.DB
}

// newAnother prepares the database and lets it look as if another process lived.
func newAnother(t *testing.T, url string) *another {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	a := &another{t, sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(url)))}
	t.Cleanup(func() { _ = a.db.Close() })
	a.exec("INSERT INTO replicas (id, name, lease_until, incarnation) VALUES (42, 'another', pipehook_now() + 3600000000, 0)")
	a.exec("UPDATE shards SET holder = 42 WHERE shard >= 32") // the other half is for who is tested
	return a
}

func (a *another) exec(query string, args ...any) {
	a.t.Helper()
	if _, err := a.db.Exec(query, args...); err != nil {
		a.t.Fatal(err)
	}
}

// number draws the next event's number, which it may use later.
func (a *another) number() (n int64) {
	a.t.Helper()
	if err := a.db.QueryRow("SELECT nextval(pg_get_serial_sequence('events', 'seq'))").Scan(&n); err != nil {
		a.t.Fatal(err)
	}
	return n
}

// stores commits an event of the record under a number, and tells nobody.
func (a *another) stores(n int64, object, body string) {
	a.t.Helper()
	ev := deal()
	ev.ObjectID = object
	a.exec(`WITH e AS (
			INSERT INTO events (seq, id, pipeline, source, action, object, object_id, occurred_at, received_at, remote, header, trace, body)
			OVERRIDING SYSTEM VALUE VALUES ($1, $2, 'crm', 'test', 'updated', 'deal', $3, 0, pipehook_now(), '', '{}', '', convert_to($4, 'UTF8'))
		) INSERT INTO deliveries (event_seq, listener, state, attempts, next_at, turn, record) VALUES ($1, 'a', 0, 0, 0, $1, $5)`,
		n, ev.ID, object, body, ev.Record())
}

// served are objects of shards that the process under test holds.
func served(n int) (objects []string) {
	for i := 0; len(objects) < n; i++ {
		if object := fmt.Sprint(i); shardOf(object) < 32 {
			objects = append(objects, object)
		}
	}
	return objects
}

// objectIn is an object of one of the shards.
func objectIn(from, to int) string {
	for i := 0; ; i++ {
		if object := fmt.Sprint(i); shardOf(object) >= from && shardOf(object) < to {
			return object
		}
	}
}

func shardOf(object string) int {
	ev := deal()
	ev.ObjectID = object
	return core.ShardOf(ev.Record(), 0)
}

func (h *history) of(object string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprint(h.seen[object])
}

func (h *history) await(t *testing.T, object, want string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); len(h.of(object)) < len(want) && time.Now().Before(deadline); {
		<-tick.C
	}
	if got := h.of(object); got != want {
		t.Errorf("record %s got %s, want %s", object, got, want)
	}
}

func noting(h *history) delivery.Subscription {
	return listener("a", func(_ context.Context, ev core.Event) error {
		h.enter(ev)
		h.leave(ev)
		return nil
	})
}

// A process numbers its events before it commits them, so one may appear below what was seen.
func TestAnEventThatAnotherProcessStoredIsNotOvertakenByThoseOfThisOne(t *testing.T) {
	url := testdb.Postgres(t)
	a, h, objects := newAnother(t, url), newHistory(), served(2)
	r := start(t, url, noting(h))
	r.acceptOne(t, objects[1], "0")
	h.await(t, objects[1], "[0]")
	for i := range 20 {
		n := a.number()
		r.acceptOne(t, objects[1], "1")
		for range 2 { // by then the lane has seen a higher number
			r.acceptOne(t, objects[1], "1")
			r.next(t)
		}
		a.stores(n, objects[0], fmt.Sprint(2*i))
		r.acceptOne(t, objects[0], fmt.Sprint(2*i+1))
	}
	want := make([]int, 40)
	for i := range want {
		want[i] = i
	}
	h.await(t, objects[0], fmt.Sprint(want))
}

// between is a store in which something happens after a page was read.
type between struct {
	*store.Store
	once sync.Once
	then func()
}

func (b *between) Scan(ctx context.Context, listener string, after, record int64, limit int) ([]core.Pending, error) {
	page, err := b.Store.Scan(ctx, listener, after, record, limit)
	if len(page) == limit {
		b.once.Do(b.then)
	}
	return page, err
}

func TestAnEventThatAppearsBehindAPageIsNotOvertakenByOneOfTheNextPage(t *testing.T) {
	url := testdb.Postgres(t)
	a, h, objects := newAnother(t, url), newHistory(), served(700)
	first := a.number()
	for _, object := range objects[1:] {
		a.stores(a.number(), object, "0")
	}
	log := slog.New(slog.DiscardHandler)
	s, err := store.Open(t.Context(), store.Options{URL: url, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	through := &between{Store: s, then: func() {
		a.stores(first, objects[0], "first")
		a.stores(a.number(), objects[0], "second")
	}}
	e := delivery.New(delivery.Options{Store: through, Log: log, Restore: func(*core.Event) error { return nil }})
	e.Subscribe([]delivery.Subscription{noting(h)})
	s.Attach(e)
	run(t, s, e)
	h.await(t, objects[0], "[first second]")
}

// run runs the store and the engine until the test ends.
func run(t *testing.T, s *store.Store, e *delivery.Engine) {
	t.Helper()
	var g core.Group
	g.Add("store", s)
	g.Add("delivery", e)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx, time.Minute) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// tardy tells the engine of new shards only after something else has happened.
type tardy struct {
	*delivery.Engine
	before func()
}

func (d *tardy) Look(again bool) {
	if again {
		d.before()
	}
	d.Engine.Look(again)
}

func TestAShardThatComesToAProcessIsReadFromItsBeginning(t *testing.T) {
	url := testdb.Postgres(t)
	a, h := newAnother(t, url), newHistory()
	a.exec("INSERT INTO replicas (id, name, lease_until, incarnation) VALUES (43, 'a third', pipehook_now() + 3600000000, 0)")
	a.exec("UPDATE shards SET holder = 42 WHERE shard >= 20")
	mine, theirs := objectIn(0, 20), objectIn(20, 32)
	a.stores(a.number(), theirs, "first")
	log := slog.New(slog.DiscardHandler)
	s, err := store.Open(t.Context(), store.Options{URL: url, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{store: s, Engine: delivery.New(delivery.Options{Store: s, Log: log, Restore: func(*core.Event) error { return nil }})}
	r.Subscribe([]delivery.Subscription{noting(h)})
	came, told := make(chan bool), make(chan bool)
	var once sync.Once
	s.Attach(&tardy{r.Engine, func() {
		if s.Epoch(20) != 0 {
			once.Do(func() { came <- true; <-told })
		}
	}})
	run(t, s, r.Engine)
	r.acceptOne(t, mine, "0")
	h.await(t, mine, "[0]")
	a.exec("UPDATE replicas SET lease_until = 0 WHERE id = 42")
	<-came
	r.acceptOne(t, theirs, "second")
	h.await(t, theirs, "[first second]")
	close(told)
}
