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
		d.scanned = func(int64, int64) { time.Sleep(time.Millisecond) } // the others are quicker
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
		name   string
		during bool
	}{{"the token changes during the attempt", true}, {"the token changes before the result is saved", false}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk()
				d.slow = true
				end := make(chan struct{})
				d.handle = func(seq int64) error {
					<-end
					return nil
				}
				d.put(row{seq: 1, record: 64})
				d.start(t)
				if !test.during {
					close(end)
					synctest.Wait()
				}
				d.serve(3, nil) // lost, and back
				d.Look(true)
				d.commit(row{seq: 2, record: 64})
				synctest.Wait()
				if test.during {
					close(end)
				}
				for range 3 {
					pass(time.Second)
					d.save()
				}
				d.hasRun(t, "1 1 2")
			})
		})
	}
}

func TestWhatIsLostIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.slow = true
		d.put(row{seq: 1, record: 64})
		d.start(t)
		d.mu.Lock()
		lost := d.results
		d.results, d.slow = nil, false
		d.mu.Unlock()
		d.Lost(lost)
		d.commit(row{seq: 2, record: 64})
		synctest.Wait()
		d.hasRun(t, "1 1 2")
	})
}

func TestARetryThatWaitsWhileTheLeaseHasLapsedIsMadeAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.put(row{seq: 1, record: 64, due: time.Now().Add(time.Hour)}, row{seq: 2, record: 128})
		d.start(t)
		pass(59*time.Minute + 50*time.Second)
		d.serve(0, errors.New("the database is away"))
		pass(15 * time.Second)
		d.serve(1, nil) // renewed, under the same token: nobody says that there is more
		pass(5 * time.Second)
		d.hasRun(t, "2 1")
	})
}

// A read that finds nothing because nothing is served is not the end of what is pending.
func TestALeaseThatLapsesInTheMiddleOfALookLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.put(waiting(1500)...)
		d.put(row{seq: 2000, record: 5000}) // on the third page
		d.scanned = func(after, _ int64) {
			if after > 0 {
				d.scanned = nil
				d.serve(0, nil)
			}
		}
		d.start(t)
		d.serve(1, nil)
		d.commit(row{seq: 3000, record: 5000})
		synctest.Wait()
		d.hasRun(t, "2000 3000")
	})
}
