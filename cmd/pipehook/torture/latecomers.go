package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"
)

// pipedriveTries is when Pipedrive tries again, a hundred times as fast.
var pipedriveTries = []time.Duration{30 * time.Millisecond, 300 * time.Millisecond, 1500 * time.Millisecond}

// change is an event in the hands of a sender that does not wait for one before it sends the next.
type change struct {
	entry *entry
	body  []byte // of the first try
	tries int
	due   time.Time
}

// latecomers is F33: the first tries of random events fail, so that they come again after newer
// changes of their record, and the process is killed now and then. The order is that of acceptance;
// a listener that drops what is stale ends with the newest of each record; and one that gathers is
// given each event once.
func latecomers(ctx context.Context, r *round) error {
	r.rules.listeners = []string{"gathering", "latest", "ordered"}
	r.rules.skips = map[string]string{"latest": becauseStale, "gathering": becauseGathered}
	r.rules.also = func(s *stored) {
		r.checkStale(s, "latest")
		r.checkGathered(s, "gathering")
	}
	p, err := r.newProject()
	if err != nil {
		return err
	}
	lasts, kills := r.duration/5, max(2, int(r.duration/time.Minute))
	if r.short {
		lasts = r.duration
	}
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	r.load.beginWith(ctx, r.load.workLate, p)
	for range kills {
		if err := pause(ctx, lasts/time.Duration(kills+1)); err != nil {
			return err
		}
		v.kill()
		if v, err = r.start(ctx, p, r.readyWithin()); err != nil {
			return err
		}
	}
	if err := pause(ctx, lasts/time.Duration(kills+1)); err != nil {
		return err
	}
	r.load.finish(20 * time.Second)
	r.count("%d kills", kills)
	return r.end(ctx, v)
}

// workLate sends as Pipedrive does: what failed comes again by a time table, and nothing waits for it.
func (l *load) workLate(ctx context.Context, w int, b *bodies) {
	every := time.Duration(workers) * time.Second / time.Duration(l.rate)
	next := time.Now()
	var failed []*change
	for quit := l.quit; quit != nil || len(failed) > 0; {
		due := next
		var c *change
		if len(failed) > 0 && (quit == nil || failed[0].due.Before(next)) {
			c, due = failed[0], failed[0].due
		}
		if pause(ctx, time.Until(due)) != nil {
			return
		}
		select {
		case <-quit:
			quit = nil
			continue
		default:
		}
		if c != nil {
			failed = failed[1:]
		} else {
			next = time.Now().Add(every)
			e := b.make(100+w*l.records+b.rng.IntN(l.records), 0)
			c = &change{entry: e, body: e.body}
		}
		if !l.try(ctx, c, b) {
			c.due = time.Now().Add(pipedriveTries[min(c.tries, len(pipedriveTries))-1])
			failed = append(failed, c)
			slices.SortStableFunc(failed, func(a, b *change) int { return a.due.Compare(b.due) })
		}
	}
}

// try sends a change, or fails on the way there or on the way back.
func (l *load) try(ctx context.Context, c *change, b *bodies) (settled bool) {
	e := c.entry
	c.tries++
	last := c.tries > len(pipedriveTries)
	if !last && b.rng.IntN(4) == 0 {
		return false // it does not get there
	}
	e.body = bytes.Replace(c.body, []byte(`"attempt":1`), fmt.Appendf(nil, `"attempt":%d`, c.tries), 1)
	if e.forms = append(e.forms, sha256.Sum256(e.body)); len(e.forms) == 1 {
		l.add(e)
	}
	return l.send(ctx, e, l.target(0)) && (last || b.rng.IntN(20) > 0) // the answer may be lost
}
