package main

import (
	"crypto/sha256"
	"slices"
	"time"
)

// storedOf is what became of an event of the ledger, in whichever form it was stored; nil for nothing.
func (r *round) storedOf(s *stored, e *entry, known map[[sha256.Size]byte]bool) (at *storedEvent) {
	for _, sum := range append([][sha256.Size]byte{e.sum}, e.forms...) {
		known[sum] = true
		if found := s.bySum[sum]; found != nil && at != nil && found != at {
			r.fail("I3", "one event is stored as %s and as %s", at.id, found.id)
		} else if found != nil {
			at = found
		}
	}
	return at
}

// accepting is the moment at which an event was first sent, or first answered.
type accepting struct {
	when time.Time
	sent bool
	e    *storedEvent
}

// checkAccepting judges that what was answered before another was sent is stored before it.
func (r *round) checkAccepting(record int, moments []accepting) {
	slices.SortStableFunc(moments, func(a, b accepting) int { return a.when.Compare(b.when) })
	var newest *storedEvent
	for _, m := range moments {
		if m.sent && newest != nil && newest.seq > m.e.seq {
			r.fail("I4", "record %d: event %s was answered before %s was sent, and is stored after it", record, newest.id, m.e.id)
		}
		if !m.sent && (newest == nil || m.e.seq > newest.seq) {
			newest = m.e
		}
	}
}
