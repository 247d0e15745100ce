package main

import (
	"fmt"
	"time"
)

// order watches, line by line, that each listener gets the events of a record one at a time and as
// they were accepted.
type order struct {
	r       *round
	seqs    map[string]int64
	objects map[string]string
	lanes   map[laneKey]*laneState
	sent    map[string]*entry // the ledger, by the answered id
}

type laneKey struct{ listener, object string }

type laneState struct {
	newest  int64 // the highest seq that was begun
	begun   map[int64]bool
	byOne   map[int]int64 // the highest that each process has begun
	running map[int]string
	sent    time.Time // when the last of those that were begun was first sent
}

// thaw is how long after it goes on a frozen process may still say what it was about to say.
const thaw = 500 * time.Millisecond

func newOrder(r *round, s *stored) *order {
	o := &order{r: r, seqs: map[string]int64{}, objects: map[string]string{}, lanes: map[laneKey]*laneState{}, sent: map[string]*entry{}}
	for _, e := range r.load.entries {
		o.sent[e.id] = e
	}
	for id, e := range s.events {
		o.seqs[id], o.objects[id] = e.seq, e.object
	}
	return o
}

func (o *order) see(line runLine, replayed bool) {
	switch line.kind {
	case '*':
		return
	case '+': // the process has ended, or is frozen: it holds nobody up
		for _, lane := range o.lanes {
			delete(lane.running, line.victim)
			delete(lane.byOne, line.victim) // what it had begun, another may have to begin anew, and then it again
		}
		return
	}
	seq, ok := o.seqs[line.event]
	if !ok && !o.r.rules.forgets {
		o.r.fail("I1", "event %s ran for %s and is not stored", line.event, line.listener)
	}
	if !ok || line.listener == "loose" || replayed {
		return
	}
	k := laneKey{line.listener, o.objects[line.event]}
	lane := o.lanes[k]
	if lane == nil {
		lane = &laneState{begun: map[int64]bool{}, byOne: map[int]int64{}, running: map[int]string{}}
		o.lanes[k] = lane
	}
	if line.kind != '>' {
		if lane.running[line.victim] == line.event {
			delete(lane.running, line.victim)
		}
		return
	}
	o.begin(k, lane, line, seq)
}

func (o *order) begin(k laneKey, lane *laneState, line runLine, seq int64) {
	if o.thawing(line) {
		return // it had begun before
	}
	for victim, event := range lane.running {
		o.r.fail("I4", "record %s: %s began event %s in process %d while %s ran in process %d", k.object, k.listener, line.event, line.victim, event, victim)
	}
	if o.r.rules.several && k.object == fmt.Sprint(shared) {
		o.judgeShared(k, lane, line)
	} else {
		o.judge(k, lane, line, seq)
	}
	lane.begun[seq] = true
	if _, ok := lane.byOne[line.victim]; !ok || seq > lane.byOne[line.victim] {
		lane.byOne[line.victim] = seq
	}
	lane.newest = max(lane.newest, seq)
	lane.running[line.victim] = line.event
}

func (o *order) judge(k laneKey, lane *laneState, line runLine, seq int64) {
	if before, ok := lane.byOne[line.victim]; ok && seq < before {
		o.r.fail("I4", "record %s: process %d began event %d of %s after event %d", k.object, line.victim, seq, k.listener, before)
	}
	if seq < lane.newest && !lane.begun[seq] {
		o.r.fail("I4", "record %s: %s began event %d for the first time after event %d", k.object, k.listener, seq, lane.newest)
	}
}

// judgeShared judges the record that several senders send to several processes at once: its events
// are numbered before they are committed. What was answered before another was sent comes first.
func (o *order) judgeShared(k laneKey, lane *laneState, line runLine) {
	e := o.sent[line.event]
	if e == nil {
		return
	}
	if !lane.begun[o.seqs[line.event]] && lane.sent.After(e.acked) {
		o.r.fail("I4", "record %s: %s began event %s for the first time after one that was sent after it had been answered", k.object, k.listener, line.event)
	}
	if e.first.After(lane.sent) {
		lane.sent = e.first
	}
}

func (o *order) thawing(line runLine) bool { return o.r.victims[line.victim].frozeOver(line, 0) }

// frozeOver reports whether the process was frozen when it said so, or before it could save that.
func (v *victim) frozeOver(line runLine, saving time.Duration) bool {
	for _, f := range v.frozen {
		if line.at.After(f[0].Add(-saving)) && line.at.Before(f[1].Add(thaw)) {
			return true
		}
	}
	return false
}
