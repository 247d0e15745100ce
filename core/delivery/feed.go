package delivery

import (
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
		polled := false
		select {
		case <-ctx.Done():
			l.mu.Lock()
			l.work.Broadcast()
			l.mu.Unlock()
			return
		case <-l.wake:
		case <-timer.C:
			polled = true
		}
		timer.Reset(l.round(ctx, polled))
	}
}

// round does what is due and returns when to look again.
func (l *lane) round(ctx context.Context, polled bool) time.Duration {
	l.mu.Lock()
	idle := l.sub == nil
	if polled && !idle {
		l.missed, l.late = true, true
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
	}
	if err != nil && ctx.Err() == nil {
		l.engine.opts.Log.Error("deliveries could not be read; trying again", "listener", l.name, "err", err)
		return poll
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	next := poll
	if len(l.waits) > 0 && (l.waits[0].saved || l.waits[0].at == gathering) {
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
		heap.Pop(&l.waits)
		it.Due = 0
		if it.at == gathering {
			l.gather(it)
		} else if c, busy := l.chains[it.Record]; l.sub.ordered() && it.Record != 0 && (!busy || c.head != it) {
			// Others of its record have gone ahead: it takes its place again in front of the rest.
			if busy {
				delete(l.known, it.Seq)
				l.park(c, it.Pending)
				continue
			}
			l.chains[it.Record] = &chain{head: it}
		}
		if it.epoch = l.engine.opts.Store.Epoch(it.Shard()); it.epoch == 0 {
			l.forget(it)
			continue
		}
		l.used++
		it.at, it.event = toLoad, nil
		l.unloaded = append(l.unloaded, it)
	}
}

// gather makes one attempt of all that came for the record: the last stands for the others.
func (l *lane) gather(it *item) {
	c := l.chains[it.Record]
	if c == nil || len(c.next) == 0 {
		return
	}
	delete(l.known, it.Seq)
	all := append([]core.Pending{it.Pending}, c.next...)
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
	records := l.fetches
	l.fetches = nil
	l.mu.Unlock()
	for i, record := range records {
		l.mu.Lock()
		c, resets := l.chains[record], l.resets
		l.mu.Unlock()
		if c == nil || c.head != nil {
			continue
		}
		page, err := l.scan(ctx, c.spill-1, record)
		l.mu.Lock()
		if l.resets != resets { // it is read again with everything else
			l.looking = false
			l.mu.Unlock()
			return nil
		}
		if err != nil {
			l.fetches = append(l.fetches, records[i:]...)
			l.mu.Unlock()
			return err
		}
		if c.spill = 0; len(page) == pageSize {
			c.spill = page[len(page)-1].Turn + 1
		}
		for _, p := range page {
			if l.known[p.Seq] == nil && !l.recent[p.Seq] {
				c.next = append(c.next, l.keep(p))
				l.parked++
			}
		}
		l.looking = false
		l.advance(record, nil)
		l.mu.Unlock()
	}
	return nil
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
		n := min(len(l.unloaded), loadSize)
		if n == 0 || l.bytes >= laneBytes {
			l.mu.Unlock()
			return nil
		}
		batch := slices.Clone(l.unloaded[:n])
		var seqs []int64
		for _, it := range batch {
			it.newest = l.handled[it.Record].occurred // before the store is asked, which may be told meanwhile
			seqs = append(seqs, it.Seq)
			for _, o := range it.others {
				seqs = append(seqs, o.Seq)
			}
		}
		stale := l.sub != nil && l.sub.DropStale
		ahead := l.ahead(batch)
		epochs := make([]int64, len(ahead))
		for i := range ahead {
			epochs[i] = l.engine.opts.Store.Epoch(ahead[i].Shard())
			seqs = append(seqs, ahead[i].Seq)
		}
		l.mu.Unlock()
		loaded, err := l.engine.opts.Store.Load(ctx, l.name, seqs, stale)
		if err != nil {
			return err
		}
		by := make(map[int64]*core.Delivery, len(loaded))
		for i := range loaded {
			d := &loaded[i]
			if err := l.engine.opts.Restore(&d.Event); err != nil {
				l.engine.opts.Log.Warn("a stored event could not be named again", "event", d.Event.ID, "listener", l.name, "err", err)
			}
			by[d.Seq] = d
		}
		l.mu.Lock()
		if len(l.unloaded) < n || !slices.Equal(batch, l.unloaded[:n]) { // it was reset meanwhile
			l.mu.Unlock()
			continue
		}
		l.unloaded = slices.Clone(l.unloaded[n:])
		for _, it := range batch {
			l.loaded(it, by)
		}
		for i := range ahead {
			l.prepare(by[ahead[i].Seq], epochs[i])
		}
		l.mu.Unlock()
	}
}

// ahead are deliveries that will run soon after those of a small batch, because they are next for
// its records. A busy record so costs a read for every few of its events and not for each.
func (l *lane) ahead(batch []*item) []core.Pending {
	const few, most = 16, 32
	if len(batch) > few || l.sub == nil || l.sub.readsBack() || l.bytes > laneBytes/2 {
		return nil
	}
	var next []core.Pending
	for _, it := range batch {
		if c := l.chains[it.Record]; c != nil && c.head == it {
			next = append(next, c.next[:min(len(c.next), most)]...)
		}
	}
	return next
}

// prepare keeps what was read ahead, while it is still next for its record.
func (l *lane) prepare(d *core.Delivery, epoch int64) {
	if d == nil {
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
	l.bytes += len(d.Event.Body)
}

func (l *lane) loaded(it *item, by map[int64]*core.Delivery) {
	d, pending := by[it.Seq]
	if !pending {
		l.used--
		l.forget(it)
		return
	}
	it.Pending, it.event = d.Pending, &d.Event
	if d.Newest.After(it.newest) {
		it.newest = d.Newest
	}
	for _, o := range it.others {
		if other, ok := by[o.Seq]; ok {
			it.event.Gathered = append(it.event.Gathered, other.Event.ID)
		}
	}
	if it.others != nil {
		it.event.Gathered = append(it.event.Gathered, it.event.ID)
	}
	l.run(it)
}

// read looks for more on disk, a page at a time, and reports whether it should go on at once.
func (l *lane) read(ctx context.Context) (more bool, err error) {
	l.mu.Lock()
	if !l.behind && !l.missed || l.used >= laneQueue || len(l.known) >= laneKnown || l.sub == nil {
		l.mu.Unlock()
		return false, nil
	}
	if l.missed {
		l.from = l.cursor
		if l.late { // look from a little further back
			l.from = l.floor[1]
		}
		l.missed, l.late = false, false
	}
	after, resets := l.from, l.resets
	l.mu.Unlock()
	page, err := l.scan(ctx, after, 0)
	epochs := make([]int64, len(page))
	for i := range page {
		epochs[i] = l.engine.opts.Store.Epoch(page[i].Shard())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looking = false
	if err != nil {
		l.missed, l.late = true, true
		return false, err
	}
	if l.resets != resets { // what was before the page is forgotten, and must come before it
		return true, nil
	}
	full := false
	for i, p := range page {
		if epochs[i] == 0 {
			continue // lost meanwhile
		}
		if full = l.sub == nil || !l.add(p, epochs[i], nil); full {
			break
		}
		l.from, l.cursor = p.Turn, max(l.cursor, p.Turn)
	}
	l.settleFloor()
	if full || len(page) == pageSize {
		l.behind = true
		return !full || len(l.unloaded) > 0, nil
	}
	if !l.missed && l.outstanding == 0 {
		l.behind = false
	}
	return len(l.unloaded) > 0 || l.missed, nil
}

// settleFloor remembers where the cursor was a while ago.
func (l *lane) settleFloor() {
	if now := l.now(); now.Sub(l.floorAt) >= late {
		l.floor, l.floorAt = [2]int64{l.cursor, l.floor[0]}, now
	}
}
