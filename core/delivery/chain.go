package delivery

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"time"

	"github.com/pipehook/pipehook/core"
)

// chain is a record that is busy.
type chain struct {
	head    *item
	beside  []*item        // that began when their treatment was another, and hold the record after the head
	next    []core.Pending // in the order of turns
	spill   int64          // from this turn on there are more, on disk only; 0 for none
	dropped int64          // the first turn since the last read of the chain that was left on disk
	ready   map[int64]*ready
}

// ready is the event of one of a chain's next, loaded together with the one before it.
type ready struct {
	delivery *core.Delivery
	epoch    int64
}

// park keeps the key of a delivery whose record is busy.
func (l *lane) park(c *chain, p core.Pending) {
	at := len(c.next)
	if at > 0 && c.next[at-1].Turn >= p.Turn {
		var known bool
		if at, known = slices.BinarySearchFunc(c.next, p.Turn, func(q core.Pending, turn int64) int { return cmp.Compare(q.Turn, turn) }); known {
			return
		}
	}
	if c.spill != 0 && p.Turn >= c.spill || l.parked >= laneParks && at == len(c.next) {
		if c.spill == 0 || p.Turn < c.spill {
			c.spill = p.Turn
		}
		if c.dropped == 0 || p.Turn < c.dropped {
			c.dropped = p.Turn
		}
		return
	}
	c.next = slices.Insert(c.next, at, l.keep(p))
	l.parked++
	if c.head != nil && c.head.at == gathering {
		limit := c.head.since.Add(l.sub.Coalesce.Max)
		if c.head.due = l.now().Add(l.sub.Coalesce.Quiet); c.head.due.After(limit) {
			c.head.due = limit
		}
		heap.Fix(&l.waits, c.head.index)
	}
}

// parkAll parks a delivery, and what was gathered with it, each in its own place.
func (l *lane) parkAll(c *chain, it *item) {
	for _, p := range append(it.others, it.Pending) {
		delete(l.known, p.Seq)
		p.Due = 0
		l.park(c, p)
	}
}

// keep makes what is to be parked say when it is due since the lane was made: how long it stays there
// is not known. due makes it from now again.
func (l *lane) keep(p core.Pending) core.Pending {
	if p.Due > 0 {
		p.Due += l.now().Sub(l.born)
	}
	return p
}

func (l *lane) due(p core.Pending) time.Duration {
	if p.Due <= 0 {
		return 0
	}
	return max(p.Due-l.now().Sub(l.born), 0)
}

// advance lets the record's next delivery go ahead.
func (l *lane) advance(record int64, from *item) {
	c, ok := l.chains[record]
	if !ok {
		return
	}
	if c.head != from {
		c.beside = slices.DeleteFunc(c.beside, func(it *item) bool { return it == from })
		return
	}
	c.head = nil
	switch {
	case len(c.beside) > 0:
		first := 0
		for i := range c.beside {
			if before(c.beside[i], c.beside[first]) {
				first = i
			}
		}
		c.head = c.beside[first]
		c.beside = slices.Delete(c.beside, first, first+1)
	case len(c.next) > 0:
		p := c.next[0]
		c.next = c.next[1:]
		l.parked--
		r := l.unready(c, p.Seq)
		if _, twice := l.known[p.Seq]; twice {
			l.advance(record, nil)
			return
		}
		c.head = &item{Pending: p, epoch: l.engine.opts.Store.Epoch(p.Shard())}
		l.known[p.Seq] = c.head
		if r != nil {
			c.head.Pending, c.head.epoch, c.head.event = r.delivery.Pending, r.epoch, &r.delivery.Event
		}
		c.head.Due = l.due(p)
		l.admit(c.head)
	case c.spill != 0:
		l.fetches = append(l.fetches, record)
		l.nudge()
	default:
		for seq := range c.ready {
			l.unready(c, seq)
		}
		delete(l.chains, record)
	}
}

// overtook reports whether one that stands before the delivery in its record is still to come: it went
// ahead when that was allowed.
func (l *lane) overtook(it *item) bool {
	c := l.chains[it.Record]
	return c != nil && (c.head != it || len(c.beside) > 0 || len(c.next) > 0 && c.next[0].Turn < it.Turn || c.spill != 0 && c.spill < it.Turn)
}

// unready takes out what was read ahead of a delivery; nil when nothing was.
func (l *lane) unready(c *chain, seq int64) *ready {
	r := c.ready[seq]
	if r != nil {
		delete(c.ready, seq)
		l.aheadBytes -= weight(r.delivery)
	}
	return r
}

// fetch continues chains that go on on disk.
func (l *lane) fetch(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.fetches) > 0 {
		record := l.fetches[0]
		l.fetches = l.fetches[1:]
		c := l.chains[record]
		if c == nil || c.head != nil {
			continue
		}
		after, floor, rewinds := c.spill-1, l.floor[1], l.rewinds
		c.dropped = 0
		l.mu.Unlock()
		page, below, err := l.page(ctx, after, floor, record)
		l.mu.Lock()
		l.looking = false
		if l.rescope() {
			l.rewind()
		}
		if l.chains[record] != c { // it is read again with everything else
			continue
		}
		if err != nil || l.rewinds != rewinds {
			l.fetches = append(l.fetches, record)
			return err
		}
		l.continueChain(c, page, below)
		l.advance(record, nil)
	}
	return nil
}

func byTurn(a, b core.Pending) int { return cmp.Compare(a.Turn, b.Turn) }

// continueChain parks what was read of a chain, and notes where it goes on: behind the page, or at
// what came while the page was read and was left to it.
func (l *lane) continueChain(c *chain, page, below []core.Pending) {
	c.spill = c.dropped
	if len(page) == pageSize {
		c.spill = page[len(page)-1].Turn + 1
	}
	for _, p := range append(below, page...) {
		switch {
		case l.known[p.Seq] != nil || l.recent[p.Seq]:
		case p.Due > 0 && l.sub.OnFailure == Skip && l.add(p, l.engine.opts.Store.Epoch(p.Shard()), nil):
		default:
			c.next = append(c.next, l.keep(p))
			l.parked++
		}
	}
}
