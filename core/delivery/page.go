package delivery

import (
	"context"
	"time"

	"github.com/pipehook/pipehook/core"
)

// read looks for more on disk, a page at a time, and reports whether it should go on at once.
func (l *lane) read(ctx context.Context) (more bool, err error) {
	l.mu.Lock()
	if !l.behind && !l.missed || l.used >= laneQueue || len(l.known) >= laneKnown || l.sub == nil {
		l.mu.Unlock()
		return false, nil
	}
	if l.rescope() {
		l.rewind()
	}
	l.begin()
	after, floor, rewinds := l.from, l.floor[1], l.rewinds
	if after == 0 {
		for i := range l.scope {
			l.scope[i] = l.engine.opts.Store.Epoch(i)
		}
	}
	l.mu.Unlock()
	page, below, err := l.page(ctx, after, floor, 0)
	epochs := l.epochs(append(below, page...))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looking = false
	if err != nil {
		l.missed, l.late = true, true
		return false, err
	}
	if l.rescope() {
		l.rewind()
	}
	if l.rewinds != rewinds { // what was read is not what comes next any more
		return true, nil
	}
	full := !l.addAll(below, epochs)
	if full {
		l.missed, l.late = true, true
	} else {
		full = !l.addAll(page, epochs)
	}
	l.settleFloor()
	if full || len(page) == pageSize {
		l.behind = true
		return !full || l.loadable(), nil
	}
	l.finish()
	return l.loadable() || l.missed, nil
}

// begin says where the next look starts. One that has not yet come to the end goes on: begun anew
// with every wake-up it would never get there, and given up half way it would leave something behind.
func (l *lane) begin() {
	if l.underWay {
		return
	}
	l.underWay = true
	switch {
	case l.whole:
		l.from = 0
	case l.late: // look from a little further back
		l.from = l.floor[1]
	}
	if l.from == 0 {
		l.wholeBegan = l.now()
	}
	l.missed, l.late, l.whole = false, false, false
}

// finish ends a look that has come to the end of what is pending.
func (l *lane) finish() {
	l.from, l.underWay = l.cursor, false
	if !l.missed && l.outstanding == 0 {
		l.behind = false
	}
	if now := l.now(); !l.wholeBegan.IsZero() {
		l.wholeAt = now.Add(max(wholeEvery, 100*now.Sub(l.wholeBegan)))
		l.wholeBegan = time.Time{}
	}
}

// page reads the next page, and with it what may have appeared before it since the last look there.
func (l *lane) page(ctx context.Context, after, floor, record int64) (page, below []core.Pending, err error) {
	page, err = l.scan(ctx, after, record)
	if err == nil && len(page) > 0 && l.engine.opts.Store.Shared() {
		below, err = l.below(ctx, floor, after, record)
	}
	return page, below, err
}

// below reads again what stands before a page that was just read, as far back as a transaction may
// take. Of two events that different processes took one after the other, the first may have the
// lower number and yet appear only between the last look there and the one that found the second.
func (l *lane) below(ctx context.Context, floor, after, record int64) (found []core.Pending, err error) {
	for floor < after {
		page, err := l.engine.opts.Store.Scan(ctx, l.name, floor, record, pageSize)
		if err != nil {
			return nil, err
		}
		for _, p := range page {
			if p.Turn > after {
				return found, nil
			}
			found = append(found, p)
		}
		if len(page) < pageSize {
			return found, nil
		}
		floor = page[len(page)-1].Turn
	}
	return found, nil
}

// epochs are the tokens under which the shards of what was read are served now.
func (l *lane) epochs(read []core.Pending) map[int]int64 {
	tokens := map[int]int64{}
	for _, p := range read {
		if _, known := tokens[p.Shard()]; !known {
			tokens[p.Shard()] = l.engine.opts.Store.Epoch(p.Shard())
		}
	}
	return tokens
}

// rescope reports whether a shard has come to this process, or come back, since the look at the
// beginning: more of it may stand before what was read. One that is not served now left out what it
// has: that it was read counts no more.
func (l *lane) rescope() (more bool) {
	for shard := range l.scope {
		switch epoch := l.engine.opts.Store.Epoch(shard); {
		case epoch == 0:
			l.scope[shard] = 0
		case epoch != l.scope[shard]:
			more = true
		}
	}
	return more
}

// addAll takes in what was read. false means that there is no room for all of it.
func (l *lane) addAll(read []core.Pending, epochs map[int]int64) bool {
	for _, p := range read {
		epoch := epochs[p.Shard()]
		if epoch == 0 {
			continue // lost meanwhile
		}
		if l.sub == nil || !l.add(p, epoch, nil) {
			return false
		}
		l.cursor = max(l.cursor, p.Turn)
		l.from = max(l.from, p.Turn)
	}
	return true
}

// settleFloor remembers where the cursor was a while ago.
func (l *lane) settleFloor() {
	if now := l.now(); now.Sub(l.floorAt) >= late {
		l.floor, l.floorAt = [2]int64{l.cursor, l.floor[0]}, now
	}
}
