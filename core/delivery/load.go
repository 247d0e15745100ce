package delivery

import (
	"context"
	"slices"

	"github.com/pipehook/pipehook/core"
)

// load reads the events of what is to run next.
func (l *lane) load(ctx context.Context) error {
	for {
		l.mu.Lock()
		if !l.loadable() {
			l.mu.Unlock()
			return nil
		}
		n := min(len(l.unloaded), l.loadSize())
		batch := slices.Clone(l.unloaded[:n])
		for _, it := range batch {
			it.newest = l.handled[it.Record].occurred // before the store is asked, which may be told meanwhile
		}
		stale := l.sub.DropStale
		ahead := l.ahead(batch)
		epochs := make([]int64, len(ahead))
		for i := range ahead {
			epochs[i] = l.engine.opts.Store.Epoch(ahead[i].Shard())
		}
		l.mu.Unlock()
		by, err := l.events(ctx, batch, ahead, stale)
		if err != nil {
			return err
		}
		l.mu.Lock()
		if len(l.unloaded) < n || !slices.Equal(batch, l.unloaded[:n]) { // it was reset meanwhile
			l.mu.Unlock()
			continue
		}
		l.unloaded = slices.Clone(l.unloaded[n:])
		for _, it := range batch {
			l.loaded(it, by, stale)
		}
		for i := range ahead {
			l.prepare(by[ahead[i].Seq], epochs[i])
		}
		l.mu.Unlock()
	}
}

func (l *lane) loadable() bool { return len(l.unloaded) > 0 && l.bytes < laneBytes && l.sub != nil }

// loadSize is how many events are read at a time, so that their bodies do not take much more than
// their share of the memory.
func (l *lane) loadSize() int {
	if l.mean == 0 {
		return firstLoad
	}
	return max(1, min(loadSize, laneBytes/4/l.mean))
}

// events reads the events of the batch and of what is ahead, by number. Of what was gathered only
// the one that stands for the others keeps its body.
func (l *lane) events(ctx context.Context, batch []*item, ahead []core.Pending, stale bool) (map[int64]*core.Delivery, error) {
	var seqs []int64
	burst := map[int64]*item{} // by event that was gathered
	for _, it := range batch {
		for _, o := range it.others {
			seqs, burst[o.Seq], burst[it.Seq] = append(seqs, o.Seq), it, it
		}
		seqs = append(seqs, it.Seq)
	}
	for i := range ahead {
		seqs = append(seqs, ahead[i].Seq)
	}
	by, best := make(map[int64]*core.Delivery, len(seqs)), map[*item]*core.Delivery{}
	for len(seqs) > 0 {
		n := min(len(seqs), l.loadSize())
		loaded, err := l.engine.opts.Store.Load(ctx, l.name, seqs[:n], stale)
		if err != nil {
			return nil, err
		}
		total := 0
		for _, d := range loaded { // a copy of each: a pointer to one would keep all in memory
			total += d.Event.Bytes()
			if err := l.engine.opts.Restore(&d.Event); err != nil {
				l.engine.opts.Log.Warn("a stored event could not be named again", "event", d.Event.ID, "listener", l.name, "err", err)
			}
			by[d.Seq] = &d
			if it := burst[d.Seq]; it != nil {
				best[it] = thin(best[it], &d, stale)
			}
		}
		l.measured(total, len(loaded))
		seqs = seqs[n:]
	}
	return by, nil
}

// measured notes how large events are.
func (l *lane) measured(bytes, n int) {
	if n == 0 {
		return
	}
	mean := max(1, bytes/n)
	if l.mean == 0 {
		l.mean = mean
	}
	l.mean = max(1, (l.mean+mean)/2)
}

// thin returns which of two gathered events stands for both, and lets go of the other's body. The
// first may be nil.
func thin(a, b *core.Delivery, stale bool) *core.Delivery {
	if a == nil {
		return b
	}
	if !stands(b, a, stale) {
		a, b = b, a
	}
	*a = core.Delivery{Pending: a.Pending, Event: core.Event{ID: a.Event.ID, OccurredAt: a.Event.OccurredAt}, Newest: a.Newest}
	return b
}

// stands reports whether of two gathered events the first stands for both: it is the later one, or,
// where older ones are not wanted, it occurred later.
func stands(a, b *core.Delivery, stale bool) bool {
	if stale && !a.Event.OccurredAt.Equal(b.Event.OccurredAt) {
		return a.Event.OccurredAt.After(b.Event.OccurredAt)
	}
	return a.Turn > b.Turn
}

// standIn is the one that stands for all; nil when none of them is pending.
func standIn(it *item, by map[int64]*core.Delivery, stale bool) *core.Delivery {
	best := by[it.Seq]
	for _, o := range it.others {
		if d := by[o.Seq]; d != nil && (best == nil || stands(d, best, stale)) {
			best = d
		}
	}
	return best
}

func (l *lane) loaded(it *item, by map[int64]*core.Delivery, stale bool) {
	d := standIn(it, by, stale)
	if d == nil {
		l.used--
		l.forget(it)
		return
	}
	all := append(it.others, it.Pending)
	slices.SortFunc(all, byTurn)
	it.Pending, it.event, it.others = d.Pending, &d.Event, nil
	if d.Newest.After(it.newest) {
		it.newest = d.Newest
	}
	if len(all) > 1 {
		for _, p := range all {
			one := by[p.Seq]
			if one == nil { // it has ended meanwhile
				delete(l.known, p.Seq)
				continue
			}
			it.event.Gathered = append(it.event.Gathered, one.Event.ID)
			if one != d {
				it.others = append(it.others, one.Pending)
			}
		}
	}
	l.run(it)
}

// ahead are deliveries that will run soon after those of a small batch, because they are next for
// its records. A busy record so costs a read for every few of its events and not for each.
func (l *lane) ahead(batch []*item) []core.Pending {
	const few, most = 16, 32
	if len(batch) > few || l.sub.readsBack() {
		return nil
	}
	var next []core.Pending
	for _, it := range batch {
		c := l.chains[it.Record]
		if c == nil || c.head != it {
			continue
		}
		for _, p := range c.next[:min(len(c.next), most)] {
			if l.known[p.Seq] == nil && c.ready[p.Seq] == nil {
				next = append(next, p)
			}
		}
	}
	return next
}

// prepare keeps what was read ahead, while it is still next for its record. It has a share of the
// memory of its own: what can run must always find room.
func (l *lane) prepare(d *core.Delivery, epoch int64) {
	if d == nil || l.aheadBytes+weight(d) > laneAhead {
		return
	}
	c := l.chains[d.Record]
	if c == nil || len(c.next) == 0 || c.next[0].Turn > d.Turn || c.ready[d.Seq] != nil {
		return
	}
	if c.ready == nil {
		c.ready = map[int64]*ready{}
	}
	c.ready[d.Seq] = &ready{d, epoch}
	l.aheadBytes += weight(d)
}

// weight is what an event that was read ahead counts for: small ones take room too.
func weight(d *core.Delivery) int { return max(d.Event.Bytes(), laneAhead/laneQueue) }
