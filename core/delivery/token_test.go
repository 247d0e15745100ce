package delivery_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestARecordKeepsItsOrderWhenItsTokenIsLostAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		for seq := int64(1); seq <= 40; seq++ { // more than are read ahead
			d.put(row{seq: seq, record: 64})
		}
		gone := make(chan struct{})
		d.handle = func(seq int64) error {
			if seq == 1 {
				<-gone
			}
			return nil
		}
		d.start(t)
		d.serve(0, errors.New("the database is away"))
		close(gone)
		pass(time.Minute)
		d.serve(1, nil)
		pass(time.Minute)
		d.hasRun(t, "1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40")
	})
}

func TestAResultThatDoesNotCountLeavesItsPlaceInTheOrder(t *testing.T) {
	for _, test := range []struct {
		name string
		slow bool // the token changes when the attempt has ended and its result is not on disk yet
	}{{"the token changes during the attempt", false}, {"the token changes behind the attempt", true}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk()
				d.slow = test.slow
				change := make(chan struct{})
				d.handle = func(seq int64) error {
					if seq == 1 && !test.slow {
						<-change
					}
					return nil
				}
				d.put(row{seq: 1, record: 64})
				d.start(t)
				d.serve(3, nil) // lost, and back
				if !test.slow {
					d.Look(true)
				}
				close(change)
				d.mu.Lock()
				d.slow = false
				d.mu.Unlock()
				d.save()
				d.commit(row{seq: 2, record: 64})
				pass(time.Minute)
				d.hasRun(t, "1 1 2")
			})
		})
	}
}

func TestARetryThatWaitsWhileTheLeaseHasLapsedIsMadeAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.put(row{seq: 1, record: 64, due: time.Now().Add(time.Hour)}, row{seq: 2, record: 64})
		d.start(t)
		pass(50 * time.Minute)
		d.serve(0, errors.New("the database is away"))
		pass(20 * time.Minute)
		d.hasRun(t, "")
		d.serve(1, nil) // renewed, under the same token: nobody says that there is more
		pass(5 * time.Second)
		d.hasRun(t, "1 2")
	})
}
