package main

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// dutyDies is F18: the process that deletes old events, for all, is killed before it has come to it.
// Another does so instead, and nobody but the one whose turn it is.
func dutyDies(ctx context.Context, r *round) error {
	r.rules.forgets = true
	rs, err := r.newReplicas(ctx, func(p *project) { p.retention = "2s" })
	defer rs.close()
	if err != nil {
		return err
	}
	var slowest time.Duration
	times := max(1, int(r.duration/(2*time.Minute)))
	for n := range times {
		if n > 0 {
			if err := rs.awaitShares(ctx); err != nil {
				return err
			}
		}
		took, err := rs.passDuty(ctx)
		if err != nil {
			return err
		}
		slowest = max(slowest, took)
	}
	r.count("the duty passed %d times, in %s at most", times, slowest.Round(100*time.Millisecond))
	return r.end(ctx, rs.victims...)
}

// passDuty sends some events, kills the process that would delete them, and waits until they are
// gone. It starts that process again.
func (rs *replicas) passDuty(ctx context.Context) (took time.Duration, err error) {
	r := rs.r
	from := len(r.load.entries)
	r.load.begin(ctx, rs.projects...)
	if err := r.load.more(ctx, 200, 20*time.Second); err != nil {
		return 0, err
	}
	r.load.finish(20 * time.Second)
	if err := r.drain(ctx, 20*time.Second); err != nil {
		return 0, err
	}
	sent := time.Now()
	if err := rs.checkAll(ctx, from); err != nil {
		return 0, err
	}
	// The one whose duty it is looks once a minute: until its next look all is left as it is.
	if err := until(ctx, "the events are too old", 10*time.Second, func() bool { return time.Since(sent) > 3*time.Second }); err != nil {
		return 0, err
	}
	if n, err := r.countRows(ctx, "SELECT count(*) FROM events"); err != nil || n != len(r.load.entries)-from {
		r.fail("I2", "of %d events that are too old %d are left though it was nobody's turn to delete them (%v)", len(r.load.entries)-from, n, err)
	}
	holder, err := rs.holderOf(ctx, 0)
	if err != nil || holder < 0 {
		return 0, cmp.Or(err, errors.New("nobody holds the first shard"))
	}
	rs.victims[holder].kill()
	killed := time.Now()
	if err := rs.gone(ctx, holder); err != nil {
		return 0, err
	}
	if took = time.Since(killed); took > takeoverWithin {
		r.fail("I7", "old events were deleted %s after the process was killed whose duty it was", took.Round(time.Millisecond))
	}
	if rs.victims[holder], err = r.start(ctx, rs.projects[holder], r.readyWithin()); err != nil {
		return took, err
	}
	return took, nil
}

// gone waits until everything is deleted, by another than the one that was killed.
func (rs *replicas) gone(ctx context.Context, killed int) error {
	var left int
	var failed error
	err := until(ctx, "another process deletes what is too old", 2*takeoverWithin, func() bool {
		left, failed = rs.r.countRows(ctx, "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM deliveries) + (SELECT count(*) FROM attempts)")
		return failed != nil || left == 0
	})
	if err := cmp.Or(failed, err); err != nil {
		return err
	}
	holder, err := rs.holderOf(ctx, 0)
	if err == nil && (holder < 0 || holder == killed) {
		rs.r.fail("I7", "old events are deleted, and the first shard is still held by the process that was killed")
	}
	return err
}

// checkAll judges that all is stored and delivered, while it can still be seen.
func (rs *replicas) checkAll(ctx context.Context, from int) error {
	r := rs.r
	s, err := r.readStored(ctx, rs.db)
	if err != nil {
		return err
	}
	for _, e := range r.load.entries[from:] {
		if at := s.bySum[e.sum]; e.id != "" && at == nil {
			r.fail("I1", "event %s was acknowledged and is gone before its time", e.id)
		}
	}
	r.checkDeliveries(s)
	return nil
}
