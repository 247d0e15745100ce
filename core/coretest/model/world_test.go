package model_test

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/store"
)

// clock is the time of the test, the engine and the store.
type clock interface {
	now() time.Time
	advance(d time.Duration) error
	// still runs f while nobody moves the clock.
	still(f func())
	// notice waits until the engine has read what was done by hand since it had read so often.
	notice(p *process, read int64) error
	// until waits until ok holds and nothing more happens by itself; it returns what ok says.
	until(p *process, ok func() error) error
}

// bubble is the clock of testing/synctest.
type bubble struct{}

func (bubble) now() time.Time { return time.Now() }

func (bubble) advance(d time.Duration) error { time.Sleep(d); return nil }

func (bubble) still(f func()) { f() }

func (b bubble) notice(*process, int64) error { return b.advance(noticed) }

// until gives the store the time that results may wait for company, and again when an attempt was
// due at the end of that time.
func (bubble) until(_ *process, ok func() error) (err error) {
	for range 2 {
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		err = ok()
		if _, bad := errors.AsType[unfit](err); err == nil || bad {
			break
		}
	}
	return err
}

// shifted is the real clock, ahead by what was advanced, in this process and in the database.
type shifted struct {
	db    *sql.DB
	ahead atomic.Int64
	mu    sync.RWMutex // held while the two are moved
}

func (s *shifted) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

func (s *shifted) still(f func()) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	f()
}

func (s *shifted) advance(d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ahead := s.ahead.Add(int64(d))
	text := fmt.Sprintf(`CREATE OR REPLACE FUNCTION pipehook_now() RETURNS BIGINT LANGUAGE sql VOLATILE PARALLEL SAFE
		AS 'SELECT (extract(epoch from clock_timestamp()) * 1000000)::bigint + %d'`, time.Duration(ahead).Microseconds())
	_, err := s.db.Exec(text)
	return err
}

// notice waits for two more times: the first may have begun before.
func (s *shifted) notice(p *process, read int64) error {
	return s.until(p, func() error {
		if n := p.read.Load(); n < read+2 {
			p.engine.Look(true)
			return errors.New("what was done by hand is not noticed")
		}
		return nil
	})
}

// unfit is what can't become right by waiting.
type unfit struct{ error }

func (s *shifted) until(p *process, ok func() error) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		p.engine.Look(false) // the engine's timers do not know that the clock was moved
		err := ok()
		if _, bad := errors.AsType[unfit](err); err == nil || bad || time.Now().After(deadline) {
			return err
		}
	}
}

// world is the model, and the process that is compared with it.
type world struct {
	*model
	url, folder string
	clock       clock
	p           *process
	manager     *store.Manager
	scripts     map[string][]outcome
	subs        []delivery.Subscription
}

// newWorld starts the first process.
func newWorld(t *rapid.T, url, folder string, c clock) *world {
	w := &world{model: newModel(), url: url, folder: folder, clock: c, scripts: map[string][]outcome{}}
	for _, name := range listeners {
		w.gates[name] = &breaker{}
	}
	w.subs = drawSubscriptions(t)
	w.subscribe(w.subs)
	w.launch(t)
	manager, err := store.OpenManager(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	w.manager = manager
	return w
}

func (w *world) launch(t *rapid.T) {
	p, err := launch(w.url, w.folder, w.clock, w.scripts, w.subs)
	if err != nil {
		t.Fatal(err)
	}
	w.p = p
}

// close ends everything, whatever state it is in.
func (w *world) close() error {
	err := w.p.kill()
	if w.manager != nil {
		err = errors.Join(err, w.manager.Close())
	}
	return errors.Join(err, os.RemoveAll(w.folder))
}

// hear tells the model what has happened.
func (w *world) hear(t *rapid.T) error {
	for _, n := range w.p.taken() {
		var err error
		if d := w.find(n.listener, n.id); d != nil {
			t.Logf("%v: %s %v %v", d, n.what, n.came, n.attempt.State)
		}
		switch n.what {
		case "start":
			err = w.start(n.listener, n.id, n.at)
		case "end":
			err = w.end(n.listener, n.id, n.came, n.at)
		case "result":
			err = w.result(n.attempt, n.id, n.at)
		}
		if err != nil {
			return unfit{err}
		}
	}
	return nil
}

// settle waits until everything has happened that must, and compares.
func (w *world) settle(t *rapid.T) {
	t.Helper()
	if err := w.clock.until(w.p, func() error {
		if err := w.hear(t); err != nil {
			return err
		}
		open := len(w.p.open())
		for _, name := range listeners {
			open -= w.running(name)
		}
		if open != 0 {
			return errors.New("some calls have begun or ended, and that was not heard")
		}
		if err := w.idle(w.clock.now()); err != nil {
			return err
		}
		return w.compare(t)
	}); err != nil {
		t.Fatalf("%v\n%s", err, &w.p.log)
	}
}

// calm lets time pass until for a while nothing happens by itself. What was found by hand, on disk or
// as a pause, the engine notices in that while.
func (w *world) calm(t *rapid.T, while time.Duration) {
	t.Helper()
	for range 1000 {
		now := w.clock.now()
		soon := func(due time.Time) bool { return due.After(now.Add(-2*slack)) && due.Before(now.Add(while+2*slack)) }
		near := false
		for _, name := range listeners {
			near = near || soon(w.gates[name].until)
			for _, d := range w.all[name] {
				near = near || d.now.state == core.Waiting && (soon(d.now.due) || soon(d.disk.due))
			}
		}
		if !near {
			return
		}
		w.advance(t, while+slack)
	}
	t.Fatal("it never becomes calm")
}

func (w *world) advance(t *rapid.T, d time.Duration) {
	t.Helper()
	if err := w.clock.advance(d); err != nil {
		t.Fatal(err)
	}
	w.settle(t)
}

// open are the calls that may be ended, in an order that a repetition has too.
func (w *world) open() []*call {
	calls := w.p.open()
	slices.SortFunc(calls, func(a, b *call) int {
		return cmp.Or(cmp.Compare(a.listener, b.listener), cmp.Compare(w.find(a.listener, a.id).ev.number, w.find(b.listener, b.id).ev.number))
	})
	return calls
}

// compare says how the store differs from the model.
func (w *world) compare(t *rapid.T) error {
	stored, err := w.p.store.Reader().Events(t.Context(), store.Filter{Limit: 1 << 20})
	if err != nil {
		return err
	}
	slices.Reverse(stored)
	if len(stored) != len(w.events) {
		return fmt.Errorf("%d events are stored, want %d", len(stored), len(w.events))
	}
	turns := map[string]map[int64]int64{} // by listener and place in the model, on disk
	for i, ev := range stored {
		want := w.events[i]
		if ev.ID != want.ID || ev.ObjectID != want.ObjectID {
			return fmt.Errorf("event %d is stored as %s, want %s", i+1, ev.ID, want.ID)
		}
		if len(ev.Deliveries) != len(want.Plan.Listeners) {
			return fmt.Errorf("event %d has %d deliveries, want %v", i+1, len(ev.Deliveries), want.Plan.Listeners)
		}
		for _, got := range ev.Deliveries {
			d := w.find(got.Listener, ev.ID)
			if d == nil {
				return fmt.Errorf("event %d has a delivery for %s", i+1, got.Listener)
			}
			if err := d.compare(got); err != nil {
				return err
			}
			if d.disk.state == core.Waiting && d.record() != 0 {
				if turns[d.listener] == nil {
					turns[d.listener] = map[int64]int64{}
				}
				turns[d.listener][int64(d.turn)] = got.Turn
			}
		}
	}
	return w.compareTurns(turns)
}

// compareTurns says where the order on disk is not that of the model.
func (w *world) compareTurns(turns map[string]map[int64]int64) error {
	for name, of := range turns {
		for _, a := range w.all[name] {
			for _, b := range w.all[name] {
				x, ok := of[int64(a.turn)]
				y, too := of[int64(b.turn)]
				if ok && too && a.record() == b.record() && a.turn < b.turn && x >= y {
					return fmt.Errorf("%v has turn %d on disk, behind event %d with %d", a, x, b.ev.number, y)
				}
			}
		}
	}
	return nil
}

func (d *dealing) compare(got *store.Delivery) error {
	is := row{state: got.State, attempts: got.Attempts, crashes: got.Crashes, replays: got.Replays}
	want := d.disk
	want.due = time.Time{}
	if is != want {
		return fmt.Errorf("%v is %+v on disk, want %+v", d, is, want)
	}
	if d.disk.state != core.Waiting || d.disk.due.IsZero() {
		return nil
	}
	if off := time.UnixMicro(got.NextAt).Sub(d.disk.due); off < -slack || off > slack {
		return fmt.Errorf("%v is due %s off on disk", d, off)
	}
	return nil
}
