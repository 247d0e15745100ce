package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/core"
)

// crew is a disk's listener as one that takes several events at once.
type crew struct {
	core.Listener
	leave func(id string) bool // whether it returns after this event, whatever is left; nil for never
	mute  bool                 // it asks nothing and says nothing
	ahead int                  // for how many it asks at once

	mu    sync.Mutex
	sizes []int
	gates map[int64]chan struct{} // events that wait
	errs  map[int64]error
	notes []string
}

func (c *crew) HandleBatch(ctx context.Context, timeout time.Duration, batch []core.Delivery, begin func(int) bool, done func(int, core.Outcome)) {
	c.mu.Lock()
	c.sizes = append(c.sizes, len(batch))
	c.mu.Unlock()
	for i := range min(c.ahead, len(batch)) {
		begin(i)
	}
	for i := range batch {
		ev := batch[i].Event
		if c.mute || i >= c.ahead && !begin(i) {
			return
		}
		began := time.Now()
		one, cancel := context.WithTimeout(ctx, timeout)
		err := c.Handle(one, ev)
		cancel()
		if batch[i].Attempt() != 1 {
			err = errors.Join(err, errors.New("it is not the first attempt"))
		}
		done(i, core.Outcome{Err: err, Took: time.Since(began), Code: "v" + ev.ID})
		if c.leave != nil && c.leave(ev.ID) {
			return
		}
	}
}

func (c *crew) handle(seq int64) error {
	c.mu.Lock()
	gate, err := c.gates[seq], c.errs[seq]
	c.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return err
}

// hold makes the listener wait at these events.
func (c *crew) hold(seqs ...int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, seq := range seqs {
		c.gates[seq] = make(chan struct{})
	}
}

// letGo ends the wait, and lets happen what then can.
func (c *crew) letGo(seqs ...int64) {
	for _, seq := range seqs {
		close(c.gates[seq])
	}
	synctest.Wait()
}

// Start is part of delivery.Journal.
func (c *crew) Start(key core.DeliveryKey, _ int) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notes = append(c.notes, fmt.Sprint(key.Seq))
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.notes = slices.DeleteFunc(c.notes, func(n string) bool { return n == fmt.Sprint(key.Seq) })
	}
}

func (c *crew) noted() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.notes)
	return strings.Join(c.notes, " ")
}

// largest is that of the batches so far.
func (c *crew) largest() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Max(c.sizes)
}

// crewed is a disk whose listener takes batches, and is known to be quick.
func crewed(t *testing.T, workers int, set func(d *disk)) (*disk, *crew) {
	t.Helper()
	d := newDisk()
	c := &crew{Listener: d.sub.Listener, gates: map[int64]chan struct{}{}, errs: map[int64]error{}}
	d.sub.Listener, d.sub.Concurrency, d.handle, d.journal = c, workers, c.handle, c
	if set != nil {
		set(d)
	}
	d.start(t)
	for seq := range int64(40) {
		d.commit(row{seq: seq + 1, record: seq + 1})
		synctest.Wait()
	}
	d.ran, d.told, c.sizes = nil, nil, nil
	t.Cleanup(func() {
		if d.mu.Lock(); d.open != 0 {
			t.Errorf("%d attempts are still open", d.open)
		}
		d.mu.Unlock()
	})
	return d, c
}

// rows are n deliveries from seq on, each of a record of its own.
func rows(seq int64, n int) (all []row) {
	for i := range int64(n) {
		all = append(all, row{seq: seq + i, record: seq + i})
	}
	return all
}

// behind makes the rows wait behind a call that is open, so that they can be taken together.
func (d *disk) behind(c *crew, rows ...row) {
	c.hold(99)
	d.commit(row{seq: 99, record: 99})
	synctest.Wait()
	d.commit(rows...)
	c.letGo(99)
}
