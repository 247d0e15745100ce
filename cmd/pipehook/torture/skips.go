package main

import (
	"slices"
	"strings"

	"github.com/pipehook/pipehook/core"
)

// How the reasons begin for which an event is skipped.
const (
	becauseStale    = "stale: "
	becauseGathered = "gathered: "
)

// checkStale judges a listener that drops what is stale: it skipped an event if, and only if, it had
// handled a newer one of the record, and what it did last for a record is the newest there is.
func (r *round) checkStale(s *stored, listener string) {
	handled, newest := map[string]int64{}, map[string]*storedEvent{}
	came, skipped := 0, 0
	for _, d := range s.deliveries { // in the order of acceptance
		e := d.event
		if d.listener != listener {
			continue
		}
		late := e.at < handled[e.object]
		switch {
		case d.state == core.Skipped && !late:
			r.fail("I4", "record %s: %s skipped event %s, and had handled nothing newer", e.object, listener, e.id)
		case d.state == core.Done && late:
			r.fail("I4", "record %s: %s handled event %s after a newer one", e.object, listener, e.id)
		case d.state == core.Done:
			handled[e.object] = e.at
		}
		if d.state == core.Skipped {
			skipped++
		}
		if before := newest[e.object]; before == nil || e.at > before.at {
			newest[e.object] = e
		} else {
			came++
		}
	}
	last := map[string]*storedEvent{}
	for _, line := range r.linesInTime() {
		if e := s.events[line.event]; line.kind == '<' && line.listener == listener && e != nil {
			last[e.object] = e
		}
	}
	for object, e := range newest {
		if last[object] != e {
			r.fail("I4", "record %s: %s did not end with event %s, the newest", object, listener, e.id)
		}
	}
	if skipped == 0 {
		r.fail("I4", "no event came late: nothing was tried")
	}
	r.count("%d came after newer ones, %d skipped as stale", came, skipped)
}

// checkGathered judges a listener that gathers: each event was given to it, as its own or with
// another that stands for it, and by no process twice.
func (r *round) checkGathered(s *stored, listener string) {
	type call struct {
		victim int
		event  string
	}
	given, completed := map[string][]call{}, map[call]bool{}
	for _, line := range r.runs.said() {
		c := call{line.victim, line.event}
		switch {
		case line.listener != listener:
		case line.kind == '<':
			completed[c] = true
		case line.kind == '*':
			if slices.ContainsFunc(given[line.other], func(before call) bool { return before.victim == line.victim }) {
				r.fail("I3", "event %s was given to %s twice by process %d", line.other, listener, line.victim)
			}
			given[line.other] = append(given[line.other], c)
		}
	}
	skipped := 0
	for _, d := range s.deliveries {
		if d.listener != listener {
			continue
		}
		by := d.event.id
		if d.state == core.Skipped {
			skipped++
			by, _, _ = strings.Cut(strings.TrimPrefix(d.why, becauseGathered), " ")
		}
		if !slices.ContainsFunc(given[d.event.id], func(c call) bool { return c.event == by && completed[c] }) {
			r.fail("I2", "event %s is %s for %s, and was never given to it with event %s", d.event.id, d.state, listener, by)
		}
		if e := s.events[by]; e == nil || e.object != d.event.object || e.seq < d.event.seq {
			r.fail("I4", "event %s was gathered into event %s, which is not a later one of its record", d.event.id, by)
		}
	}
	if skipped == 0 {
		r.fail("I2", "nothing was gathered: nothing was tried")
	}
	r.count("%d gathered", skipped)
}
