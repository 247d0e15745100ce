package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/delivery"
)

// history is what a listener was given, and whether two events of a record ever ran together.
type history struct {
	mu      sync.Mutex
	seen    map[string][]string // by object id
	running map[string]bool
	overlap bool
}

func newHistory() *history { return &history{seen: map[string][]string{}, running: map[string]bool{}} }

func (h *history) enter(ev core.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.overlap = h.overlap || h.running[ev.ObjectID]
	h.running[ev.ObjectID] = true
	h.seen[ev.ObjectID] = append(h.seen[ev.ObjectID], string(ev.Body))
}

func (h *history) leave(ev core.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running[ev.ObjectID] = false
}

func (r *rig) acceptOne(t *testing.T, object, body string) *core.Event {
	t.Helper()
	ev := deal()
	ev.ObjectID, ev.Body = object, []byte(body)
	ev.Plan.Listeners, _ = r.Route(ev)
	if _, err := r.store.Commit(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	return ev
}

func TestTheEventsOfARecordRunOneAtATimeInTheOrderOfAcceptance(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		h := newHistory()
		var calls atomic.Int64
		sub := listener("a", func(_ context.Context, ev core.Event) error {
			h.enter(ev)
			defer h.leave(ev)
			if calls.Add(1)%7 == 0 {
				return errors.New("now and then")
			}
			return nil
		})
		sub.Retry.Attempts, sub.Breaker = 100, delivery.Breaker{}
		r := start(t, url, sub)
		const records, each = 20, 60 // more than a lane's queue holds
		var wg sync.WaitGroup
		for record := range records {
			wg.Go(func() {
				for n := range each {
					r.acceptOne(t, fmt.Sprint(record), fmt.Sprintf("%03d", n))
				}
			})
		}
		wg.Wait()
		for done := 0; done < records*each; {
			if r.next(t).State == core.Done {
				done++
			}
		}
		if h.overlap {
			t.Error("two events of one record ran at the same time")
		}
		for record, seen := range h.seen {
			want := 0
			for _, body := range seen {
				if body == fmt.Sprintf("%03d", want) {
					want++
				} else if body != fmt.Sprintf("%03d", want-1) { // the one before, again
					t.Fatalf("record %s: %v", record, seen)
				}
			}
			if want != each {
				t.Errorf("record %s saw %d of %d", record, want, each)
			}
		}
	})
}

func TestAFailureHoldsBackItsOwnRecordAndNoOther(t *testing.T) {
	for _, test := range []struct {
		name      string
		onFailure delivery.OnFailure
		want      string // of the record that fails
	}{
		{"block lets the record wait until it is given up", delivery.Block, "bad bad bad good"},
		{"skip lets the record go ahead", delivery.Skip, "bad good bad bad"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, url string) {
				h := newHistory()
				behind := make(chan struct{}) // closed when there is one behind it
				sub := listener("a", func(_ context.Context, ev core.Event) error {
					h.enter(ev)
					defer h.leave(ev)
					if string(ev.Body) == "bad" {
						<-behind
						return errors.New("no")
					}
					return nil
				})
				sub.OnFailure = test.onFailure
				sub.Retry = delivery.Retry{Attempts: 3, First: 100 * time.Millisecond, Max: 100 * time.Millisecond}
				r := start(t, url, sub)
				r.acceptOne(t, "1", "bad")
				r.acceptOne(t, "1", "good")
				close(behind)
				r.acceptOne(t, "2", "good")
				for ended := 0; ended < 3; {
					if a := r.next(t); a.State != core.Waiting {
						ended++
					}
				}
				if got := strings.Join(h.seen["1"], " "); got != test.want {
					t.Errorf("record 1 saw %s, want %s", got, test.want)
				}
			})
		})
	}
}

func TestAListenerSaysItselfWhenToTryAgain(t *testing.T) {
	var calls atomic.Int64
	sub := listener("a", func(context.Context, core.Event) error {
		if calls.Add(1) == 1 {
			return &core.Error{Kind: core.Unavailable, Msg: "later", RetryAfter: 40 * time.Millisecond}
		}
		return nil
	})
	sub.Retry.First, sub.Retry.Max = time.Hour, time.Hour
	r := start(t, testdb.SQLite(t), sub)
	r.acceptOne(t, "1", "x")
	if got := r.next(t); got.Wait != 40*time.Millisecond {
		t.Errorf("attempt %+v", got)
	}
	if got := r.next(t); got.State != core.Done {
		t.Errorf("attempt %+v", got)
	}
}

func TestAnEventThatCrashesItsRunnerIsQuarantined(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		sub := listener("a", func(_ context.Context, ev core.Event) error {
			if string(ev.Body) == "poison" {
				return &core.Error{Kind: core.Crashed, Msg: "the runner ended"}
			}
			return nil
		})
		sub.Retry.Attempts = 100
		r := start(t, url, sub)
		r.acceptOne(t, "1", "poison")
		r.acceptOne(t, "1", "good")
		for _, want := range []core.State{core.Waiting, core.Waiting, core.Quarantined, core.Done} {
			if got := r.next(t); got.State != want {
				t.Fatalf("attempt %+v, want %v", got, want)
			}
		}
	})
}

func TestAStaleEventIsSkippedAndSaysSo(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		sub := listener("a", func(context.Context, core.Event) error { return nil })
		sub.DropStale = true
		r := start(t, url, sub)
		now := time.Now().Truncate(time.Microsecond)
		for i, test := range []struct {
			occurred time.Time
			want     core.State
		}{{now, core.Done}, {now.Add(-time.Second), core.Skipped}, {now, core.Done}, {now.Add(time.Second), core.Done}, {time.Time{}, core.Done}} {
			ev := deal()
			ev.ObjectID, ev.OccurredAt = "1", test.occurred
			ev.Plan.Listeners, _ = r.Route(ev)
			if _, err := r.store.Commit(t.Context(), ev); err != nil {
				t.Fatal(err)
			}
			if got := r.next(t); got.State != test.want || (got.State == core.Skipped) != strings.HasPrefix(got.Err, "stale: ") {
				t.Errorf("event %d: %+v, want %v", i, got, test.want)
			}
		}
	})
}

func TestABurstIsGatheredIntoItsLastEvent(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		got := make(chan core.Event, 10)
		sub := listener("a", func(_ context.Context, ev core.Event) error { got <- ev; return nil })
		sub.Coalesce = delivery.Coalesce{Quiet: 300 * time.Millisecond, Max: time.Minute}
		r := start(t, url, sub)
		var burst []*core.Event // stored together, however slow the machine is
		var ids []string
		for n := range 5 {
			ev := deal()
			ev.ObjectID, ev.Body = "1", []byte(fmt.Sprint(n))
			ev.Plan.Listeners, _ = r.Route(ev)
			burst, ids = append(burst, ev), append(ids, ev.ID)
		}
		if _, err := r.store.CommitAll(t.Context(), burst); err != nil {
			t.Fatal(err)
		}
		r.acceptOne(t, "2", "other")
		for range 2 {
			ev := <-got
			if ev.ObjectID == "1" && (string(ev.Body) != "4" || strings.Join(ev.Gathered, " ") != strings.Join(ids, " ")) {
				t.Errorf("gathered %v into %s, want %v", ev.Gathered, ev.Body, ids)
			}
			if ev.ObjectID == "2" && string(ev.Body) != "other" {
				t.Errorf("record 2 got %s", ev.Body)
			}
		}
		if len(got) > 0 {
			t.Error("a gathered event ran on its own")
		}
	})
}

func TestABreakerOpensTriesOneAndCloses(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	sub := listener("a", func(context.Context, core.Event) error {
		if broken.Load() {
			return errors.New("down")
		}
		return nil
	})
	sub.Concurrency, sub.Retry.Attempts = 1, 100
	sub.Breaker = delivery.Breaker{Failures: 3, Pause: 50 * time.Millisecond}
	r := start(t, testdb.SQLite(t), sub)
	r.accept(t, 30)
	var last core.Attempt
	for failed := map[int64]bool{}; len(failed) < sub.Breaker.Failures; { // one of them may be tried again before another comes
		last = r.next(t)
		failed[last.Seq] = true
	}
	if probe := r.next(t); probe.State != core.Waiting || probe.Started.Sub(last.Started) < sub.Breaker.Pause {
		t.Errorf("the probe %+v began less than a pause after %+v", probe, last)
	}
	broken.Store(false)
	for done := 0; done < 30; {
		if r.next(t).State == core.Done {
			done++
		}
	}
}

// The next event of a record is judged before the result of the one ahead of it is on disk.
func TestAStaleEventIsSkippedRightBehindANewerOne(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		sub := listener("a", func(context.Context, core.Event) error { return nil })
		sub.DropStale = true
		r := start(t, url, sub)
		const pairs = 50
		now := time.Now().Truncate(time.Microsecond)
		for i := range pairs {
			var both []*core.Event
			for _, occurred := range []time.Time{now, now.Add(-time.Second)} {
				ev := deal()
				ev.ObjectID, ev.OccurredAt = fmt.Sprint(i), occurred
				ev.Plan.Listeners, _ = r.Route(ev)
				both = append(both, ev)
			}
			if _, err := r.store.CommitAll(t.Context(), both); err != nil {
				t.Fatal(err)
			}
		}
		states := map[core.State]int{}
		for range 2 * pairs {
			states[r.next(t).State]++
		}
		if states[core.Done] != pairs || states[core.Skipped] != pairs {
			t.Errorf("states %v, want %d done and as many skipped", states, pairs)
		}
	})
}
