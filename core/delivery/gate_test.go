package delivery_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/delivery"
)

func TestASkippedDeliveryDoesNotCloseTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.sub.DropStale, d.sub.Concurrency = true, 1
		d.sub.Breaker = delivery.Breaker{Failures: 1, Pause: time.Minute}
		d.handle = func(seq int64) error {
			if seq == 2 {
				return errors.New("down")
			}
			return nil
		}
		d.start(t)
		now := time.Now()
		d.commit(row{seq: 1, record: 1, occurred: now})
		synctest.Wait()
		d.commit(row{seq: 2, record: 2, occurred: now})
		synctest.Wait()
		d.commit(row{seq: 3, record: 1, occurred: now.Add(-time.Hour)})
		pass(2 * time.Minute)
		if d.check(t, "came to", d.told, "1 done 2 pending 3 skipped"); !d.Standing()["a"].Open {
			t.Error("a delivery that did not reach the listener closed its breaker")
		}
	})
}

func TestTheBreakerCountsEventsThatAreNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.sub.Concurrency, d.sub.Retry.Attempts = 1, 1
		d.sub.Breaker = delivery.Breaker{Failures: 3, Pause: time.Hour}
		d.handle = func(int64) error { return errors.New("down") }
		d.start(t)
		for range 20 {
			if err := d.Offer(*deal(), []string{"a"}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(d.ran) != 3 {
			t.Errorf("%d calls, want 3", len(d.ran))
		}
	})
}

func TestAListenerThatAsksForTimeIsNotLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.sub.Concurrency = 1
		d.sub.Breaker = delivery.Breaker{Failures: 1, Pause: time.Hour}
		d.handle = func(seq int64) error {
			if seq < 3 {
				return &core.Error{Kind: core.Unavailable, Msg: "at night", RetryAfter: 2 * time.Hour}
			}
			return nil
		}
		d.start(t)
		for seq := int64(1); seq <= 3; seq++ {
			d.commit(row{seq: seq, record: seq})
			synctest.Wait()
		}
		d.hasRun(t, "1 2 3")
	})
}

func TestAListenerThatCanNotBeReachedIsTriedAgainSoonWhenNobodyKnowsWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk() // whose retries are an hour apart
		tries := 0
		d.handle = func(int64) error {
			if tries++; tries < 4 {
				return &core.Error{Kind: core.Unreached, Msg: "it is being replaced"}
			}
			return nil
		}
		d.start(t)
		d.commit(row{seq: 1, record: 1})
		pass(10 * time.Second)
		d.check(t, "came to", d.told, "1 pending 1 pending 1 pending 1 done")
	})
}

func TestAListenerThatCanNotBeReachedUsesUpNoAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.sub.Concurrency, d.sub.Retry.Attempts = 4, 2
		away, tries := true, 0
		d.handle = func(int64) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			if tries++; away {
				return &core.Error{Kind: core.Unreached, Msg: "it does not run", RetryAfter: time.Minute}
			}
			return nil
		}
		d.start(t)
		d.commit(row{seq: 1, record: 1})
		synctest.Wait()
		for seq := int64(2); seq <= 5; seq++ {
			d.commit(row{seq: seq, record: seq % 3})
		}
		pass(time.Hour - time.Second)
		if !d.Standing()["a"].Open {
			t.Error("nobody would know that its deliveries wait")
		}
		d.mu.Lock()
		if tries < 30 || tries > 70 {
			t.Errorf("it was tried %d times in an hour, want about one a minute", tries)
		}
		for _, told := range d.told {
			if !strings.HasSuffix(told, " pending") {
				t.Errorf("came to %s", told)
			}
		}
		for _, r := range d.rows {
			if r.tried != 0 {
				t.Errorf("delivery %d has %d attempts", r.seq, r.tried)
			}
		}
		d.ran, d.told, away = nil, nil, false
		d.mu.Unlock()
		pass(2 * time.Minute)
		d.mu.Lock()
		ran := slices.Clone(d.ran)
		d.mu.Unlock()
		if len(ran) != 5 || slices.Index(ran, "1") > slices.Index(ran, "4") || slices.Index(ran, "2") > slices.Index(ran, "5") {
			t.Errorf("it handled %v, want each once, in the order of its record", ran)
		}
		if d.Standing()["a"].Open {
			t.Error("it still counts as one that can't be reached")
		}
	})
}
