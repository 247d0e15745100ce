package delivery_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/pipehook/pipehook/core/delivery"
)

// gathers gathers for a second.
func gathers() *disk {
	d := newDisk()
	d.sub.Coalesce = delivery.Coalesce{Quiet: time.Second, Max: time.Minute}
	return d
}

func TestAFailedBurstDoesNotStandForNewerEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := gathers()
		d.sub.OnFailure = delivery.Skip
		d.sub.Retry.First = 100 * time.Millisecond
		d.handle = func(seq int64) error {
			if seq == 2 {
				return errors.New("no")
			}
			return nil
		}
		d.start(t)
		d.commit(row{seq: 1, record: 1}, row{seq: 2, record: 1})
		pass(time.Second)
		d.hasRun(t, "2")
		d.commit(row{seq: 3, record: 1}) // before 2 is due again
		pass(time.Minute)
		d.check(t, "came to", d.told, "2 pending 1 skipped 2 skipped 3 done")
	})
}

func TestOfABurstTheNewestStandsForTheOthersWhereStaleOnesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := gathers()
		d.sub.DropStale = true
		d.start(t)
		now := time.Now()
		d.commit(row{seq: 1, record: 1, occurred: now})
		pass(time.Minute)
		d.commit(row{seq: 2, record: 1, occurred: now.Add(time.Minute)}, row{seq: 3, record: 1, occurred: now.Add(-time.Minute)})
		pass(time.Minute)
		d.check(t, "came to", d.told, "1 done 3 skipped 2 done")
	})
}

// count makes the disk's bodies count how many of them are in memory.
func (d *disk) count() (alive func() int) {
	var bodies []weak.Pointer[byte]
	d.fresh = func() []byte {
		body := make([]byte, 1<<10)
		bodies = append(bodies, weak.Make(&body[0]))
		return body
	}
	return func() (n int) {
		runtime.GC()
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, body := range bodies {
			if body.Value() != nil {
				n++
			}
		}
		return n
	}
}

func TestOfABurstOneBodyIsKeptInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := gathers()
		alive, most := d.count(), 0
		d.loading = func() { most = max(most, alive()) }
		d.handle = func(int64) error { most = max(most, alive()); return nil }
		for seq := int64(1); seq <= 400; seq++ {
			d.put(row{seq: seq, record: 1})
		}
		d.start(t)
		pass(time.Minute)
		if n := strings.Count(strings.Join(d.told, " "), "skipped"); n != 399 || most > 1 {
			t.Errorf("%d were gathered, with %d bodies at a time", n, most)
		}
	})
}

func TestWhatHasRunIsNotKeptInMemoryByWhatWasReadWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.sub.Concurrency = 1
		alive, left := d.count(), 0
		d.handle = func(seq int64) error {
			if seq == 100 {
				left = alive()
			}
			return nil
		}
		for seq := int64(1); seq <= 100; seq++ {
			d.put(row{seq: seq, record: seq})
		}
		d.start(t)
		if left != 1 {
			t.Errorf("when the last of 100 runs, %d bodies are in memory, want 1", left)
		}
	})
}

func TestWhatABusyRecordGathersBehindItStaysOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		alive := d.count()
		open := make(chan struct{})
		d.handle = func(int64) error { <-open; return nil }
		d.start(t)
		for seq := int64(1); seq <= 2000; seq++ {
			d.commit(row{seq: seq, record: 1})
		}
		synctest.Wait()
		if n := alive(); n > 1+512 {
			t.Errorf("%d events are in memory, want no more than 512 that wait", n)
		}
		close(open)
		synctest.Wait()
		if len(d.ran) != 2000 {
			t.Errorf("%d ran, want 2000", len(d.ran))
		}
	})
}
