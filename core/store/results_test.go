package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/store"
)

// await waits until ok.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// told is how many results the intake was told of.
func (i *intake) told() (saved, lost int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.saved), len(i.lost)
}

// hands opens the database of f to change it by hand.
func hands(t *testing.T, f *fixture) *store.Manager {
	t.Helper()
	m, err := store.OpenManager(t.Context(), f.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// delivered is the event's only delivery as it is stored.
func (f *fixture) delivered(t *testing.T, id string) store.Delivery {
	t.Helper()
	ev, _, err := f.Reader().Event(t.Context(), id)
	if err != nil || len(ev.Deliveries) != 1 {
		t.Fatalf("%d deliveries (%v)", len(ev.Deliveries), err)
	}
	return *ev.Deliveries[0]
}

func TestAReplayIsNotEndedByTheAttemptThatRanBefore(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		m := hands(t, f)
		ev := f.event("", "audit")
		f.commit(t, ev)
		old, epoch := f.begin(t, "audit")
		choice := store.Choice{Events: []string{ev.ID}}
		if n, err := m.Cancel(t.Context(), choice, nil); n != 1 || err != nil {
			t.Fatalf("%d cancelled (%v)", n, err)
		}
		if n, err := m.Replay(t.Context(), choice, nil); n != 1 || err != nil {
			t.Fatalf("%d replayed (%v)", n, err)
		}
		f.Finish(finish(old, epoch, core.Done, f.clock, ""))
		f.commit(t, f.event("")) // with it or behind it
		if d := f.delivered(t, ev.ID); d.State != core.Waiting || d.Attempts != 0 {
			t.Errorf("the replayed delivery is %+v", d)
		}
		await(t, "the result is told of as one that found nothing pending", func() bool {
			saved, lost := f.intake.told()
			return saved == 1 && lost == 0
		})
		again, epoch := f.begin(t, "audit")
		f.Finish(finish(again, epoch, core.Done, f.clock, ""))
		f.commit(t, f.event(""))
		if d := f.delivered(t, ev.ID); d.State != core.Done || d.Attempts != 1 {
			t.Errorf("the replayed delivery ended as %+v", d)
		}
	})
}

func TestAResultThatIsWrittenTwiceCountsOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		ev := f.event("", "audit")
		f.commit(t, ev)
		d, epoch := f.begin(t, "audit")
		a := finish(d, epoch, core.Waiting, f.clock, "its runner ended")
		a.Crashed = true
		for range 2 {
			f.Begin(d.Shard(), epoch)
			f.Finish(a)
			f.commit(t, f.event(""))
		}
		if d := f.delivered(t, ev.ID); d.Attempts != 1 || d.Crashes != 1 {
			t.Errorf("%d attempts and %d crashes, want one of each", d.Attempts, d.Crashes)
		}
		a.Number, a.State, a.Crashed = 0, core.Quarantined, false
		f.Begin(d.Shard(), epoch)
		f.Finish(a) // the listener was not called
		f.commit(t, f.event(""))
		if d := f.delivered(t, ev.ID); d.Attempts != 1 || d.State != core.Quarantined {
			t.Errorf("the delivery ended as %+v", d)
		}
	})
}

// The process that was killed in the middle of it counts its attempt when it comes back, while
// another has long made that attempt again.
func TestASuccessCountsAlthoughItsAttemptWasCountedAsACrash(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		ev := f.event("", "audit")
		f.commit(t, ev)
		d, epoch := f.begin(t, "audit")
		if err := f.Crashed(t.Context(), []store.Crash{{DeliveryKey: core.DeliveryKey{Seq: d.Seq, Listener: "audit"}, Number: 1}}); err != nil {
			t.Fatal(err)
		}
		f.Finish(core.Attempt{
			DeliveryKey: core.DeliveryKey{Seq: d.Seq, Listener: "audit"}, Shard: d.Shard(), Epoch: epoch, Turn: d.Turn, Number: 1, State: core.Done, Started: time.Now(),
		})
		await(t, "the result is saved", func() bool { return f.delivered(t, ev.ID).State != core.Waiting })
		if got := f.delivered(t, ev.ID); got.State != core.Done || got.Crashes != 1 {
			t.Errorf("delivery %+v", got)
		}
	})
}

func TestAResultUnderAnotherTokenIsToldOfAsLost(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		f.commit(t, f.event("", "audit"))
		d, epoch := f.begin(t, "audit")
		f.Finish(finish(d, epoch+1, core.Done, f.clock, ""))
		f.commit(t, f.event(""))
		want := 0
		if strings.HasPrefix(url, "postgres") {
			want = 1 // on SQLite there is nobody to lose it to
		}
		await(t, "the result is told of", func() bool {
			saved, lost := f.intake.told()
			return saved == 1-want && lost == want
		})
	})
}

// Of what is about no record nothing is newest.
func TestNothingIsRememberedOfWhatIsAboutNoRecord(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		for range 2 {
			ev := f.event("", "audit")
			ev.ObjectID = ""
			f.commit(t, ev)
			d, epoch := f.begin(t, "audit")
			loaded, err := f.Load(t.Context(), "audit", []int64{d.Seq}, true)
			if err != nil || len(loaded) != 1 || !loaded[0].Newest.IsZero() {
				t.Fatalf("loaded %+v (%v)", loaded, err)
			}
			a := finish(d, epoch, core.Done, f.clock, "")
			a.Occurred = ev.OccurredAt
			f.Finish(a)
			f.commit(t, f.event(""))
		}
	})
}

func TestAnEventWhoseKeyIsFreeAgainKeepsItsPlaceInASequence(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		f.commit(t, f.event("k", "audit"))
		f.clock.advance(2 * time.Hour)
		testdb.SetClock(t, url, f.clock.now())
		again, next := f.event("k", "audit"), f.event("", "audit")
		if settled, err := f.CommitAll(t.Context(), []*core.Event{again, next}); err != nil || settled[0].Duplicate {
			t.Fatalf("%+v, %v", settled, err)
		}
		if first, second := f.delivered(t, again.ID).Turn, f.delivered(t, next.ID).Turn; first >= second {
			t.Errorf("the first has turn %d, the second %d", first, second)
		}
	})
}

func TestWhatAListenerSaidIsKeptWithEveryAttempt(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		m := hands(t, f)
		ev := f.event("", "audit")
		f.commit(t, ev)
		say := func(state core.State, said string) {
			d, epoch := f.begin(t, "audit")
			a := finish(d, epoch, state, f.clock, "")
			a.Output = said
			f.Finish(a)
			f.commit(t, f.event(""))
		}
		say(core.Waiting, "trying\n")
		say(core.Done, "info \"quoted\", {braced}\nwarn done\n")
		if n, err := m.Replay(t.Context(), store.Choice{Events: []string{ev.ID}}, nil); n != 1 || err != nil {
			t.Fatalf("%d replayed (%v)", n, err)
		}
		say(core.Done, "")
		_, attempts, err := f.Reader().Event(t.Context(), ev.ID)
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, a := range attempts {
			said = append(said, a.Output)
		}
		slices.Sort(said)
		if want := []string{"", "info \"quoted\", {braced}\nwarn done\n", "trying\n"}; !slices.Equal(said, want) {
			t.Errorf("said %q, want %q", said, want)
		}
	})
}
