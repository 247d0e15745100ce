package store_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/store"
)

// made is an event of the reconcile: its key is a state.
func (f *fixture) made(state string, after int64, listeners ...string) *core.Event {
	ev := f.event(state, listeners...)
	ev.Plan.After = after
	return ev
}

// heard is an event of a sender: it has a state beside its key.
func (f *fixture) heard(key, state string, listeners ...string) *core.Event {
	ev := f.event(key, listeners...)
	ev.Plan.State = []byte(state)
	return ev
}

func TestWhatForestallsAnEventMakesItADuplicate(t *testing.T) {
	tests := []struct {
		name   string
		before func(f *fixture) *core.Event
		later  func(f *fixture, last int64) *core.Event // last is from before what stands before
		wait   time.Duration
		stored bool
	}{
		{
			name:   "a state that is a key",
			before: func(f *fixture) *core.Event { return f.made("S", 0) },
			later:  func(f *fixture, _ int64) *core.Event { return f.heard("K", "S") },
		},
		{
			name:   "another state",
			before: func(f *fixture) *core.Event { return f.made("S", 0) },
			later:  func(f *fixture, _ int64) *core.Event { return f.heard("K", "S2") },
			stored: true,
		},
		{
			name:   "a state that is another's state and nobody's key",
			before: func(f *fixture) *core.Event { return f.heard("K", "S") },
			later:  func(f *fixture, _ int64) *core.Event { return f.heard("K2", "S") },
			stored: true,
		},
		{
			name:   "a state that was a key of another pipeline",
			before: func(f *fixture) *core.Event { ev := f.made("S", 0); ev.Pipeline = "other"; return ev },
			later:  func(f *fixture, _ int64) *core.Event { return f.heard("K", "S") },
			stored: true,
		},
		{
			name:   "a state whose window is over",
			before: func(f *fixture) *core.Event { return f.made("S", 0) },
			later:  func(f *fixture, _ int64) *core.Event { return f.heard("K", "S") },
			wait:   2 * time.Hour, stored: true,
		},
		{
			name:   "a state at the end of its window",
			before: func(f *fixture) *core.Event { return f.made("S", 0) },
			later:  func(f *fixture, _ int64) *core.Event { return f.heard("K", "S") },
			wait:   time.Hour,
		},
		{
			name:   "a state that is kept for ever",
			before: func(f *fixture) *core.Event { return f.made("S", 0) },
			later:  func(f *fixture, _ int64) *core.Event { ev := f.heard("K", "S"); ev.Plan.Window = 0; return ev },
			wait:   1000 * time.Hour,
		},
		{
			name:   "an event about its record that came after",
			before: func(f *fixture) *core.Event { return f.event("K") },
			later:  func(f *fixture, last int64) *core.Event { return f.made("S", last) },
		},
		{
			name:   "an event without a key that came after",
			before: func(f *fixture) *core.Event { return f.event("") },
			later:  func(f *fixture, last int64) *core.Event { ev := f.made("", last); return ev },
		},
		{
			name:   "an event about its record that was known",
			before: func(f *fixture) *core.Event { return f.event("K") },
			later:  func(f *fixture, last int64) *core.Event { return f.made("S", last+1) },
			stored: true,
		},
		{
			name:   "an event about another record",
			before: func(f *fixture) *core.Event { ev := f.event("K"); ev.ObjectID = "8"; return ev },
			later:  func(f *fixture, last int64) *core.Event { return f.made("S", last) },
			stored: true,
		},
		{
			name:   "an event about another source's record",
			before: func(f *fixture) *core.Event { ev := f.event("K"); ev.Source = "other"; return ev },
			later:  func(f *fixture, last int64) *core.Event { return f.made("S", last) },
			stored: true,
		},
		{
			name:   "an event about no record, as the other",
			before: func(f *fixture) *core.Event { ev := f.event("K"); ev.ObjectID = ""; return ev },
			later:  func(f *fixture, last int64) *core.Event { ev := f.made("S", last); ev.ObjectID = ""; return ev },
			stored: true,
		},
		{
			name:   "nothing: it does not compare",
			before: func(f *fixture) *core.Event { return f.event("K") },
			later:  func(f *fixture, _ int64) *core.Event { return f.made("S", 0) },
			stored: true,
		},
		{
			name:   "its key, which counts as ever",
			before: func(f *fixture) *core.Event { return f.made("K", 0) },
			later:  func(f *fixture, _ int64) *core.Event { return f.heard("K", "S") },
		},
	}
	testdb.Each(t, func(t *testing.T, url string) {
		for _, test := range tests {
			for _, first := range []string{"the first of all", "after others"} {
				t.Run(test.name+", "+first, func(t *testing.T) {
					url := again(t, url)
					f := open(t, url, &intake{})
					if first == "after others" {
						ev := f.event("other")
						ev.ObjectID = "6"
						f.commit(t, ev)
					}
					last, err := f.LastSeq(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if last == -1 && test.name == "an event about its record that was known" {
						last = 0
					}
					before := test.before(f)
					f.commit(t, before)
					f.clock.advance(test.wait)
					testdb.SetClock(t, url, f.clock.now())
					later := test.later(f, last)
					want := core.Receipt{ID: before.ID, Duplicate: true}
					if test.stored {
						want = core.Receipt{ID: later.ID}
					}
					n := len(f.stored(t))
					if got := f.commit(t, later); got != want {
						t.Errorf("receipt %+v, want %+v", got, want)
					}
					if test.stored {
						n++
					}
					if got := len(f.stored(t)); got != n {
						t.Errorf("%d events are stored, want %d", got, n)
					}
					// Committed again it is told the same: who did not hear the answer asks once more.
					if got := f.commit(t, later); got != want {
						t.Errorf("the second receipt is %+v, want %+v", got, want)
					}
				})
			}
		}
	})
}

// again is an empty database of the same kind.
func again(t *testing.T, url string) string {
	t.Helper()
	if len(url) > 7 && url[:7] == "sqlite:" {
		return testdb.SQLite(t)
	}
	return testdb.Postgres(t)
}

func TestADuplicateByItsStateIsKeptWhenPersistStoodBeforeDedupe(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		first := f.made("S", 0, "audit")
		f.commit(t, first)
		last, err := f.LastSeq(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f.commit(t, f.event("K", "audit"))
		for name, ev := range map[string]*core.Event{"by state": f.heard("K2", "S", "audit"), "by what came after": f.made("S2", last, "audit")} {
			ev.Plan.StoreDuplicate, ev.Plan.DeliverDuplicate = true, true
			if r := f.commit(t, ev); !r.Duplicate {
				t.Errorf("%s: receipt %+v", name, r)
			}
		}
		got := f.stored(t)
		if len(got) != 4 {
			t.Fatalf("%d events are stored", len(got))
		}
		for _, ev := range got {
			if len(ev.Deliveries) != 1 {
				t.Errorf("event %s has %d deliveries", ev.ID, len(ev.Deliveries))
			}
		}
	})
}

func TestWhatIsStoredTogetherForestallsToo(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		last, err := f.LastSeq(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		evs := []*core.Event{f.heard("K", "S"), f.made("S", last), f.heard("K2", "S3"), f.made("S3", last)}
		settled, err := f.CommitAll(t.Context(), evs)
		if err != nil || len(settled) != 4 {
			t.Fatalf("%d were settled: %v", len(settled), err)
		}
		if settled[1] != (core.Receipt{ID: evs[0].ID, Duplicate: true}) || settled[3] != (core.Receipt{ID: evs[0].ID, Duplicate: true}) {
			t.Errorf("receipts %+v", settled)
		}
		evs = []*core.Event{f.made("T", 0), f.heard("L", "T"), f.heard("L", "T")}
		settled, err = f.CommitAll(t.Context(), evs)
		if err != nil || len(settled) != 3 {
			t.Fatalf("%d were settled: %v", len(settled), err)
		}
		for i := 1; i < 3; i++ {
			if settled[i] != (core.Receipt{ID: evs[0].ID, Duplicate: true}) {
				t.Errorf("receipt %d is %+v", i, settled[i])
			}
		}
	})
}

// A webhook about a state and a reconcile's event about the same: whoever comes first, one is stored.
func TestOfAWebhookAndAReconcilesEventAboutOneStateExactlyOneIsStored(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		const records = 60
		var all sync.WaitGroup
		for n := range records {
			id := time.Duration(n + 1).String()
			last, err := f.LastSeq(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			evs := []*core.Event{f.heard("K"+id, "S"+id), f.heard("K"+id, "S"+id), f.made("S"+id, last), f.made("S"+id, last)}
			fresh := make(chan string, len(evs))
			var race sync.WaitGroup
			for _, ev := range evs {
				ev.ObjectID = id
				race.Go(func() {
					r, err := f.Commit(context.Background(), ev)
					if err != nil {
						t.Error(err)
					}
					if !r.Duplicate {
						fresh <- r.ID
					}
				})
			}
			all.Go(func() {
				race.Wait()
				if len(fresh) != 1 {
					t.Errorf("of record %s %d were stored", id, len(fresh))
				}
			})
		}
		all.Wait()
		if n := len(f.stored(t)); n != records {
			t.Errorf("%d events are stored, want %d", n, records)
		}
	})
}

func TestTheLastSeqIsThatOfTheNewestEvent(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		if last, err := f.LastSeq(t.Context()); last != -1 || err != nil {
			t.Errorf("of nothing it is %d (%v)", last, err)
		}
		f.commit(t, f.event(""))
		f.commit(t, f.event(""))
		last, err := f.LastSeq(t.Context())
		if newest := f.stored(t)[0]; last != newest.Seq || err != nil {
			t.Errorf("it is %d (%v), want %d", last, err, newest.Seq)
		}
	})
}

func TestARecordIsPendingForAListenerUntilItsDeliveryHasEnded(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		ev := f.event("", "mirror")
		f.commit(t, ev)
		ask := func(listener, object string, want bool) {
			t.Helper()
			pending, err := f.PendingFor(t.Context(), listener, "pipedrive", object, []string{"8", "7", "", "7"})
			if n := len(pending); err != nil || pending["7"] != want || n > 1 || n == 1 != want {
				t.Errorf("for %s, of %s: %v (%v), want %v", listener, object, pending, err, want)
			}
		}
		ask("mirror", "deal", true)
		ask("mirror", "person", false)
		ask("nobody", "deal", false)
		if none, err := f.PendingFor(t.Context(), "mirror", "pipedrive", "deal", nil); len(none) > 0 || err != nil {
			t.Errorf("of nothing: %v (%v)", none, err)
		}
		end := func(state core.State) {
			t.Helper()
			d, epoch := f.begin(t, "mirror")
			f.Finish(finish(d, epoch, state, f.clock, ""))
			await(t, "the result is stored", func() bool { return f.delivered(t, ev.ID).State == state })
		}
		end(core.Dead)
		ask("mirror", "deal", false)
		if n, err := hands(t, f).Replay(t.Context(), store.Choice{Events: []string{ev.ID}}, nil); n != 1 || err != nil {
			t.Fatalf("%d replayed (%v)", n, err)
		}
		ask("mirror", "deal", true)
		end(core.Done)
		ask("mirror", "deal", false)
	})
}

func TestWhatAListenerHasNotHandledIsFoundByItsRecord(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		at := f.clock.now()
		made := func(object, id string, listeners ...string) string {
			ev := f.event("", listeners...)
			ev.ID, ev.Object, ev.ObjectID = idAt(at), object, id
			at = at.Add(time.Second)
			if err := ev.SetOrigin(core.OriginReconcile); err != nil {
				t.Fatal(err)
			}
			f.commit(t, ev)
			return ev.ID
		}
		waits := made("deal", "7", "mirror")
		absent := made("deal", "7", "other")
		made("deal", "8")
		made("person", "7")
		others := make([]*core.Event, 5000) // more than one look is for
		for i := range others {
			others[i] = f.event("")
			others[i].ID, others[i].ObjectID = idAt(at), "8"
		}
		if _, err := f.CommitAll(t.Context(), others); err != nil {
			t.Fatal(err)
		}
		nobody := made("deal", "9")
		last, err := f.LastSeq(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		between := func(from, before time.Time, later int64, want ...string) {
			t.Helper()
			var got []string
			missed := map[string][]int64{}
			if err := f.Unheard(t.Context(), "mirror", "pipedrive", "deal", from, before, later, func(id string, seq int64) { missed[id] = append(missed[id], seq) }); err != nil {
				t.Fatal(err)
			}
			events, err := f.Numbered(t.Context(), slices.Concat(missed["7"], missed["9"], missed["10"]))
			for _, ev := range events {
				got = append(got, ev.ID)
				if core.OriginOf(ev.Overlay) != core.OriginReconcile || len(ev.Body) == 0 || !slices.Contains([]string{"7", "9"}, ev.ObjectID) {
					t.Errorf("got %+v", ev)
				}
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("got %v (%v), want %v", got, err, want)
			}
		}
		ask := func(from time.Time, want ...string) {
			t.Helper()
			between(from, time.Time{}, last, want...)
		}
		ask(time.Time{}, waits, absent, nobody)
		ask(f.clock.now(), waits, absent, nobody)
		ask(f.clock.now().Add(time.Second), absent, nobody)
		ask(at)
		between(time.Time{}, f.clock.now().Add(time.Second), last, waits)
		between(f.clock.now(), f.clock.now(), last)
		between(at, at, last-1, nobody)
		between(at, at, 0, waits, absent, nobody)
		between(at, at, -1, waits, absent, nobody)
		end := func(state core.State) {
			t.Helper()
			d, epoch := f.begin(t, "mirror")
			f.Finish(finish(d, epoch, state, f.clock, ""))
			await(t, "the result is stored", func() bool { return f.delivered(t, waits).State == state })
		}
		end(core.Dead)
		ask(time.Time{}, waits, absent, nobody)
		if n, err := hands(t, f).Replay(t.Context(), store.Choice{Events: []string{waits}}, nil); n != 1 || err != nil {
			t.Fatalf("%d replayed (%v)", n, err)
		}
		end(core.Done)
		ask(time.Time{}, absent, nobody)
	})
}

// idAt is an id as it is given to what is received then.
func idAt(at time.Time) string {
	id := uuid.Must(uuid.NewV7())
	for i := range 6 {
		id[i] = byte(at.UnixMilli() >> (8 * (5 - i)))
	}
	return id.String()
}

func TestAStateIsReadBackAndOutlivesTheProcess(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		ctx := t.Context()
		is := func(s interface {
			State(context.Context, string) ([]byte, error)
		}, want []byte) {
			t.Helper()
			got, err := s.State(ctx, "watch/1")
			if err != nil || string(got) != string(want) || (got == nil) != (want == nil) {
				t.Errorf("it is %q (%v), want %q", got, err, want)
			}
		}
		set := func(s interface {
			SetState(context.Context, string, []byte) error
		}, value []byte) {
			t.Helper()
			if err := s.SetState(ctx, "watch/1", value); err != nil {
				t.Fatal(err)
			}
		}
		is(f, nil)
		for _, value := range [][]byte{{0, 255, '\''}, {}, []byte("again")} {
			set(f, value)
			is(f, value)
		}
		f.stop()
		f = open(t, url, &intake{})
		is(f, []byte("again"))
		m, err := store.OpenManager(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.Close() }()
		set(m, []byte("by hand"))
		is(f, []byte("by hand"))
		is(m, []byte("by hand"))
		set(f, nil)
		is(m, nil)
		if err := f.SetState(ctx, "big", make([]byte, store.StateMaxValue+1)); core.KindOf(err) != core.TooLarge {
			t.Errorf("what is too long: %v", err)
		}
	})
}

func TestEventsAreListedByTheirOrigin(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		sent, made, amended := f.event(""), f.event(""), f.event("")
		if err := made.SetOrigin(core.OriginReconcile); err != nil {
			t.Fatal(err)
		}
		object := "lead"
		if _, err := amended.Amend(core.Amendment{Object: &object}); err != nil {
			t.Fatal(err)
		}
		for _, ev := range []*core.Event{sent, made, amended} {
			f.commit(t, ev)
		}
		for origin, want := range map[string][]string{
			"": {amended.ID, made.ID, sent.ID}, "webhook": {amended.ID, sent.ID}, "reconcile": {made.ID}, "recon": nil, "%": nil,
		} {
			found, err := f.Reader().Events(t.Context(), store.Filter{Origin: origin})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, ev := range found {
				got = append(got, ev.ID)
				if is := core.OriginOf(ev.Overlay) == core.OriginReconcile; is != (ev.ID == made.ID) {
					t.Errorf("the overlay of %s is %q", ev.ID, ev.Overlay)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("of origin %q: %v, want %v", origin, got, want)
			}
		}
	})
}
