package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/delivery"
)

// row is a pending delivery of a disk; its turn is its number.
type row struct {
	seq, record int64
	due         time.Time // zero for at once
	occurred    time.Time
	tried       int
	crashes     int
}

func (r *row) pending() core.Pending {
	p := core.Pending{Seq: r.seq, Turn: r.seq, Record: r.record, Tried: r.tried, Crashes: r.crashes}
	if !r.due.IsZero() {
		p.Due = time.Until(r.due)
	}
	return p
}

// disk is a store in memory, and the engine on it with one listener.
type disk struct {
	*delivery.Engine
	sub     delivery.Subscription
	stop    func()
	now     func() time.Time          // nil for time.Now
	handle  func(seq int64) error     // nil succeeds
	scanned func(after, record int64) // what happens once a page was read and before it is handed over
	loading func()                    // and before events are
	fresh   func() []byte             // makes a body; nil for empty ones
	shared  bool
	journal delivery.Journal // nil for none

	mu      sync.Mutex
	rows    []row // by number
	newest  map[int64]time.Time
	epoch   int64 // of every shard
	down    error // of Load
	broken  error // of Scan
	slow    bool  // results wait for save
	paused  bool  // the listener is
	edits   int64 // how often somebody has changed deliveries
	results []core.Attempt
	ran     []string // what the listener was given, by number
	told    []string // what came of each attempt
	open    int      // attempts that were begun and have not ended
	scans   int
	loaded  map[int64]int // how often
}

func newDisk() *disk {
	d := &disk{epoch: 1, newest: map[int64]time.Time{}, loaded: map[int64]int{}}
	d.sub = listener("a", func(_ context.Context, ev core.Event) (err error) {
		var seq int64
		_, _ = fmt.Sscan(ev.ID, &seq)
		d.mu.Lock()
		d.ran = append(d.ran, ev.ID)
		d.mu.Unlock()
		if d.handle != nil {
			err = d.handle(seq)
		}
		return err
	})
	d.sub.Retry = delivery.Retry{Attempts: 9, First: time.Hour, Max: time.Hour}
	return d
}

// start runs the engine until the test's bubble ends, and waits until nothing more happens by itself.
func (d *disk) start(t *testing.T) {
	t.Helper()
	d.Engine = delivery.New(delivery.Options{
		Store: d, Journal: d.journal, Now: d.now, Log: slog.New(slog.DiscardHandler), Restore: func(*core.Event) error { return nil },
	})
	d.Subscribe([]delivery.Subscription{d.sub})
	ctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	synctest.Wait()
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (d *disk) check(t *testing.T, what string, got []string, want string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if all := strings.Join(got, " "); all != want {
		t.Errorf("%s %s, want %s", what, all, want)
	}
}

// hasRun checks what the listener was given so far.
func (d *disk) hasRun(t *testing.T, want string) {
	t.Helper()
	d.check(t, "the listener was given", d.ran, want)
}

func (d *disk) put(rows ...row) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range rows {
		i, _ := slices.BinarySearchFunc(d.rows, r.seq, bySeq)
		d.rows = slices.Insert(d.rows, i, r)
	}
}

func bySeq(r row, seq int64) int { return int(r.seq - seq) }

// commit stores rows and hands them over, as a store does.
func (d *disk) commit(rows ...row) {
	for _, r := range rows {
		held := d.Reserve("a", 0)
		if d.put(r); held {
			d.Take(d.delivery(r))
		} else {
			d.Return("a", false, true)
		}
	}
}

func (d *disk) delivery(r row) core.Delivery {
	ev := core.Event{ID: fmt.Sprint(r.seq), OccurredAt: r.occurred}
	if d.fresh != nil {
		ev.Body = d.fresh()
	}
	return core.Delivery{Pending: r.pending(), Listener: "a", Event: ev, Newest: d.newest[r.record]}
}

// serve changes the token; 0 is none.
func (d *disk) serve(epoch int64, down error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch, d.down = epoch, down
}

func (d *disk) Scan(_ context.Context, _ string, after, record int64, limit int) (page []core.Pending, _ error) {
	d.mu.Lock()
	d.scans++
	at, _ := slices.BinarySearchFunc(d.rows, after+1, bySeq)
	for i := at; i < len(d.rows) && len(page) < limit && d.epoch != 0; i++ {
		if r := &d.rows[i]; record == 0 || r.record == record {
			page = append(page, r.pending())
		}
	}
	err := d.broken
	d.mu.Unlock()
	if d.scanned != nil {
		d.scanned(after, record)
	}
	return page, err
}

// unreadable makes every look fail, or none for nil.
func (d *disk) unreadable(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = err
}

func (d *disk) looks() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.scans
}

func (d *disk) Load(ctx context.Context, _ string, seqs []int64, _ bool) (found []core.Delivery, _ error) {
	if d.loading != nil {
		d.loading()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, seq := range seqs {
		d.loaded[seq]++
		if i, ok := slices.BinarySearchFunc(d.rows, seq, bySeq); ok {
			found = append(found, d.delivery(d.rows[i]))
		}
	}
	return found, errors.Join(d.down, ctx.Err())
}

func (d *disk) Begin(_ int, epoch int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if epoch == 0 || epoch != d.epoch {
		return false
	}
	d.open++
	return true
}

func (d *disk) Abandon(int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
}

func (d *disk) Epoch(int) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.epoch
}

func (d *disk) Finish(a core.Attempt) {
	d.mu.Lock()
	d.open--
	d.told = append(d.told, fmt.Sprint(a.Seq, " ", a.State))
	d.results = append(d.results, a)
	slow := d.slow
	d.mu.Unlock()
	if !slow {
		d.save()
	}
}

// save puts the results on disk, as far as they count.
func (d *disk) save() {
	d.mu.Lock()
	results := d.results
	d.results = nil
	var lost, saved []core.Attempt
	for _, a := range results {
		if a.Epoch != d.epoch {
			lost = append(lost, a)
			continue
		}
		saved = append(saved, a)
		i, ok := slices.BinarySearchFunc(d.rows, a.Seq, bySeq)
		switch {
		case !ok:
		case a.State == core.Waiting:
			if d.rows[i].due = time.Now().Add(a.Wait); a.Number > 0 {
				d.rows[i].tried = a.Number
			}
		default:
			if a.Occurred.After(d.newest[a.Record]) {
				d.newest[a.Record] = a.Occurred
			}
			d.rows = slices.Delete(d.rows, i, i+1)
		}
	}
	d.mu.Unlock()
	d.Saved(saved)
	d.Lost(lost)
}

func (d *disk) Shared() bool { return d.shared }

func (d *disk) Paused(context.Context) (map[string]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.paused {
		return map[string]string{"a": "for a test"}, nil
	}
	return nil, nil
}

func (d *disk) Edits(context.Context) (map[string]int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return map[string]int64{"a": d.edits}, nil
}
