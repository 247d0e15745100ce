package delivery_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/delivery"
)

func TestARecordOfWhichSeveralRunWhenItGetsAnOrderWaitsForAllOfThem(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			d.sub.Order = delivery.Unordered
			gates := map[int64]chan struct{}{1: make(chan struct{}), 2: make(chan struct{}), 3: make(chan struct{})}
			d.handle = func(seq int64) error {
				if gate := gates[seq]; gate != nil {
					<-gate
				}
				return nil
			}
			d.start(t)
			for seq := int64(1); seq <= 3; seq++ {
				d.commit(row{seq: seq, record: 64})
				synctest.Wait()
			}
			d.sub.Order = delivery.ByRecord
			d.Subscribe([]delivery.Subscription{d.sub})
			d.commit(row{seq: 4, record: 64})
			for _, seq := range []int64{2, 1} {
				close(gates[seq])
				pass(5 * time.Second)
				d.hasRun(t, "1 2 3")
			}
			close(gates[3])
			synctest.Wait()
			d.hasRun(t, "1 2 3 4")
		})
	}
}

// With skip an event goes ahead of one that waits. Once failures block, the one that waits is first again.
func TestAFailureThatBlocksFromNowOnKeepsItsPlace(t *testing.T) {
	for _, test := range []struct {
		name string
		with delivery.Subscription
	}{
		{"the other went ahead because failures were skipped", delivery.Subscription{OnFailure: delivery.Skip}},
		{"both ran when there was no order", delivery.Subscription{Order: delivery.Unordered}},
	} {
		for _, saved := range []bool{true, false} {
			for _, waits := range [][2]time.Duration{{20 * time.Minute, 10 * time.Minute}, {10 * time.Minute, 20 * time.Minute}} {
				t.Run(fmt.Sprintf("%s, which is on disk %v, waits %v", test.name, saved, waits), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { blocksFromNowOn(t, test.with, saved, waits) })
				})
			}
		}
	}
}

func blocksFromNowOn(t *testing.T, with delivery.Subscription, saved bool, waits [2]time.Duration) {
	d := newDisk()
	d.sub.OnFailure, d.sub.Order = with.OnFailure, with.Order
	gates := map[int64]chan struct{}{1: make(chan struct{}), 2: make(chan struct{})}
	failed := map[int64]bool{}
	d.handle = func(seq int64) error {
		if gate := gates[seq]; gate != nil {
			<-gate
		}
		if seq > 2 || failed[seq] {
			return nil
		}
		failed[seq] = true
		return &core.Error{Kind: core.Unavailable, Msg: "later", RetryAfter: waits[seq-1]}
	}
	d.slow = !saved
	d.start(t)
	d.commit(row{seq: 1, record: 64})
	synctest.Wait()
	if with.OnFailure == delivery.Skip {
		close(gates[1])
		synctest.Wait()
	}
	d.commit(row{seq: 2, record: 64})
	synctest.Wait()
	d.sub.OnFailure, d.sub.Order = delivery.Block, delivery.ByRecord
	d.Subscribe([]delivery.Subscription{d.sub})
	d.commit(row{seq: 3, record: 64})
	synctest.Wait()
	if with.OnFailure != delivery.Skip {
		close(gates[1])
		synctest.Wait()
	}
	close(gates[2])
	synctest.Wait()
	d.mu.Lock()
	d.slow = false
	d.mu.Unlock()
	d.save()
	pass(time.Hour)
	d.hasRun(t, "1 2 1 2 3")
}

func TestAFailureThatIsNotOnDiskHoldsItsRecordFromNowOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.sub.Order, d.slow = delivery.Unordered, true
		gate, failed := make(chan struct{}), false
		d.handle = func(seq int64) error {
			switch {
			case seq == 1 && !failed:
				failed = true
				return &core.Error{Kind: core.Unavailable, Msg: "later", RetryAfter: time.Minute}
			case seq == 2:
				<-gate
			}
			return nil
		}
		d.start(t)
		for seq := int64(1); seq <= 2; seq++ {
			d.commit(row{seq: seq, record: 64})
			synctest.Wait()
		}
		d.sub.Order = delivery.ByRecord
		d.Subscribe([]delivery.Subscription{d.sub})
		d.commit(row{seq: 3, record: 64})
		synctest.Wait()
		close(gate)
		pass(time.Hour)
		d.hasRun(t, "1 2")
		d.mu.Lock()
		d.slow = false
		d.mu.Unlock()
		d.save()
		pass(time.Hour)
		d.hasRun(t, "1 2 1 3")
	})
}

func TestARecordGoesOnAfterABurstThatRanDuringALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.sub.Coalesce = delivery.Coalesce{Quiet: time.Second, Max: time.Minute}
		gate := make(chan struct{})
		d.handle = func(seq int64) error {
			if seq == 3 {
				<-gate
			}
			return nil
		}
		d.start(t)
		d.commit(row{seq: 1, record: 64}, row{seq: 2, record: 64}, row{seq: 3, record: 64})
		pass(2 * time.Second)
		d.Look(true)
		synctest.Wait()
		d.commit(row{seq: 4, record: 64})
		pass(2 * time.Second)
		d.hasRun(t, "3")
		close(gate)
		pass(4 * time.Second)
		d.hasRun(t, "3 4")
	})
}
