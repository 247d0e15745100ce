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

// Bodies that an attempt does not need must not be in memory while the rest of a burst is read.
func TestOfABurstOneBodyIsKeptInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := gathers()
		var bodies []weak.Pointer[byte]
		d.fresh = func() []byte {
			body := make([]byte, 1<<10)
			bodies = append(bodies, weak.Make(&body[0]))
			return body
		}
		most := 0
		alive := func() {
			runtime.GC()
			n := 0
			for _, body := range bodies {
				if body.Value() != nil {
					n++
				}
			}
			most = max(most, n)
		}
		d.loading = alive
		d.handle = func(int64) error { alive(); return nil }
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
