package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is an engine over a real store.
type rig struct {
	*delivery.Engine
	store    *store.Store
	attempts chan core.Attempt
	stop     func()
}

func start(t *testing.T, url string, subs ...delivery.Subscription) *rig {
	t.Helper()
	return startOn(t, url, func(s *store.Store) delivery.Store { return s }, subs...)
}

// startOn lets the engine see the store through something else.
func startOn(t *testing.T, url string, through func(*store.Store) delivery.Store, subs ...delivery.Subscription) *rig {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := store.Open(t.Context(), store.Options{URL: url, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{store: s, attempts: make(chan core.Attempt, 100_000)}
	r.Engine = delivery.New(delivery.Options{
		Store: through(s), Log: log,
		Restore: func(*core.Event) error { return nil },
		Observe: func(_ *core.Event, a core.Attempt) { r.attempts <- a },
	})
	r.Subscribe(subs)
	s.Attach(r.Engine)
	var g core.Group
	g.Add("store", s)
	g.Add("delivery", r.Engine)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx, time.Minute) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func listener(name string, f core.ListenerFunc) delivery.Subscription {
	p, err := core.ParsePattern("*.deal")
	if err != nil {
		panic(err)
	}
	return delivery.Subscription{
		Name: name, Match: []core.Pattern{p}, Listener: f, Timeout: 10 * time.Second, Concurrency: 4,
		Retry: delivery.Retry{Attempts: 3, First: time.Millisecond, Max: 4 * time.Millisecond},
	}
}

func deal() *core.Event {
	return &core.Event{
		ID: uuid.Must(uuid.NewV7()).String(), Pipeline: "crm", Source: "test", ReceivedAt: time.Now(),
		Action: core.Updated, Object: "deal", Body: []byte(`{}`), Plan: core.Plan{Store: true},
	}
}

func (r *rig) accept(t *testing.T, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			ev := deal()
			ev.Plan.Listeners, _ = r.Route(ev)
			if _, err := r.store.Commit(t.Context(), ev); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func (r *rig) next(t *testing.T) core.Attempt {
	t.Helper()
	select {
	case a := <-r.attempts:
		return a
	case <-t.Context().Done():
		t.Fatal("no attempt was made")
		panic("unreachable")
	}
}

func TestEveryListenerGetsEveryEventOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		var a, b atomic.Int64
		r := start(t, url,
			listener("a", func(context.Context, core.Event) error { a.Add(1); return nil }),
			listener("b", func(context.Context, core.Event) error { b.Add(1); return nil }))
		r.accept(t, 200)
		for range 400 {
			if got := r.next(t); got.State != core.Done || got.Number != 1 {
				t.Fatalf("attempt %+v", got)
			}
		}
		if a.Load() != 200 || b.Load() != 200 {
			t.Errorf("a %d, b %d, want 200 each", a.Load(), b.Load())
		}
	})
}

func TestAnAttemptThatFailsIsRepeatedAndThenGivenUp(t *testing.T) {
	tests := []struct {
		name string
		err  error
		fail int // attempts that fail
		want []core.State
	}{
		{name: "success at the second attempt", fail: 1, err: errors.New("no"), want: []core.State{core.Waiting, core.Done}},
		{name: "dead after the last attempt", fail: 9, err: errors.New("no"), want: []core.State{core.Waiting, core.Waiting, core.Dead}},
		{name: "a permanent failure is not repeated", fail: 9, err: &core.Error{Kind: core.Permanent, Msg: "never"}, want: []core.State{core.Dead}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, url string) {
				var calls atomic.Int64
				r := start(t, url, listener("a", func(context.Context, core.Event) error {
					if calls.Add(1) <= int64(test.fail) {
						return test.err
					}
					return nil
				}))
				r.accept(t, 1)
				for i, want := range test.want {
					if got := r.next(t); got.State != want || got.Number != i+1 {
						t.Errorf("attempt %d: %+v, want state %v", i+1, got, want)
					}
				}
			})
		})
	}
}

func TestAPanicIsAFailedAttempt(t *testing.T) {
	r := start(t, testdb.SQLite(t), listener("a", func(context.Context, core.Event) error { panic("boom") }))
	r.accept(t, 1)
	if got := r.next(t); got.State != core.Waiting || got.Err == "" {
		t.Errorf("attempt %+v", got)
	}
}

func TestAListenerHasADeadline(t *testing.T) {
	sub := listener("a", func(ctx context.Context, _ core.Event) error { <-ctx.Done(); return ctx.Err() })
	sub.Timeout = time.Millisecond
	r := start(t, testdb.SQLite(t), sub)
	r.accept(t, 1)
	if got := r.next(t); got.State != core.Waiting {
		t.Errorf("attempt %+v", got)
	}
}

func TestABacklogWaitsOnDiskAndIsWorkedOff(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		open := make(chan struct{})
		var running, most atomic.Int64
		r := start(t, url, listener("slow", func(context.Context, core.Event) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			<-open
			return nil
		}), listener("quick", func(context.Context, core.Event) error { return nil }))
		const events = 1500 // three times what a lane keeps in memory
		r.accept(t, events)
		for range events { // the slow one does not hold up the quick one
			if got := r.next(t); got.Listener != "quick" {
				t.Fatalf("attempt %+v", got)
			}
		}
		close(open)
		seen := map[int64]bool{}
		for range events {
			a := r.next(t)
			if a.Listener != "slow" || seen[a.Seq] {
				t.Fatalf("attempt %+v, seen %v", a, seen[a.Seq])
			}
			seen[a.Seq] = true
		}
		if most.Load() > 4 {
			t.Errorf("%d attempts at a time, want at most 4", most.Load())
		}
	})
}

func TestWhatWasNotFinishedIsDoneByTheNextProcess(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		block := make(chan struct{})
		first := start(t, url, listener("a", func(ctx context.Context, _ core.Event) error { <-block; return errors.New("stopped") }))
		first.accept(t, 50)
		close(block)
		first.stop()
		var mu sync.Mutex
		done := map[string]int{}
		second := start(t, url, listener("a", func(_ context.Context, ev core.Event) error {
			mu.Lock()
			defer mu.Unlock()
			done[ev.ID]++
			return nil
		}))
		for range 50 {
			if got := second.next(t); got.State != core.Done {
				t.Fatalf("attempt %+v", got)
			}
		}
		if len(done) != 50 {
			t.Errorf("%d events were handled, want 50", len(done))
		}
	})
}

func TestSubscriptionsCanChangeWhileEventsArrive(t *testing.T) {
	var v1, v2 atomic.Int64
	r := start(t, testdb.SQLite(t), listener("a", func(context.Context, core.Event) error { v1.Add(1); return nil }))
	r.accept(t, 10)
	for range 10 {
		r.next(t)
	}
	sub := listener("a", func(context.Context, core.Event) error { v2.Add(1); return nil })
	sub.Concurrency = 8
	r.Subscribe([]delivery.Subscription{sub})
	r.accept(t, 10)
	for range 10 {
		r.next(t)
	}
	if v1.Load() != 10 || v2.Load() != 10 {
		t.Errorf("v1 %d, v2 %d, want 10 each", v1.Load(), v2.Load())
	}
	r.Subscribe(nil)
	if got, _ := r.Route(deal()); got != nil {
		t.Errorf("routed to %v", got)
	}
}

func TestAnEventThatIsNotStoredIsRetriedInMemory(t *testing.T) {
	var calls atomic.Int64
	r := start(t, testdb.SQLite(t), listener("a", func(context.Context, core.Event) error {
		if calls.Add(1) == 1 {
			return errors.New("no")
		}
		return nil
	}))
	if err := r.Offer(*deal(), []string{"a"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []core.State{core.Waiting, core.Done} {
		if got := r.next(t); got.State != want || got.Seq != 0 {
			t.Errorf("attempt %+v, want %v", got, want)
		}
	}
}

func TestAWatchSeesTheFirstAttempts(t *testing.T) {
	r := start(t, testdb.SQLite(t),
		listener("good", func(context.Context, core.Event) error { return nil }),
		listener("bad", func(context.Context, core.Event) error { return errors.New("no") }))
	for _, test := range []struct {
		listeners []string
		kind      core.Kind
	}{{[]string{"good"}, core.Internal}, {[]string{"good", "bad"}, core.Failed}} {
		t.Run(fmt.Sprint(test.listeners), func(t *testing.T) {
			ev := deal()
			ev.Plan.Listeners = test.listeners
			wait, forget := r.Watch(ev.ID, test.listeners)
			defer forget()
			if _, err := r.store.Commit(t.Context(), ev); err != nil {
				t.Fatal(err)
			}
			err := wait(t.Context())
			if core.KindOf(err) != test.kind || (err == nil) != (test.kind == core.Internal) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestRetryWaitsGrowAndStayBelowTheMaximum(t *testing.T) {
	r := delivery.Retry{First: 2 * time.Second, Max: time.Minute}
	for number, ceiling := range []time.Duration{1: 2 * time.Second, 2: 4 * time.Second, 3: 8 * time.Second, 6: time.Minute, 60: time.Minute} {
		if ceiling == 0 {
			continue
		}
		for range 100 {
			if got := r.Wait(number); got < ceiling/2 || got > ceiling {
				t.Fatalf("after attempt %d: %s, want %s to %s", number, got, ceiling/2, ceiling)
			}
		}
	}
}

// slowReader is a store whose next read of what is pending can be held up between the database and
// the engine.
type slowReader struct {
	*store.Store
	hold chan chan struct{} // a channel from here holds the next read until it is closed
	held chan struct{}
}

func (s *slowReader) Scan(ctx context.Context, listener string, after, record int64, limit int) ([]core.Pending, error) {
	found, err := s.Store.Scan(ctx, listener, after, record, limit)
	select {
	case release := <-s.hold:
		s.held <- struct{}{}
		<-release
	default:
	}
	return found, err
}

// What was read before a failed attempt was saved still says that the delivery is due.
func TestAnOldReadDoesNotShortenTheWaitOfAFailedAttempt(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		reader := &slowReader{hold: make(chan chan struct{}, 1), held: make(chan struct{})}
		running, proceed := make(chan string, 10), make(chan struct{})
		sub := listener("a", func(ctx context.Context, ev core.Event) error {
			running <- ev.ObjectID
			select {
			case <-proceed:
			case <-ctx.Done():
			}
			return errors.New("no")
		})
		sub.Retry = delivery.Retry{Attempts: 10, First: time.Hour, Max: time.Hour}
		r := startOn(t, url, func(s *store.Store) delivery.Store { reader.Store = s; return reader }, sub)
		m, err := store.OpenManager(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.Close() }()
		fails := func(id string, attempts int) {
			t.Helper()
			proceed <- struct{}{}
			r.next(t)
			awaitAttempts(t, m, id, attempts)
		}
		runs := func(object string) {
			t.Helper()
			if got := <-running; got != object {
				t.Fatalf("the attempt is of %s, want %s", got, object)
			}
		}
		retry := func(id string) {
			t.Helper()
			if n, err := m.Retry(t.Context(), store.Choice{Events: []string{id}}, nil); n != 1 || err != nil {
				t.Fatalf("retried %d: %v", n, err)
			}
			r.Look(false)
		}
		first := r.acceptOne(t, "first", "{}").ID
		runs("first")
		fails(first, 1)
		second := r.acceptOne(t, "second", "{}").ID
		runs("second")
		fails(second, 1)
		retry(first)
		runs("first")
		release := make(chan struct{})
		reader.hold <- release
		r.Look(false)
		<-reader.held // it is read as it was before the second attempt
		fails(first, 2)
		close(release)
		retry(second) // by then what was read has been dealt with
		runs("second")
		fails(second, 2)
	})
}

// awaitAttempts waits until the event's one delivery has so many attempts on disk.
func awaitAttempts(t *testing.T, m *store.Manager, id string, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		found, err := m.Deliveries(t.Context(), store.Choice{Events: []string{id}}, 2)
		if err != nil || len(found) != 1 || found[0].Attempts > n {
			t.Fatalf("deliveries %+v, %v, want one with %d attempts", found, err, n)
		}
		if found[0].Attempts == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %d attempts, want %d", found[0].Attempts, n)
		}
	}
}
