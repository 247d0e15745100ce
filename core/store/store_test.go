package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// intake takes every delivery, or none.
type intake struct {
	full bool

	mu                 sync.Mutex
	reserved, returned int
	kept               int // stored, to be read back
	looked             bool
	taken              []core.Delivery
	saved, lost        []core.Attempt
}

func (i *intake) Reserve(string, int) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.reserved++
	return !i.full
}

func (i *intake) Return(_ string, _, stored bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.returned++
	if stored {
		i.kept++
	}
}

func (i *intake) Look(again bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.looked = i.looked || again
}

func (i *intake) Saved(attempts []core.Attempt) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.saved = append(i.saved, attempts...)
}

func (i *intake) Lost(attempts []core.Attempt) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lost = append(i.lost, attempts...)
}

func (i *intake) Take(d core.Delivery) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.taken = append(i.taken, d)
}

type fixture struct {
	*store.Store
	url    string
	clock  *clock
	intake *intake
	stop   func()
}

func open(t *testing.T, url string, in *intake) *fixture {
	t.Helper()
	return openAs(t, url, in, 0)
}

func openAs(t *testing.T, url string, in *intake, replica int64) *fixture {
	t.Helper()
	c := newClock()
	s, err := store.Open(t.Context(), store.Options{URL: url, Log: slog.New(slog.DiscardHandler), Now: c.now, Replica: replica})
	if err != nil {
		t.Fatal(err)
	}
	s.Attach(in)
	testdb.SetClock(t, url, c.now())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	f := &fixture{Store: s, url: url, clock: c, intake: in}
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(f.stop)
	return f
}

func (f *fixture) event(key string, listeners ...string) *core.Event {
	id := uuid.Must(uuid.NewV7()).String()
	ev := &core.Event{
		ID: id, Pipeline: "crm", Source: "pipedrive", ReceivedAt: f.clock.now(), Remote: netip.MustParseAddr("203.0.113.9"),
		Header: http.Header{"User-Agent": {"Pipedrive Webhooks"}, "Authorization": {"Basic Y2FuYXJ5"}},
		Body:   []byte("{\"a\":\"\\u0000 'q' \\\\ \xff\x00\"}"), Action: core.Updated, Object: "deal", ObjectID: "7",
		OccurredAt: f.clock.now().Add(-time.Second),
		Plan:       core.Plan{Store: true, Listeners: listeners},
	}
	if key != "" {
		ev.Plan.Key, ev.Plan.Window = []byte(key), time.Hour
	}
	return ev
}

func (f *fixture) commit(t *testing.T, ev *core.Event) core.Receipt {
	t.Helper()
	r, err := f.Commit(t.Context(), ev)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (f *fixture) stored(t *testing.T) []store.Event {
	t.Helper()
	events, err := f.Reader().Events(t.Context(), store.Filter{Limit: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func TestAnEventIsReadBackByteForByteWithoutCredentials(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		ev := f.event("k", "audit")
		if got := f.commit(t, ev); got != (core.Receipt{ID: ev.ID}) {
			t.Fatalf("receipt %+v", got)
		}
		got, _, err := f.Reader().Event(t.Context(), ev.ID)
		if err != nil {
			t.Fatal(err)
		}
		if string(got.Body) != string(ev.Body) {
			t.Errorf("body %q, want %q", got.Body, ev.Body)
		}
		if want := `{"User-Agent":["Pipedrive Webhooks"]}`; got.Header != want {
			t.Errorf("header %s, want %s", got.Header, want)
		}
		if got.ObjectID != "7" || got.OccurredAt != ev.OccurredAt.UnixMicro() || got.Remote != "203.0.113.9" {
			t.Errorf("event %+v", got)
		}
		f.commit(t, f.event("", "audit")) // the first one of a process on PostgreSQL is read back
		if n := len(f.intake.taken); n == 0 || n+f.intake.kept != 2 {
			t.Fatalf("%d taken, %d kept", n, f.intake.kept)
		}
		if strings.HasPrefix(url, "sqlite") && (f.intake.taken[0].Seq != got.Seq || f.intake.taken[0].Attempt() != 1) {
			t.Errorf("taken %+v", f.intake.taken)
		}
	})
}

func TestAnEventThatIsCommittedAgainIsStoredAndHandedOverOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		for _, key := range []string{"k", ""} {
			f := open(t, url, &intake{})
			f.commit(t, f.event("", "audit")) // the first one of a process on PostgreSQL is read back
			ev := f.event(key, "audit")
			f.commit(t, ev)
			before := len(f.intake.taken) + f.intake.kept
			again := *ev
			if settled, err := f.CommitAll(t.Context(), []*core.Event{&again, f.event("", "audit")}); len(settled) != 2 || err != nil {
				t.Fatalf("%d settled: %v", len(settled), err)
			}
			if got := f.commit(t, ev); got != (core.Receipt{ID: ev.ID}) {
				t.Errorf("receipt %+v", got)
			}
			if n := len(f.intake.taken) + f.intake.kept - before; n != 1 {
				t.Errorf("%d deliveries were handed over, want the other event's alone", n)
			}
			if f.intake.reserved != len(f.intake.taken)+f.intake.returned {
				t.Errorf("%d slots were reserved, %d used and %d given back", f.intake.reserved, len(f.intake.taken), f.intake.returned)
			}
			if !f.intake.looked {
				t.Error("nobody was told to look for what the earlier transaction left")
			}
			f.stop()
		}
	})
}

func TestADuplicateIsTheFirstOnesReceipt(t *testing.T) {
	tests := []struct {
		name               string
		after              time.Duration
		change             func(*core.Event)
		duplicate          bool
		events, deliveries int
	}{
		{name: "the same key again", duplicate: true, events: 1, deliveries: 1},
		{name: "another pipeline's key is another key", change: func(ev *core.Event) { ev.Pipeline = "other" }, events: 2, deliveries: 2},
		{name: "just inside the window", after: time.Hour, duplicate: true, events: 1, deliveries: 1},
		{name: "after the window it is new", after: time.Hour + time.Millisecond, events: 2, deliveries: 2},
		{name: "no window lasts for ever", after: 1000 * time.Hour, change: func(ev *core.Event) { ev.Plan.Window = 0 }, duplicate: true, events: 1, deliveries: 1},
		{name: "persist before dedupe keeps the duplicate", change: func(ev *core.Event) { ev.Plan.StoreDuplicate = true }, duplicate: true, events: 2, deliveries: 1},
		{name: "dispatch before dedupe delivers the duplicate", change: func(ev *core.Event) {
			ev.Plan.StoreDuplicate, ev.Plan.DeliverDuplicate = true, true
		}, duplicate: true, events: 2, deliveries: 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, url string) {
				f := open(t, url, &intake{})
				first := f.event("k", "audit")
				f.commit(t, first)
				f.clock.advance(test.after)
				testdb.SetClock(t, url, f.clock.now())
				second := f.event("k", "audit")
				if test.change != nil {
					test.change(second)
				}
				want := core.Receipt{ID: second.ID}
				if test.duplicate {
					want = core.Receipt{ID: first.ID, Duplicate: true}
				}
				if got := f.commit(t, second); got != want {
					t.Errorf("receipt %+v, want %+v", got, want)
				}
				if got := len(f.stored(t)); got != test.events {
					t.Errorf("%d events, want %d", got, test.events)
				}
				if got := len(f.intake.taken) + f.intake.kept; got != test.deliveries {
					t.Errorf("%d deliveries, want %d", got, test.deliveries)
				}
				if f.intake.reserved != len(f.intake.taken)+f.intake.returned {
					t.Errorf("reserved %d, taken %d, returned %d", f.intake.reserved, len(f.intake.taken), f.intake.returned)
				}
			})
		})
	}
}

func TestConcurrentCopiesMakeOneEvent(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		const copies, keys = 40, 10
		ids := make([][]string, keys)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range copies * keys {
			wg.Go(func() {
				r, err := f.Commit(t.Context(), f.event(fmt.Sprint("key", i%keys), "audit"))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				ids[i%keys] = append(ids[i%keys], r.ID)
			})
		}
		wg.Wait()
		for k, got := range ids {
			for _, id := range got {
				if id != got[0] {
					t.Fatalf("key %d was answered with two ids", k)
				}
			}
		}
		if got := len(f.stored(t)); got != keys {
			t.Errorf("%d events, want %d", got, keys)
		}
		if got := len(f.intake.taken) + f.intake.kept; got != keys {
			t.Errorf("%d deliveries, want %d", got, keys)
		}
	})
}

func TestAKeyWithoutPersistIsRememberedWithoutTheBody(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		first, second := f.event("k"), f.event("k")
		first.Plan.Store, second.Plan.Store = false, false
		f.commit(t, first)
		if got := f.commit(t, second); got.ID != first.ID || !got.Duplicate {
			t.Errorf("receipt %+v", got)
		}
		ev, _, err := f.Reader().Event(t.Context(), first.ID)
		if err != nil || ev.Body != nil {
			t.Errorf("body %q, error %v", ev.Body, err)
		}
	})
}

func TestOldEventsAreDeletedUnlessSomethingOfThemIsPending(t *testing.T) {
	for _, test := range []struct {
		name string
		keep store.Keep
		left int
	}{
		{name: "by age", keep: store.Keep{Age: time.Hour}, left: 1 + 2},
		{name: "by age, none is old", keep: store.Keep{Age: 48 * time.Hour}, left: 41 + 2},
		{name: "by size", keep: store.Keep{Size: 1}, left: 1},
		{name: "by size, there is room", keep: store.Keep{Size: 1 << 30}, left: 41 + 2},
		{name: "everything is kept", left: 41 + 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, url string) {
				f := open(t, url, &intake{full: true})
				f.commit(t, f.event("", "audit"))
				for range 40 {
					f.commit(t, f.event(""))
				}
				f.clock.advance(24 * time.Hour)
				for range 2 {
					f.commit(t, f.event(""))
				}
				f.clock.advance(time.Minute)
				testdb.SetClock(t, url, f.clock.now())
				f.stop()
				s, err := store.Open(t.Context(), store.Options{URL: url, Log: slog.New(slog.DiscardHandler), Now: f.clock.now, Keep: test.keep})
				if err != nil {
					t.Fatal(err)
				}
				s.Attach(&intake{full: true})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- s.Run(ctx) }() // ends with ctx
				f.Store = s
				tick := time.NewTicker(time.Millisecond)
				defer tick.Stop()
				for deadline := time.Now().Add(10 * time.Second); len(f.stored(t)) > test.left && time.Now().Before(deadline); <-tick.C {
				}
				if n := len(f.stored(t)); n != test.left {
					t.Errorf("%d events are left, want %d", n, test.left)
				}
				cancel()
				if err := errors.Join(<-done, s.Close()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestPendingDeliveriesAreCounted(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		f.commit(t, f.event("k", "audit", "mirror"))
		f.commit(t, f.event("k", "audit", "mirror")) // a duplicate
		f.counts(t, 2)
		d, epoch := f.begin(t, "audit")
		f.Finish(finish(d, epoch, core.Done, f.clock, ""))
		f.counts(t, 1)
		f.stop()
		open(t, url, &intake{full: true}).counts(t, 1)
	})
}

// counts waits until so many deliveries are said to be pending.
func (f *fixture) counts(t *testing.T, want int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(15 * time.Second); f.Pending() != want; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d are said to be pending, want %d", f.Pending(), want)
		}
	}
}

func TestSeenLooksInsideTheWindowOnly(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		ev := f.event("k")
		f.commit(t, ev)
		for _, test := range []struct {
			key   string
			since time.Time
			want  string
		}{{"k", f.clock.now(), ev.ID}, {"k", f.clock.now().Add(time.Second), ""}, {"other", time.Time{}, ""}, {"k", time.Time{}, ev.ID}} {
			id, ok, err := f.Seen(t.Context(), "crm", []byte(test.key), test.since)
			if err != nil || id != test.want || ok != (test.want != "") {
				t.Errorf("Seen(%q, %v) = %q, %v, %v", test.key, test.since, id, ok, err)
			}
		}
	})
}

// begin loads the one pending delivery of the listener and opens an attempt of it.
func (f *fixture) begin(t *testing.T, listener string) (core.Delivery, int64) {
	t.Helper()
	pending := f.pending(t, listener)
	if len(pending) != 1 {
		t.Fatalf("%d pending, want 1", len(pending))
	}
	loaded, err := f.Load(t.Context(), listener, []int64{pending[0].Seq}, false)
	if err != nil || len(loaded) != 1 {
		t.Fatalf("loaded %d (%v)", len(loaded), err)
	}
	epoch := f.Epoch(loaded[0].Shard())
	if !f.Begin(loaded[0].Shard(), epoch) {
		t.Fatalf("no attempt could begin under token %d", epoch)
	}
	return loaded[0], epoch
}

func (f *fixture) pending(t *testing.T, listener string) []core.Pending {
	t.Helper()
	found, err := f.Scan(t.Context(), listener, 0, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func finish(d core.Delivery, epoch int64, state core.State, c *clock, err string) core.Attempt {
	return core.Attempt{
		DeliveryKey: core.DeliveryKey{Seq: d.Seq, Listener: d.Listener}, Shard: d.Shard(), Epoch: epoch, Turn: d.Turn, Number: d.Attempt(), State: state,
		Wait: time.Minute, Started: c.now(), Took: time.Millisecond, Err: err, Code: "abc",
	}
}

func TestADeliveryThatFailedIsPendingUntilItsTime(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		ev := f.event("k", "audit", "mirror")
		f.commit(t, ev)
		d, epoch := f.begin(t, "audit")
		if d.Attempt() != 1 || string(d.Event.Body) != string(ev.Body) || d.Event.ID != ev.ID || !d.Event.ReceivedAt.Equal(ev.ReceivedAt) || d.Record != ev.Record() {
			t.Errorf("loaded %+v", d)
		}
		f.Finish(finish(d, epoch, core.Waiting, f.clock, "listener said no"))
		waitFor(t, f, ev.ID, func(d *store.Delivery) bool { return d.Listener == "audit" && d.Attempts == 1 })
		if got := f.pending(t, "audit")[0]; got.Due <= 50*time.Second || got.Due > time.Minute || got.Tried != 1 {
			t.Errorf("pending %+v, want it due in a minute", got)
		}
		d, epoch = f.begin(t, "audit")
		f.Finish(finish(d, epoch, core.Done, f.clock, ""))
		waitFor(t, f, ev.ID, func(d *store.Delivery) bool { return d.Listener == "audit" && d.State == core.Done })
		if got := f.pending(t, "audit"); len(got) != 0 {
			t.Errorf("still pending: %+v", got)
		}
		_, attempts, err := f.Reader().Event(t.Context(), ev.ID)
		if err != nil || len(attempts) != 2 || attempts[0].Error != "listener said no" || attempts[1].Error != "" || attempts[1].Code != "abc" {
			t.Errorf("attempts %+v (%v)", attempts, err)
		}
	})
}

// waitFor waits until a delivery of the event is as wanted: results are saved a moment later.
func waitFor(t *testing.T, f *fixture, id string, want func(*store.Delivery) bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		ev, _, err := f.Reader().Event(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ev.Deliveries {
			if want(d) {
				return
			}
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the result was not saved")
		}
	}
}

func TestAResultCountsOnceAndOnlyUnderItsToken(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		ev := f.event("k", "audit")
		f.commit(t, ev)
		d, epoch := f.begin(t, "audit")
		if strings.HasPrefix(url, "postgres") {
			f.Finish(finish(d, epoch+1, core.Done, f.clock, ""))
			f.commit(t, f.event("after it"))
			if got := f.pending(t, "audit"); len(got) != 1 {
				t.Fatal("a result under another token was saved")
			}
			d, epoch = f.begin(t, "audit")
		}
		f.Finish(finish(d, epoch, core.Dead, f.clock, "given up"))
		waitFor(t, f, ev.ID, func(d *store.Delivery) bool { return d.State == core.Dead })
		f.Begin(d.Shard(), epoch)
		f.Finish(finish(d, epoch, core.Done, f.clock, ""))
		f.commit(t, f.event("other", "mirror"))
		got, attempts, err := f.Reader().Event(t.Context(), ev.ID)
		if err != nil || got.Deliveries[0].State != core.Dead || len(attempts) != 1 {
			t.Errorf("state %v, %d attempts (%v)", got.Deliveries[0].State, len(attempts), err)
		}
	})
}

func TestASecondProcessOnOneSQLiteFileIsRefused(t *testing.T) {
	f := open(t, testdb.SQLite(t), &intake{})
	_, err := store.Open(t.Context(), store.Options{URL: f.url, Log: slog.New(slog.DiscardHandler)})
	if core.KindOf(err) != core.Invalid {
		t.Fatalf("error %v", err)
	}
	f.stop()
	open(t, f.url, &intake{})
}

func TestCommitAfterTheEndIsUnavailable(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		f.stop()
		_, err := f.Commit(t.Context(), f.event("k"))
		if e, ok := errors.AsType[*core.Error](err); !ok || e.Kind != core.Unavailable {
			t.Errorf("error %v", err)
		}
	})
}

func TestSeveralProcessesMayStartTogetherOnPostgres(t *testing.T) {
	url := testdb.Postgres(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := store.Open(t.Context(), store.Options{URL: url, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// A chain notes what its stages did also after a commit that it no longer waits for.
func TestACommitThatIsNoLongerWaitedForStoresTheEventAsItWas(t *testing.T) {
	url := testdb.SQLite(t)
	f := open(t, url, &intake{})
	f.commit(t, f.event(""))
	other, err := sql.Open("sqlite", strings.TrimPrefix(url, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	other.SetMaxOpenConns(1)
	defer func() { _ = other.Close() }()
	if _, err := other.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	ev := f.event("", "audit")
	ev.Steps = []core.StepTrace{{Stage: "persist", Verdict: "continue"}}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := f.Commit(ctx, ev); core.KindOf(err) != core.Unavailable {
		t.Fatalf("error %v", err)
	}
	ev.Steps = append(ev.Steps, core.StepTrace{Stage: "dispatch", Verdict: "refused"})
	if _, err := other.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	f.commit(t, f.event("")) // behind it
	got, _, err := f.Reader().Event(t.Context(), ev.ID)
	if err != nil || strings.Contains(got.Trace, "dispatch") || !strings.Contains(got.Trace, "persist") {
		t.Errorf("trace %s: %v", got.Trace, err)
	}
}
