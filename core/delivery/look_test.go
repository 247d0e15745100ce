package delivery_test

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/delivery"
)

// waiting are deliveries of a record each that failed and wait for an hour.
func waiting(n int) (rows []row) {
	for seq := int64(1); seq <= int64(n); seq++ {
		rows = append(rows, row{seq: seq, record: seq, due: time.Now().Add(time.Hour)})
	}
	return rows
}

func TestALookFromFurtherBackReachesItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.put(waiting(600)...)
		d.put(row{seq: 700, record: 700})
		d.start(t)
		d.put(row{seq: 650, record: 650}) // its number was drawn before 700's
		var looks int
		d.scanned = func(after, _ int64) {
			if looks++; after == 0 && looks < 1000 { // others keep coming
				d.Return("a", d.Reserve("a", 1<<30), true)
			}
		}
		d.Look(false)
		synctest.Wait()
		d.hasRun(t, "700 650")
		if looks > 10 {
			t.Errorf("it took %d reads", looks)
		}
	})
}

func TestWakeUpsDoNotKeepALookFromGoingOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.put(waiting(3000)...)
		d.put(row{seq: 5000, record: 5000})
		looks, last := 0, false
		d.scanned = func(after, _ int64) {
			looks++
			if last = last || after > 2500; !last && looks < 1000 {
				d.Look(false)
			}
		}
		d.start(t)
		d.hasRun(t, "5000")
		if looks > 20 {
			t.Errorf("it took %d reads", looks)
		}
	})
}

func TestAReloadInTheMiddleOfALookKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		for seq := int64(1); seq < 600; seq++ { // more than a page
			d.put(row{seq: seq, record: 1})
		}
		d.rows[1].record = 7
		d.put(row{seq: 600, record: 7})
		d.sub.Concurrency = 1
		reload := sync.OnceFunc(func() {
			other := d.sub
			other.OnFailure = delivery.Skip
			d.Subscribe([]delivery.Subscription{other})
		})
		d.scanned = func(after, _ int64) {
			if after > 0 { // the second page
				reload()
			}
		}
		open := make(chan struct{})
		d.handle = func(int64) error { <-open; return nil }
		d.start(t)
		close(open)
		synctest.Wait()
		if second, last := slices.Index(d.ran, "2"), slices.Index(d.ran, "600"); len(d.ran) != 600 || second > last {
			t.Errorf("%d ran, record 7's first as number %d and its second as number %d", len(d.ran), second, last)
		}
	})
}

func TestAFullQueueDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.sub.Concurrency = 1
		open := make(chan struct{})
		free := sync.OnceFunc(func() { close(open) })
		failed := false
		d.handle = func(int64) error {
			if !failed {
				failed = true
				return &core.Error{Kind: core.Unavailable, Msg: "later", RetryAfter: time.Minute}
			}
			<-open
			return nil
		}
		var looks atomic.Int64
		const most = 1000
		d.now = func() time.Time {
			if looks.Add(1) > most {
				free()
			}
			return time.Now()
		}
		d.start(t)
		d.commit(row{seq: 1, record: 1})
		synctest.Wait()
		for seq := int64(2); seq < 700; seq++ {
			d.commit(row{seq: seq, record: seq})
		}
		looks.Store(0)
		pass(2 * time.Minute) // the failed one is due, and there is no room for it
		if n := looks.Load(); n > most {
			t.Errorf("the clock was read %d times in two minutes in which nothing happened", n)
		}
		free()
		synctest.Wait()
		if len(d.told) != 700 {
			t.Errorf("%d attempts, want 700", len(d.told))
		}
	})
}

func TestWhatIsReadAheadDoesNotTakeAllTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const records, each = 16, 33
		d := newDisk()
		body := make([]byte, 64<<10)
		d.fresh = func() []byte { return body }
		for seq := int64(0); seq < records*each; seq++ {
			d.put(row{seq: seq + 1, record: seq%records + 1})
		}
		var mu sync.Mutex
		failed := map[int64]bool{}
		d.handle = func(seq int64) error {
			mu.Lock()
			defer mu.Unlock()
			if record := seq % records; !failed[record] {
				failed[record] = true
				return errors.New("the first attempt of each record fails")
			}
			return nil
		}
		d.start(t)
		pass(2 * time.Hour)
		if want := records * (each + 1); len(d.ran) != want {
			t.Errorf("%d attempts were made, want %d", len(d.ran), want)
		}
	})
}

func TestSkipLetsARecordGoAheadAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.sub.OnFailure = delivery.Skip
		d.put(row{seq: 1, record: 1, tried: 1}, row{seq: 2, record: 1, tried: 1, due: time.Now().Add(time.Hour)})
		d.start(t)
		d.commit(row{seq: 3, record: 1})
		synctest.Wait()
		d.hasRun(t, "1 3")
		pass(2 * time.Hour)
		d.hasRun(t, "1 3 2")
	})
}

func TestAReloadRightBehindAFailureDoesNotRepeatItAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.slow = true
		d.handle = func(int64) error { return &core.Error{Kind: core.Unavailable, Msg: "later", RetryAfter: time.Hour} }
		d.put(row{seq: 1, record: 1})
		d.start(t)
		other := d.sub
		other.OnFailure = delivery.Skip
		d.Subscribe([]delivery.Subscription{other})
		pass(time.Minute)
		d.hasRun(t, "1")
		d.save()
		pass(2 * time.Hour)
		d.hasRun(t, "1 1")
	})
}

func TestBodiesThatFindNoRoomWaitOnDiskAndAreNotLookedForAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		body, open := make([]byte, 1<<20), make(chan struct{})
		d.fresh = func() []byte { return body }
		d.handle = func(int64) error { <-open; return nil }
		for seq := int64(1); seq <= 50; seq++ {
			d.put(row{seq: seq, record: seq})
		}
		d.start(t)
		looks := 0
		d.scanned = func(int64, int64) {
			if looks++; looks == 1000 {
				d.Return("a", false, false)
			}
		}
		d.Reserve("a", 1<<20) // a transaction that takes its time
		pass(time.Minute)
		if looks > 100 {
			t.Errorf("%d looks in a minute in which nothing came", looks)
		}
		if len(d.loaded) > 30 {
			t.Errorf("%d bodies of 1 MiB are in memory", len(d.loaded))
		}
		close(open)
		pass(time.Minute)
		if len(d.ran) != 50 {
			t.Errorf("%d ran, want 50", len(d.ran))
		}
	})
}

func TestAFailureWhileTheListenerIsGoneKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		end, failed := make(chan struct{}), false
		d.handle = func(int64) error {
			<-end
			if !failed {
				failed = true
				return errors.New("no")
			}
			return nil
		}
		d.slow = true
		d.put(row{seq: 1, record: 1}, row{seq: 2, record: 1})
		d.start(t)
		d.Subscribe(nil)
		close(end)
		synctest.Wait()
		d.Subscribe([]delivery.Subscription{d.sub}) // before the failure is on disk
		for range 100 {
			pass(time.Minute)
			d.save()
		}
		d.hasRun(t, "1 1 2")
	})
}

// Every event that waits in a spool wakes the lanes while the database is away.
func TestAStoreThatCannotBeReadIsNotAskedForEveryEventThatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.start(t)
		d.unreadable(errors.New("the database is away"))
		before := d.looks()
		for range 1000 {
			d.Look(false)
			pass(10 * time.Millisecond)
		}
		if n := d.looks() - before; n == 0 || n > 10 {
			t.Errorf("it was asked %d times in 10 seconds", n)
		}
		d.unreadable(nil)
		d.put(row{seq: 1, record: 1})
		pass(3 * time.Second)
		d.hasRun(t, "1")
	})
}
