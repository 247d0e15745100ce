package model_test

import (
	"fmt"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/delivery"
)

// start is told of a call.
func (m *model) start(listener, id string, now time.Time) error {
	d := m.find(listener, id)
	if d == nil {
		return fmt.Errorf("%s: it was given event %s, which is not for it", listener, id)
	}
	if err := m.reach(d, now); err != nil {
		return err
	}
	if state, ok := m.silent(m.subs[listener], d); ok {
		return fmt.Errorf("%v: it ran and should have been %v", d, state)
	}
	m.gates[listener].enter()
	d.running, d.rule = true, m.subs[listener]
	return nil
}

// end is told of how a call ended; what the engine makes of it follows.
func (m *model) end(listener, id string, came outcome, now time.Time) error {
	d := m.find(listener, id)
	if d == nil || !d.running {
		return fmt.Errorf("%s: event %s ended without running", listener, id)
	}
	d.running, d.ended, d.came = false, true, came
	m.gates[listener].ended(d, came, now)
	d.now.attempts++
	if came == crashes {
		d.now.crashes++
	}
	switch {
	case came == succeeds:
		d.now.state = core.Done
		if d.rule.DropStale && d.record() != 0 {
			d.mark = d.ev.OccurredAt
		}
	case came == crashes && d.now.crashes >= maxCrashes:
		d.now.state = core.Quarantined
	case came == hopeless || d.now.attempts >= d.rule.Retry.Attempts:
		d.now.state = core.Dead
	}
	return nil
}

// result is told of what the engine made of an attempt.
func (m *model) result(a core.Attempt, id string, now time.Time) error {
	d := m.find(a.Listener, id)
	if d == nil {
		return fmt.Errorf("%s: it has a result for event %s, which is not for it", a.Listener, id)
	}
	if !d.ended && a.Number == 0 {
		if err := m.reach(d, now); err != nil {
			return err
		}
		state, _ := m.silent(m.subs[a.Listener], d)
		d.now.state, d.ended, d.rule = state, true, m.subs[a.Listener]
	}
	switch {
	case !d.ended:
		return fmt.Errorf("%v: a result %v of an attempt that was not made", d, a.State)
	case a.State != d.now.state:
		return fmt.Errorf("%v: it came to %v (%s), want %v", d, a.State, a.Err, d.now.state)
	case a.Number != 0 && a.Number != d.now.attempts:
		return fmt.Errorf("%v: attempt %d, want %d", d, a.Number, d.now.attempts)
	}
	if a.State == core.Waiting {
		if err := d.checkWait(a.Wait); err != nil {
			return err
		}
		d.now.due = now.Add(a.Wait)
	} else {
		d.now.due = time.Time{}
	}
	d.ended, d.unsaved, d.wait = false, true, a.Wait
	m.held = append(m.held, d)
	if !m.holding {
		m.save(now)
	}
	return nil
}

func (d *dealing) checkWait(wait time.Duration) error {
	most := d.rule.Retry.First
	for range d.now.attempts - 1 {
		most = min(2*most, d.rule.Retry.Max)
	}
	least := most / 2
	if d.came == asksForTime {
		least, most = askedTime, askedTime
	}
	if wait < least || wait > most {
		return fmt.Errorf("%v: it waits %s after attempt %d, want %s to %s", d, wait, d.now.attempts, least, most)
	}
	return nil
}

// save puts the results that were kept back on disk.
func (m *model) save(now time.Time) {
	for _, d := range m.held {
		if d.void {
			d.now = d.disk
		} else if d.disk = d.now; d.now.state == core.Waiting {
			d.disk.due = now.Add(d.wait)
		}
		of := aspect{d.listener, d.record()} // the listener has handled it, even if it was cancelled meanwhile
		m.handled[of] = later(m.handled[of], d.mark)
		d.unsaved, d.void, d.mark = false, false, time.Time{}
	}
	m.held = nil
}

// lost forgets what only the process knew that has ended now. The attempts that ran are known from its
// journal when crashed.
func (m *model) lost(crashed bool) {
	m.held, m.holding, m.stalled = nil, false, false
	for _, name := range listeners {
		m.gates[name] = &breaker{rule: m.gates[name].rule}
		for _, d := range m.all[name] {
			if crashed && d.running && d.disk.state == core.Waiting {
				d.disk.crashes++
				d.disk.attempts++
			}
			d.now = d.disk
			d.running, d.ended, d.unsaved, d.void, d.mark = false, false, false, false, time.Time{}
		}
	}
}

// subscribe is a reload.
func (m *model) subscribe(subs []delivery.Subscription) {
	m.subs = map[string]*delivery.Subscription{}
	for i := range subs {
		m.subs[subs[i].Name] = &subs[i]
		m.gates[subs[i].Name].policy(subs[i].Breaker)
	}
}

// replay makes a delivery that has ended pending again, behind all others.
func (m *model) replay(d *dealing) {
	m.turns++
	d.turn = m.turns
	d.disk = row{replays: d.disk.replays + 1}
	d.now = d.disk
}

// retry makes a delivery due, which keeps its place.
func (m *model) retry(d *dealing) {
	d.disk.due = time.Time{}
	if !d.busy() {
		d.now.due = time.Time{}
	}
}

// cancel ends a delivery. If it runs, or its result is not on disk, that does not count.
func (m *model) cancel(d *dealing) {
	d.disk.state, d.disk.due = core.Cancelled, time.Time{}
	if d.busy() {
		d.void = true
	} else {
		d.now = d.disk
	}
}

// breaker is a listener's circuit breaker.
type breaker struct {
	rule    delivery.Breaker
	failing map[*dealing]bool // since the last success
	until   time.Time         // nothing runs before; zero when the circuit is closed
	pause   time.Duration     // 0 when the listener works
	probing bool              // the one that is tried runs
}

func (b *breaker) policy(rule delivery.Breaker) {
	if rule != b.rule {
		*b = breaker{rule: rule}
	}
}

// shut reports whether nothing may begin; closed whether nothing must.
func (b *breaker) shut(now time.Time) bool { return b.probing || now.Before(b.until) }

func (b *breaker) closed(now time.Time) bool { return b.shut(now.Add(-slack)) }

func (b *breaker) enter() { b.probing, b.until = b.pause > 0, time.Time{} }

func (b *breaker) ended(d *dealing, came outcome, now time.Time) {
	probe := b.probing
	b.probing = false
	switch {
	case came == succeeds:
		*b = breaker{rule: b.rule}
		return
	case b.rule.Failures == 0 || came == hopeless || came == asksForTime:
		return
	}
	if b.failing == nil {
		b.failing = map[*dealing]bool{}
	}
	b.failing[d] = true
	if now.Before(b.until) || !probe && len(b.failing) < b.rule.Failures {
		return
	}
	b.pause = min(max(2*b.pause, b.rule.Pause), 16*b.rule.Pause)
	b.until = now.Add(b.pause)
}
