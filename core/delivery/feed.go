package delivery

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"time"

	"github.com/pipehook/pipehook/core"
)

// feed brings into memory what can run. It is the only reader of the store for this lane.
func (l *lane) feed(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			l.mu.Lock()
			l.work.Broadcast()
			l.mu.Unlock()
			return
		case <-l.wake:
		case <-timer.C:
		}
		timer.Reset(l.round(ctx))
	}
}

// round does what is due and returns when to look again.
func (l *lane) round(ctx context.Context) time.Duration {
	l.mu.Lock()
	idle := l.sub == nil
	if now := l.now(); !idle && now.Sub(l.polled) >= poll {
		l.polled = now
		l.missed, l.late = true, true
		l.whole = l.whole || !l.behind && !now.Before(l.wholeAt)
	}
	if !idle {
		l.release()
	}
	l.mu.Unlock()
	if idle {
		return poll
	}
	var err error
	for more := true; more && err == nil && ctx.Err() == nil; {
		if err = l.fetch(ctx); err == nil {
			err = l.load(ctx)
		}
		if err == nil {
			more, err = l.read(ctx)
		}
		if more { // others store all the time: what waits may not wait for the end of it
			l.mu.Lock()
			if l.sub != nil {
				l.release()
			}
			l.mu.Unlock()
		}
	}
	if err != nil && ctx.Err() == nil {
		l.engine.opts.Log.Error("deliveries could not be read; trying again", "listener", l.name, "err", err)
		return poll
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	next := max(poll-l.now().Sub(l.polled), 0)
	if len(l.waits) > 0 && l.used < laneQueue && (l.waits[0].saved || l.waits[0].at == gathering) {
		next = min(next, l.waits[0].due.Sub(l.now()))
	}
	if left := l.gate.left(l.now()); left > 0 {
		next = min(next, left)
	}
	return max(next, 0)
}

// release moves what has waited long enough, as far as there is room.
func (l *lane) release() {
	now := l.now()
	if l.gate.reopen(now) {
		l.work.Broadcast()
	}
	for len(l.waits) > 0 && !l.waits[0].due.After(now) && l.used < laneQueue {
		it := l.waits[0]
		if it.at == waiting && !it.saved {
			return // its failed attempt is on disk in a moment, which wakes us
		}
		epoch := l.engine.opts.Store.Epoch(it.Shard())
		if epoch == 0 { // what comes after it must not go ahead when the shard comes back
			l.abandon(it)
			return
		}
		heap.Pop(&l.waits)
		it.Due = 0
		if it.at == gathering {
			l.gather(it)
		} else if c, busy := l.chains[it.Record]; l.sub.ordered() && it.Record != 0 && (!busy || c.head != it) {
			if busy { // others of its record have gone ahead: it takes its place again in front of the rest
				l.parkAll(c, it)
				continue
			}
			l.chains[it.Record] = &chain{head: it}
		}
		it.epoch = epoch
		l.used++
		it.at, it.event = toLoad, nil
		l.unloaded = append(l.unloaded, it)
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

// gather makes one attempt of all that came for the record: one stands for the others.
func (l *lane) gather(it *item) {
	c := l.chains[it.Record]
	if c == nil || len(c.next) == 0 {
		return
	}
	all := append([]core.Pending{it.Pending}, c.next...)
	slices.SortFunc(all, byTurn)
	l.parked -= len(c.next)
	c.next = nil
	last := len(all) - 1
	it.Pending, it.others = all[last], all[:last:last]
	for _, p := range all {
		l.known[p.Seq] = it
	}
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
		after, rewinds := c.spill-1, l.rewinds
		if l.engine.opts.Store.Shared() {
			after = min(after, l.floor[1])
		}
		c.dropped = 0
		l.mu.Unlock()
		page, err := l.scan(ctx, after, record)
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
		l.continueChain(c, page)
		l.advance(record, nil)
	}
	return nil
}

func byTurn(a, b core.Pending) int { return cmp.Compare(a.Turn, b.Turn) }

// continueChain parks what was read of a chain, and notes where it goes on: behind the page, or at
// what came while the page was read and was left to it.
func (l *lane) continueChain(c *chain, page []core.Pending) {
	c.spill = c.dropped
	if len(page) == pageSize {
		c.spill = page[len(page)-1].Turn + 1
	}
	for _, p := range page {
		switch {
		case l.known[p.Seq] != nil || l.recent[p.Seq]:
		case p.Due > 0 && l.sub.OnFailure == Skip && l.add(p, l.engine.opts.Store.Epoch(p.Shard()), nil):
		default:
			c.next = append(c.next, l.keep(p))
			l.parked++
		}
	}
}

// scan reads a page; the caller, which then holds mu, ends looking.
func (l *lane) scan(ctx context.Context, after, record int64) ([]core.Pending, error) {
	l.mu.Lock()
	l.looking = true
	clear(l.recent)
	l.mu.Unlock()
	began := l.now()
	page, err := l.engine.opts.Store.Scan(ctx, l.name, after, record, pageSize)
	took := l.now().Sub(began)
	for i := range page { // a slow answer makes nothing wait longer
		if page[i].Due > 0 {
			page[i].Due = max(page[i].Due-took, 0)
		}
	}
	return page, err
}

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
			total += len(d.Event.Body)
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
func weight(d *core.Delivery) int { return max(len(d.Event.Body), laneAhead/laneQueue) }

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
