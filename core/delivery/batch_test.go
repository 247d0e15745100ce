package delivery_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/delivery"
)

func TestOnlyWhatIsKnownToBeQuickIsGivenSeveralEventsAtOnce(t *testing.T) {
	for _, test := range []struct {
		name string
		took time.Duration
		most int
	}{{"calls of no time", 0, 64}, {"calls of 0.4 milliseconds", 400 * time.Microsecond, 4}, {"calls of ten milliseconds", 10 * time.Millisecond, 1}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk()
				c := &crew{Listener: d.sub.Listener}
				d.sub.Listener, d.sub.Concurrency = c, 1
				d.handle = func(int64) error { time.Sleep(test.took); return nil }
				d.put(rows(1, 500)...)
				d.start(t)
				pass(time.Minute)
				if len(d.ran) != 500 || c.sizes[0] != 1 || c.largest() != test.most {
					t.Errorf("%d events in batches of %v, want 500, one first and %d at most", len(d.ran), c.sizes, test.most)
				}
			})
		})
	}
}

func TestABatchHasOneEventOfARecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := crewed(t, 1, nil)
		var all []row
		for seq := int64(101); seq <= 112; seq++ {
			all = append(all, row{seq: seq, record: 200 + seq%3})
		}
		d.behind(c, all...)
		d.hasRun(t, "99 101 102 103 104 105 106 107 108 109 110 111 112")
		if got := fmt.Sprint(c.sizes); got != "[1 3 3 3 3]" {
			t.Errorf("batches of %s, want one of each of the three records", got)
		}
	})
}

func TestABatchIsNotMoreThanAMessageCanHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := crewed(t, 1, func(d *disk) { d.fresh = func() []byte { return make([]byte, 300<<10) } })
		d.behind(c, rows(101, 10)...)
		if len(d.ran) != 11 || c.largest() != 3 {
			t.Errorf("%d ran in batches of %v, want 11, and 3 at most", len(d.ran), c.sizes)
		}
	})
}

func TestNoWorkerTakesMoreThanItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := crewed(t, 4, nil)
		c.hold(100, 101, 102, 103)
		d.commit(rows(100, 4)...)
		synctest.Wait()
		d.commit(rows(104, 36)...)
		c.letGo(100, 101, 102, 103)
		if len(d.ran) != 40 || c.largest() != 9 {
			t.Errorf("%d ran in batches of %v, want 40 and a quarter of 36 at most", len(d.ran), c.sizes)
		}
	})
}

func TestWhatIsBehindALongCallIsGivenToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := crewed(t, 2, nil)
		c.hold(100, 101, 102)
		d.commit(rows(100, 2)...) // both workers are busy
		synctest.Wait()
		d.commit(rows(102, 8)...)
		c.letGo(100)
		d.hasRun(t, "100 101 102")
		c.letGo(101)
		pass(time.Second)
		if d.hasRun(t, "100 101 102 106 107 108 109 103 104 105"); c.noted() != "102" {
			t.Errorf("%s are noted as running, want 102", c.noted())
		}
		c.letGo(102)
	})
}

func TestWhatIsOnItsWayIsNotNotedBeforeItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := crewed(t, 1, nil)
		c.ahead = 3
		c.hold(102, 103)
		d.behind(c, rows(101, 5)...)
		if d.hasRun(t, "99 101 102"); c.noted() != "102" {
			t.Errorf("%s are noted as running, want 102", c.noted())
		}
		d.pause(true)
		c.letGo(102)
		if d.hasRun(t, "99 101 102 103"); c.noted() != "103" {
			t.Errorf("%s are noted as running, want 103", c.noted())
		}
		c.letGo(103)
		d.hasRun(t, "99 101 102 103")
		d.pause(false)
		pass(10 * time.Second)
		d.hasRun(t, "99 101 102 103 104 105")
	})
}

func TestABatchIsCalledBack(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(d *disk)
		want string // what has begun when all that can has
		then func(d *disk)
		last string // and what then begins
	}{
		{"a pause leaves the rest to its end", func(d *disk) { d.pause(true) }, "101", func(d *disk) { d.pause(false) }, "101 102 103 104"},
		{"who is not subscribed begins no other", func(d *disk) { d.Subscribe(nil) }, "101", func(d *disk) { d.Subscribe([]delivery.Subscription{d.sub}) }, "101 102 103 104"},
		{"another version is given the rest", func(d *disk) { d.Subscribe([]delivery.Subscription{d.sub}) }, "101 102 103 104", nil, ""},
		{"what was cancelled by hand does not run", func(d *disk) { d.cancel(102, 104) }, "101 103", nil, ""},
		{"a breaker that opens leaves the rest to the end of its pause", func(*disk) {}, "101", func(*disk) { time.Sleep(time.Hour) }, "101 102 103 104 101"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, c := crewed(t, 1, func(d *disk) {
					d.sub.Breaker = delivery.Breaker{Failures: 1, Pause: 30 * time.Minute}
				})
				if strings.Contains(test.name, "breaker") {
					c.errs[101] = errors.New("down")
				}
				c.hold(101)
				d.behind(c, rows(101, 4)...)
				test.do(d)
				synctest.Wait()
				c.letGo(101)
				pass(10 * time.Second)
				d.hasRun(t, "99 "+test.want)
				if c.noted() != "" {
					t.Errorf("%s are noted as running", c.noted())
				}
				if test.then == nil {
					return
				}
				test.then(d)
				pass(10 * time.Second)
				d.hasRun(t, "99 "+test.last)
			})
		})
	}
}

// pause pauses the listener, or resumes it, and lets the engine know.
func (d *disk) pause(on bool) {
	d.mu.Lock()
	d.paused = on
	d.mu.Unlock()
	d.Look(true)
}

// cancel takes deliveries away as somebody does by hand.
func (d *disk) cancel(seqs ...int64) {
	d.mu.Lock()
	d.edits++
	d.rows = slices.DeleteFunc(d.rows, func(r row) bool { return slices.Contains(seqs, r.seq) })
	d.mu.Unlock()
	d.Look(true)
}

func TestAStopDoesNotWaitForTheRestOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := crewed(t, 1, nil)
		c.hold(101)
		d.behind(c, rows(101, 4)...)
		d.stop()
		synctest.Wait()
		c.letGo(101)
		d.hasRun(t, "99 101")
		d.check(t, "came to", d.told, "99 done 101 done")
	})
}

func TestAnAttemptSaysWhichVersionRan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := crewed(t, 1, func(d *disk) {
			d.slow = true
			d.sub.Code = func() string { return "another" }
		})
		d.behind(c, rows(101, 3)...)
		for _, a := range d.results[40:] {
			if want := fmt.Sprint("v", a.Seq); a.Code != want || a.Number != 1 || a.State != core.Done {
				t.Errorf("attempt %+v, want version %s", a, want)
			}
		}
	})
}

func TestAListenerThatReturnsEarlyIsGivenTheRestAgain(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(c *crew)
		ran  string
		told string
	}{
		{
			"its runner ended with one of them", func(c *crew) {
				c.errs[102] = &core.Error{Kind: core.Crashed, Msg: "the runner ended"}
				c.leave = func(id string) bool { return id == "102" }
			}, "99 101 102 103 104", "99 done 101 done 102 pending 103 done 104 done",
		},
		{
			"it asked ahead, and says nothing of what it did not do", func(c *crew) {
				c.ahead = 2
				c.leave = func(id string) bool { return id == "101" }
			}, "99 101 103 104", "99 done 101 done 102 pending 103 done 104 done",
		},
		{
			"it never does anything", func(c *crew) { c.mute = true },
			"99", "99 done 101 pending 102 pending 103 pending 104 pending",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, c := crewed(t, 1, nil)
				c.hold(99)
				d.commit(row{seq: 99, record: 99})
				synctest.Wait()
				test.set(c)
				d.commit(rows(101, 4)...)
				c.letGo(99)
				pass(time.Second)
				d.hasRun(t, test.ran)
				d.check(t, "came to", d.told, test.told)
			})
		})
	}
}

func TestAPanicInABatchFailsTheEventThatWasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := crewed(t, 1, func(d *disk) {
			handle := d.handle
			d.handle = func(seq int64) error {
				if seq == 102 {
					panic("boom")
				}
				return handle(seq)
			}
		})
		d.behind(c, rows(101, 4)...)
		d.check(t, "came to", d.told, "99 done 101 done 102 pending 103 done 104 done")
	})
}

func TestWhatNeedsNoCallIsNotInABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		d, c := crewed(t, 1, func(d *disk) { d.sub.DropStale = true })
		d.newest[102] = now
		all := rows(101, 4)
		all[1].occurred, all[2].crashes = now.Add(-time.Hour), 3
		d.behind(c, all...)
		d.hasRun(t, "99 101 104")
		d.check(t, "came to", d.told, "99 done 102 skipped 103 quarantined 101 done 104 done")
		if c.largest() != 2 {
			t.Errorf("batches of %v, want one of two", c.sizes)
		}
	})
}

func TestEventsThatAreNotStoredAreInABatchToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := crewed(t, 1, nil)
		c.hold(99)
		d.commit(row{seq: 99, record: 99})
		synctest.Wait()
		for seq := range 3 {
			ev := deal()
			ev.ID = fmt.Sprint(201 + seq)
			if err := d.Offer(*ev, []string{"a"}); err != nil {
				t.Fatal(err)
			}
		}
		c.errs[202] = &core.Error{Kind: core.Permanent, Msg: "never"}
		d.commit(rows(101, 2)...)
		c.letGo(99)
		if d.hasRun(t, "99 201 202 203 101 102"); fmt.Sprint(c.sizes) != "[1 5]" {
			t.Errorf("batches of %v", c.sizes)
		}
	})
}

func TestASuspiciousListenerIsGivenOneEventAtATime(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(d *disk, c *crew)
	}{
		{"a call was long", func(_ *disk, c *crew) { c.hold(100); time.AfterFunc(time.Second, func() { close(c.gates[100]) }) }},
		{"its runner ended", func(_ *disk, c *crew) { c.errs[100] = &core.Error{Kind: core.Crashed, Msg: "the runner ended"} }},
		{"it was replaced", func(d *disk, _ *crew) { d.Subscribe([]delivery.Subscription{d.sub}) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, c := crewed(t, 1, nil)
				test.set(d, c)
				d.commit(rows(100, 1)...)
				synctest.Wait()
				d.commit(rows(101, 10)...)
				pass(time.Minute)
				if len(d.ran) != 11 || c.sizes[0] != 1 || c.sizes[1] != 1 {
					t.Errorf("%v ran in batches of %v, want the first after it alone", d.ran, c.sizes)
				}
			})
		})
	}
}
