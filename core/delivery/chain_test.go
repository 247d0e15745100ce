package delivery_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/delivery"
)

const keys = 1 << 18 // of deliveries that wait behind another, as many as a lane has room for

// fill makes n deliveries of record 1: the first runs, the others wait behind it.
func (d *disk) fill(t *testing.T, n int64) {
	t.Helper()
	for seq := int64(1); seq <= n; seq++ {
		if !d.Reserve("a", 0) {
			t.Fatalf("no room for %d", seq)
		}
		d.Take(core.Delivery{Pending: core.Pending{Seq: seq, Turn: seq, Record: 1}, Listener: "a", Event: core.Event{ID: "other"}})
	}
	synctest.Wait()
}

func TestAChainThatGoesOnOnDiskKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		second, third, end := make(chan struct{}), make(chan struct{}), make(chan struct{})
		d.handle = func(seq int64) error {
			switch seq {
			case 0:
				<-end
			case keys + 1:
				<-third
			case keys + 3:
				<-second
			}
			return nil
		}
		d.start(t)
		t.Cleanup(func() { close(end) })
		d.fill(t, keys)
		d.commit(row{seq: keys + 1, record: 3}, row{seq: keys + 2, record: 3})
		synctest.Wait()
		d.commit(row{seq: keys + 3, record: 2}, row{seq: keys + 5, record: 2}) // no key for the last
		d.put(row{seq: keys + 4, record: 2})                                   // nor for what is seen late
		d.Look(false)
		synctest.Wait()
		close(third)
		synctest.Wait()
		d.commit(row{seq: keys + 6, record: 2}) // now there is one, and it must not go ahead
		d.scanned = func(_, record int64) {
			if record == 0 {
				return
			}
			d.scanned = nil
			d.commit(row{seq: keys + 7, record: 2}) // while the page is on its way
			d.loading = func() {
				d.loading = nil
				d.commit(row{seq: keys + 8, record: 2}) // and before the first of it runs
			}
		}
		close(second)
		synctest.Wait()
		want := []int{keys + 3, keys + 4, keys + 5, keys + 6, keys + 7, keys + 8}
		if got := slices.DeleteFunc(d.ran, func(id string) bool { return id == "other" || id == fmt.Sprint(keys+1) || id == fmt.Sprint(keys+2) }); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the record ran %v, want %v", got, want)
		}
	})
}

// Those that wait for their time stand in front of what goes on on disk, and may fill pages.
func TestAChainOnDiskGoesOnBehindThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.shared, d.sub.OnFailure = true, delivery.Skip
		first, end := make(chan struct{}), make(chan struct{})
		d.handle = func(seq int64) error {
			switch seq {
			case 0:
				<-end
			case keys + 1000:
				<-first
			}
			return nil
		}
		d.start(t)
		t.Cleanup(func() { close(end) })
		d.fill(t, keys+1)
		for seq := int64(keys + 100); seq < keys+700; seq++ {
			d.put(row{seq: seq, record: 2, due: time.Now().Add(time.Hour)})
		}
		d.put(row{seq: keys + 1000, record: 2}, row{seq: keys + 1001, record: 2}, row{seq: keys + 1002, record: 2})
		d.Look(false)
		synctest.Wait()
		looks := 0
		d.scanned = func(int64, int64) {
			if looks++; looks == 1000 {
				d.Subscribe(nil)
			}
		}
		close(first)
		synctest.Wait()
		d.hasRun(t, fmt.Sprint("other ", keys+1000, " ", keys+1001, " ", keys+1002))
		if looks > 20 {
			t.Errorf("it took %d reads", looks)
		}
	})
}
