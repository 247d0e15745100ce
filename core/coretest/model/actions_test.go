package model_test

import (
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun/driver/pgdriver"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listeners are those there can be.
var listeners = []string{"a", "b", "c"}

// noticed is when the engine has noticed what was done by hand.
const noticed = 2500 * time.Millisecond

func TestTheEngineDoesWhatTheModelSaysOnSQLite(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		began := time.Now()
		n++
		folder := filepath.Join(dir, strconv.Itoa(n))
		rapid.SyncTest(t, func(t *rapid.T) {
			// SQLite's own clock is the real one, which must not be ahead of the bubble's.
			time.Sleep(time.Until(began.Add(time.Hour)))
			play(t, "sqlite:"+filepath.Join(folder, "test.db"), folder, bubble{})
		})
	})
}

func TestTheEngineDoesWhatTheModelSaysOnPostgres(t *testing.T) {
	url := testdb.Postgres(t)
	few(t, 4)
	dir := t.TempDir()
	db := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(url)))
	defer func() { _ = db.Close() }()
	s, err := store.Open(t.Context(), store.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		if _, err := db.Exec("TRUNCATE events, deliveries, attempts, handled, listeners, replicas; UPDATE shards SET holder = 0"); err != nil {
			t.Fatal(err)
		}
		c := &shifted{db: db}
		if err := c.advance(0); err != nil {
			t.Fatal(err)
		}
		play(t, url, filepath.Join(dir, strconv.Itoa(n)), c)
	})
}

// few makes the test check a part of what it was asked to.
func few(t *testing.T, part int) {
	t.Helper()
	checks := flag.Lookup("rapid.checks")
	all, err := strconv.Atoi(checks.Value.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := checks.Value.Set(strconv.Itoa(max(all/part, 1))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = checks.Value.Set(strconv.Itoa(all)) })
}

// play runs one sequence.
func play(t *rapid.T, url, folder string, c clock) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, url, folder, c)
	defer func() {
		if err := w.close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	w.settle(t)
	t.Repeat(map[string]func(*rapid.T){
		"send": w.send, "sendMore": w.send, "sendAgain": w.sendAgain, "finish": w.finish, "finishMore": w.finish, "drain": w.drain,
		"note": w.note, "advance": w.pass, "pause": w.pause, "resume": w.resume, "reload": w.reload,
		"replay": w.replayed, "retry": w.retried, "cancel": w.cancelled,
		"stall": w.stall, "hold": w.hold, "restart": w.restart, "crash": w.crash,
	})
	w.finale(t)
}

func drawSubscriptions(t *rapid.T) (subs []delivery.Subscription) {
	for _, name := range listeners {
		if rapid.IntRange(0, 5).Draw(t, name+" is gone") == 5 {
			continue
		}
		match, err := core.ParsePattern(rapid.SampledFrom([]string{"*.*", "*.*", "*.deal"}).Draw(t, "match"))
		if err != nil {
			t.Fatal(err)
		}
		sub := delivery.Subscription{
			Name: name, Match: []core.Pattern{match}, Timeout: 10_000 * time.Hour,
			Concurrency: rapid.IntRange(1, 3).Draw(t, "concurrency"),
			Retry:       delivery.Retry{Attempts: rapid.IntRange(1, 4).Draw(t, "attempts"), First: 10 * time.Second, Max: 30 * time.Second},
			OnFailure:   rapid.SampledFrom([]delivery.OnFailure{delivery.Block, delivery.Skip}).Draw(t, "on failure"),
		}
		switch rapid.IntRange(0, 3).Draw(t, "order") {
		case 0:
			sub.Order = delivery.Unordered
		case 1:
			sub.DropStale = true
		}
		if rapid.IntRange(0, 3).Draw(t, "breaker") == 0 {
			sub.Breaker = delivery.Breaker{Failures: 2, Pause: 20 * time.Second}
		}
		if rapid.Bool().Draw(t, "batches") {
			sub.Listener = batches{}
		}
		subs = append(subs, sub)
	}
	return subs
}

// fresh draws an event and how its calls end.
func (w *world) fresh(t *rapid.T) *core.Event {
	ev := &core.Event{
		ID: uuid.Must(uuid.NewV7()).String(), Pipeline: "crm", Source: "test", Action: core.Updated, ReceivedAt: w.clock.now().UTC().Truncate(time.Microsecond),
		Object:   rapid.SampledFrom([]string{"deal", "deal", "person"}).Draw(t, "object"),
		ObjectID: rapid.SampledFrom([]string{"1", "1", "2", ""}).Draw(t, "record"),
		Plan:     core.Plan{Store: true},
	}
	ev.Body = []byte(ev.ID)
	if n := rapid.IntRange(0, 4).Draw(t, "occurred"); n > 0 {
		ev.OccurredAt = time.Unix(1_700_000_000+int64(n), 0).UTC()
	}
	if key := rapid.IntRange(0, 9).Draw(t, "key"); key < 3 {
		ev.Plan.Key = []byte{'k', byte('0' + key)}
		ev.Plan.Window = rapid.SampledFrom([]time.Duration{0, 30 * time.Second}).Draw(t, "window")
		if state := rapid.IntRange(0, 5).Draw(t, "state"); state < 3 && state != key {
			ev.Plan.State = []byte{'k', byte('0' + state)}
		}
	}
	if rapid.Bool().Draw(t, "scripted") {
		w.scripts[ev.ID] = rapid.SliceOfN(rapid.SampledFrom([]outcome{succeeds, fails, hopeless, crashes, asksForTime}), 0, 3).Draw(t, "script")
	}
	ev.Plan.Listeners, _ = w.p.engine.Route(ev)
	if want := w.wanted(ev); fmt.Sprint(want) != fmt.Sprint(ev.Plan.Listeners) {
		t.Fatalf("the event goes to %v, want %v", ev.Plan.Listeners, want)
	}
	return ev
}

// send accepts some events in one go.
func (w *world) send(t *rapid.T) {
	evs := make([]*core.Event, rapid.IntRange(1, 4).Draw(t, "events"))
	for i := range evs {
		evs[i] = w.fresh(t)
	}
	if len(evs) == 1 {
		if rapid.IntRange(0, 3).Draw(t, "compares") == 0 {
			evs[0].Plan.After = w.noted
		}
		w.commit(t, evs[0])
		return
	}
	for _, ev := range evs {
		w.accept(ev, w.clock.now())
	}
	if settled, err := w.p.store.CommitAll(t.Context(), evs); err != nil || len(settled) != len(evs) {
		t.Fatalf("%d of %d were stored: %v", len(settled), len(evs), err)
	}
	w.settle(t)
}

func (w *world) commit(t *rapid.T, ev *core.Event) {
	want := w.accept(ev, w.clock.now())
	got, err := w.p.store.Commit(t.Context(), ev)
	if err != nil || got != want {
		t.Fatalf("receipt %+v (%v), want %+v", got, err, want)
	}
	w.settle(t)
}

// note notes the last event that is stored, as one who compares does before he begins.
func (w *world) note(t *rapid.T) {
	last, err := w.p.store.LastSeq(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.noted = last
	w.numbers[last] = len(w.events)
}

// sendAgain accepts an event once more, as it is or with other content under its key.
func (w *world) sendAgain(t *rapid.T) {
	if len(w.events) == 0 {
		t.Skip()
	}
	ev := *rapid.SampledFrom(w.events).Draw(t, "event").Event
	if ev.Plan.Key != nil && rapid.Bool().Draw(t, "other") {
		ev.ID, ev.Body, ev.ReceivedAt = uuid.Must(uuid.NewV7()).String(), []byte("other"), w.clock.now().UTC().Truncate(time.Microsecond)
		ev.Plan.Listeners, _ = w.p.engine.Route(&ev)
	}
	w.commit(t, &ev)
}

func (w *world) finish(t *rapid.T) {
	calls := w.open()
	if len(calls) == 0 {
		t.Skip()
	}
	c := calls[rapid.IntRange(0, len(calls)-1).Draw(t, "call")]
	w.p.finish(c, rapid.SampledFrom([]outcome{succeeds, fails, fails, hopeless, crashes, asksForTime}).Draw(t, "outcome"))
	w.settle(t)
}

// drain lets calls succeed until none is open.
func (w *world) drain(t *rapid.T) {
	if len(w.p.open()) == 0 {
		t.Skip()
	}
	for calls := w.open(); len(calls) > 0; calls = w.open() {
		for _, c := range calls {
			w.p.finish(c, succeeds)
		}
		w.settle(t)
	}
}

func (w *world) pass(t *rapid.T) {
	w.advance(t, time.Duration(rapid.SampledFrom([]int{1, 5, 10, 30, 90, 600}).Draw(t, "seconds"))*time.Second)
	w.calm(t, 0)
}

func (w *world) pause(t *rapid.T) {
	name := rapid.SampledFrom(listeners).Draw(t, "listener")
	w.calm(t, noticed)
	if err := w.manager.Pause(t.Context(), name, "model"); err != nil {
		t.Fatal(err)
	}
	w.await(t, name, true)
}

func (w *world) resume(t *rapid.T) {
	var some []string
	for _, name := range listeners {
		if w.paused[name] {
			some = append(some, name)
		}
	}
	if len(some) == 0 {
		t.Skip()
	}
	name := rapid.SampledFrom(some).Draw(t, "listener")
	w.calm(t, noticed)
	if _, err := w.manager.Resume(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	w.await(t, name, false)
}

// await lets the engine notice a pause or its end.
func (w *world) await(t *rapid.T, name string, paused bool) {
	if !paused {
		w.paused[name] = false
	}
	w.notice(t)
	if paused {
		w.settle(t)
	}
	w.paused[name] = paused
	w.settle(t)
}

func (w *world) reload(t *rapid.T) {
	w.subs = drawSubscriptions(t)
	w.subscribe(w.subs)
	w.p.engine.Subscribe(w.p.join(w.subs))
	w.settle(t)
}

// choose draws deliveries of one listener.
func (w *world) choose(t *rapid.T, fit func(d *dealing) bool) (chosen []*dealing, c store.Choice) {
	name := rapid.SampledFrom(listeners).Draw(t, "listener")
	some := rapid.Bool().Draw(t, "all")
	for _, d := range w.all[name] {
		if fit(d) && (some || rapid.Bool().Draw(t, "this")) {
			chosen = append(chosen, d)
			c.Events = append(c.Events, d.ev.ID)
		}
	}
	if len(chosen) == 0 {
		t.Skip()
	}
	c.Listener = name
	return chosen, c
}

// byHand changes deliveries beside the process, and lets it notice.
func (w *world) byHand(t *rapid.T, fit func(*dealing) bool, model func(*dealing), do func(store.Choice) (int, error)) {
	w.calm(t, noticed)
	chosen, c := w.choose(t, fit)
	n, err := do(c)
	if err != nil || n != len(chosen) {
		t.Fatalf("%d of %d deliveries were changed: %v", n, len(chosen), err)
	}
	for _, d := range chosen {
		model(d)
	}
	w.notice(t)
	w.settle(t)
}

func (w *world) notice(t *rapid.T) {
	if err := w.clock.notice(w.p, w.p.read.Load()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) replayed(t *rapid.T) {
	w.byHand(t, func(d *dealing) bool { return d.disk.state != core.Waiting && !d.busy() }, w.replay,
		func(c store.Choice) (int, error) { return w.manager.Replay(t.Context(), c, nil) })
}

func (w *world) retried(t *rapid.T) {
	w.byHand(t, func(d *dealing) bool { return d.disk.state == core.Waiting }, w.retry,
		func(c store.Choice) (int, error) { return w.manager.Retry(t.Context(), c, nil) })
}

func (w *world) cancelled(t *rapid.T) {
	w.byHand(t, func(d *dealing) bool { return d.disk.state == core.Waiting }, w.cancel,
		func(c store.Choice) (int, error) { return w.manager.Cancel(t.Context(), c, nil) })
}

// stall keeps what is read from the engine, or no longer. What goes past the reads may then run or
// not, which only the bubble knows for sure.
func (w *world) stall(t *rapid.T) {
	if _, sure := w.clock.(bubble); !sure {
		t.Skip()
	}
	w.stalled = !w.stalled
	w.p.stall(w.stalled)
	w.settle(t)
}

func (w *world) hold(t *rapid.T) {
	w.holding = !w.holding
	w.p.hold(w.holding)
	if !w.holding {
		w.save(w.clock.now())
	}
	w.settle(t)
}

// openValves lets everything arrive where it should.
func (w *world) openValves(t *rapid.T) {
	if w.stalled {
		w.stall(t)
	}
	if w.holding {
		w.hold(t)
	}
}

// restart stops the process as it should be, with a new configuration or the old one.
func (w *world) restart(t *rapid.T) {
	w.openValves(t)
	came := rapid.SampledFrom([]outcome{succeeds, fails, hopeless, crashes}).Draw(t, "outcome")
	left := make(chan error, 1)
	go func() { left <- w.p.leave() }() // ends when the last call has
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for stopped := false; !stopped; {
		for i, calls := 0, w.open(); i < len(calls); i++ { // one of each listener, for the breakers' sake
			if i == 0 || calls[i].listener != calls[i-1].listener {
				w.p.finish(calls[i], came)
			}
		}
		select {
		case err := <-left:
			if err != nil {
				t.Fatalf("stop: %v", err)
			}
			stopped = true
		case <-tick.C:
		}
	}
	if err := w.hear(t); err != nil {
		t.Fatalf("while it stops: %v", err)
	}
	w.again(t, false)
}

// crash kills the process.
func (w *world) crash(t *rapid.T) {
	if err := w.p.kill(); err != nil {
		t.Fatal(err)
	}
	if err := w.hear(t); err != nil {
		t.Fatal(err)
	}
	w.again(t, true)
}

func (w *world) again(t *rapid.T, crashed bool) {
	if rapid.Bool().Draw(t, "other configuration") {
		w.subs = drawSubscriptions(t)
	}
	w.subscribe(w.subs)
	w.lost(crashed)
	w.launch(t)
	w.settle(t)
}

// finale resumes everything and lets every call succeed: then nothing is pending any more.
func (w *world) finale(t *rapid.T) {
	w.openValves(t)
	for _, name := range listeners {
		if !w.paused[name] {
			continue
		}
		w.calm(t, noticed)
		if _, err := w.manager.Resume(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		w.await(t, name, false) // what then runs must not meet a clock that is being moved
	}
	for _, sub := range w.subs {
		for w.pendingOf(sub.Name) > 0 {
			w.advance(t, 700*time.Second)
			if len(w.p.open()) > 0 {
				w.drain(t)
			}
		}
	}
}

func (w *world) pendingOf(name string) (n int) {
	for _, d := range w.all[name] {
		if d.pending() || d.busy() {
			n++
		}
	}
	return n
}
