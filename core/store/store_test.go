package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
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

	mu       sync.Mutex
	reserved int
	released int
	woken    int
	taken    []core.Delivery
}

func (i *intake) Reserve(string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.full {
		i.reserved++
	}
	return !i.full
}

func (i *intake) Release(string) { i.mu.Lock(); defer i.mu.Unlock(); i.released++ }
func (i *intake) Due(string, time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.woken++
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
	c := newClock()
	s, err := store.Open(t.Context(), store.Options{URL: url, Log: slog.New(slog.DiscardHandler), Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	s.Attach(in)
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
		if len(f.intake.taken) != 1 || f.intake.taken[0].Seq != got.Seq || f.intake.taken[0].Attempt != 1 {
			t.Errorf("taken %+v", f.intake.taken)
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
				if got := len(f.intake.taken); got != test.deliveries {
					t.Errorf("%d deliveries, want %d", got, test.deliveries)
				}
				if f.intake.reserved != len(f.intake.taken)+f.intake.released {
					t.Errorf("reserved %d, taken %d, released %d", f.intake.reserved, len(f.intake.taken), f.intake.released)
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
		if got := len(f.intake.taken); got != keys {
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

func finish(d core.Delivery, state core.State, c *clock, err string) core.Attempt {
	return core.Attempt{
		DeliveryKey: core.DeliveryKey{Seq: d.Seq, Listener: d.Listener}, Number: d.Attempt, State: state,
		Next: c.now().Add(time.Minute), Started: c.now(), Took: time.Millisecond, Err: err, Code: "abc",
	}
}

func TestADeliveryThatFailedIsClaimedAgainAtItsTime(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		ev := f.event("k", "audit", "mirror")
		f.commit(t, ev)
		if f.intake.woken != 2 {
			t.Errorf("woken %d times, want 2", f.intake.woken)
		}
		claim := func(want int) []core.Delivery {
			t.Helper()
			got, err := f.Claim(t.Context(), "audit", 10)
			if err != nil || len(got) != want {
				t.Fatalf("claimed %d, want %d (%v)", len(got), want, err)
			}
			return got
		}
		d := claim(1)[0]
		if d.Attempt != 1 || string(d.Event.Body) != string(ev.Body) || d.Event.ID != ev.ID || !d.Event.ReceivedAt.Equal(ev.ReceivedAt) {
			t.Errorf("claimed %+v", d)
		}
		claim(0) // held
		f.Finish(finish(d, core.Pending, f.clock, "listener said no"))
		waitFor(t, f, ev.ID, func(d *store.Delivery) bool { return d.Listener == "audit" && d.Attempts == 1 })
		claim(0)
		if at, ok, err := f.NextDue(t.Context(), "audit"); err != nil || !ok || !at.Equal(f.clock.now().Add(time.Minute)) {
			t.Errorf("next due %v %v %v", at, ok, err)
		}
		f.clock.advance(time.Minute)
		d = claim(1)[0]
		if d.Attempt != 2 {
			t.Errorf("attempt %d, want 2", d.Attempt)
		}
		f.Finish(finish(d, core.Done, f.clock, ""))
		waitFor(t, f, ev.ID, func(d *store.Delivery) bool { return d.Listener == "audit" && d.State == core.Done })
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

func TestAnotherOwnersResultDoesNotCount(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		ev := f.event("k", "audit")
		f.commit(t, ev)
		late, err := f.Claim(t.Context(), "audit", 1)
		if err != nil {
			t.Fatal(err)
		}
		f.Finish(finish(late[0], core.Dead, f.clock, "given up"))
		waitFor(t, f, ev.ID, func(d *store.Delivery) bool { return d.State == core.Dead })
		f.Finish(finish(late[0], core.Done, f.clock, ""))
		f.commit(t, f.event("other", "audit"))
		got, attempts, err := f.Reader().Event(t.Context(), ev.ID)
		if err != nil || got.Deliveries[0].State != core.Dead || len(attempts) != 1 {
			t.Errorf("state %v, %d attempts (%v)", got.Deliveries[0].State, len(attempts), err)
		}
	})
}

func TestWhatADeadProcessHeldIsAdopted(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		f.commit(t, f.event("k", "audit")) // taken by memory, never finished
		if n, err := f.Adopt(t.Context(), "audit"); n != 0 || err != nil {
			t.Fatalf("adopted %d of our own (%v)", n, err)
		}
		f.stop()
		f = open(t, url, &intake{full: true})
		if n, err := f.Adopt(t.Context(), "audit"); n != 1 || err != nil {
			t.Fatalf("adopted %d, want 1 (%v)", n, err)
		}
		if got, err := f.Claim(t.Context(), "audit", 10); len(got) != 1 || err != nil {
			t.Fatalf("claimed %d, want 1 (%v)", len(got), err)
		}
	})
}

func TestAHeldDeliveryIsFreeAfterItsLeaseUnlessRenewed(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		f.commit(t, f.event("k", "audit"))
		got, err := f.Claim(t.Context(), "audit", 1)
		if err != nil {
			t.Fatal(err)
		}
		f.clock.advance(store.Lease - time.Second)
		if err := f.Renew(t.Context(), []core.DeliveryKey{{Seq: got[0].Seq, Listener: "audit"}}); err != nil {
			t.Fatal(err)
		}
		f.clock.advance(2 * time.Second)
		if again, _ := f.Claim(t.Context(), "audit", 1); len(again) != 0 {
			t.Error("a renewed delivery was claimed")
		}
		f.clock.advance(store.Lease)
		if again, _ := f.Claim(t.Context(), "audit", 1); len(again) != 1 {
			t.Error("an abandoned delivery was not claimed")
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
