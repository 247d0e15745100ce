package delivery

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
)

const (
	laneQueue = 512      // deliveries of one listener that wait to run in memory; more wait on disk
	laneBytes = 16 << 20 // of their bodies
	laneAhead = 4 << 20  // of the bodies of what was read before it can run
	laneKnown = 1 << 17  // deliveries in memory in all, most of them waiting for their time
	laneParks = 1 << 18  // keys of deliveries that wait behind another of their record

	pageSize  = 512
	loadSize  = 128
	firstLoad = 8 // as long as nothing is known of how large events are

	// poll is how long a lane trusts what it was told. It finds what was replayed, and what another
	// process stored when its wake-up was lost.
	poll = 2 * time.Second

	// wholeEvery is how often a lane that has nothing to catch up on looks at all that is pending. It
	// finds what no rule foresaw.
	wholeEvery = time.Minute

	// late is how long a transaction may take from drawing its number to being seen, so how far
	// back a look must begin where several processes write.
	late = 12 * time.Second
)

// lane is one listener's deliveries in memory: those that can run, those that wait for their time,
// and behind each record's first the keys of the others. Everything else is on disk, and the
// feeder reads it in the order of turns as far as there is room.
type lane struct {
	engine *Engine
	name   string
	wake   chan struct{} // tells the feeder to look again
	born   time.Time

	trouble core.Trouble // with reading the store; the feeder's own

	mu       sync.Mutex
	work     *sync.Cond // something can run, or a worker should look whether to end
	sub      *Subscription
	started  bool
	workers  int
	known    map[int64]*item // by event; also those whose result is not on disk yet
	chains   map[int64]*chain
	parked   int
	unloaded []*item
	runnable []*item
	waits    waits
	fetches  []int64 // records whose chain goes on on disk
	used     int     // slots that are reserved or hold an item that can run
	bytes    int
	mean     int // size of a body, about; 0 for not known yet; the feeder's own

	aheadBytes int // of all chains' ready

	behind      bool     // there is more on disk: nothing new comes through memory until that is read
	missed      bool     // something was stored since the last look began
	late        bool     // perhaps by another process, so perhaps below what was seen
	outstanding int      // transactions under way that will leave something on disk
	from        int64    // where the present look has come to
	underWay    bool     // it has not come to the end
	cursor      int64    // the highest turn that was seen
	floor       [2]int64 // the cursor some time ago, and a longer time ago
	floorAt     time.Time
	rewinds     int                // how often it began at the beginning
	scope       [core.Shards]int64 // the tokens of the shards that were read from the beginning
	polled      time.Time          // when nobody had to say that there is more
	whole       bool               // the next look begins at the beginning
	wholeAt     time.Time
	wholeBegan  time.Time // of the look under way, when it began there
	looking     bool
	recent      map[int64]bool // results saved while the feeder looks, which may not see that yet
	handled     map[int64]mark // by record, what only a result that is not on disk yet says; with DropStale

	gate    gate
	pace    pace
	batches map[*batch]struct{} // those with something in them that has not begun
}

type place uint8

const (
	toLoad place = iota
	toRun
	running
	saving  // ended, the result is not on disk yet
	waiting // for its time
	gathering
)

// mark is the newest event that was handled for a record.
type mark struct {
	occurred time.Time
	seq      int64
}

// item is a delivery in memory.
type item struct {
	core.Pending
	at       place
	epoch    int64
	event    *core.Event // nil until loaded
	newest   time.Time
	due      time.Time
	since    time.Time // of the first that was gathered
	index    int       // in waits
	saved    bool      // with waiting: the failed attempt is on disk
	edited   bool      // changed by hand meanwhile: what is on disk when its result is counts
	fleeting bool      // not stored: nothing of it is on disk
	probe    bool      // with running: its outcome says whether the listener works again
	others   []core.Pending
}

func newLane(e *Engine, name string) *lane {
	l := &lane{
		engine: e, name: name, wake: make(chan struct{}, 1), born: e.opts.Now(), behind: true, // until the feeder has looked
		known: map[int64]*item{}, chains: map[int64]*chain{}, recent: map[int64]bool{}, handled: map[int64]mark{}, batches: map[*batch]struct{}{},
	}
	l.work = sync.NewCond(&l.mu)
	return l
}

func (l *lane) now() time.Time { return l.engine.opts.Now() }

// subscribe begins to serve the subscription, or to leave everything on disk when it is nil. What
// runs goes on; what waits is read again when its treatment is another.
func (l *lane) subscribe(sub *Subscription) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recall()
	old := l.sub
	l.sub = sub
	if old == nil || sub == nil || old.Order != sub.Order || old.OnFailure != sub.OnFailure || old.Coalesce != sub.Coalesce || old.DropStale != sub.DropStale {
		l.reset()
	}
	l.gate.policy(sub)
	l.pace = pace{}
	l.work.Broadcast()
	l.nudge()
}

// edited is told that deliveries were changed by hand: what is in memory may be wrong.
func (l *lane) edited() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recall()
	l.reset()
	for _, it := range l.known {
		it.edited = true
	}
	l.nudge()
}

// reset forgets what does not run, and of which all is on disk.
func (l *lane) reset() {
	kept := map[int64]*item{}
	var unsaved waits
	for seq, it := range l.known {
		failed := it.at == waiting && !it.saved
		if it.at != running && it.at != saving && !failed {
			continue
		}
		kept[seq] = it
		if failed && seq == it.Seq {
			heap.Push(&unsaved, it)
		}
	}
	var fleeting []*item
	for _, it := range l.runnable {
		if it.fleeting && l.sub != nil {
			fleeting = append(fleeting, it)
			continue
		}
		l.used--
		l.bytes -= it.event.Bytes()
	}
	l.used -= len(l.unloaded)
	l.aheadBytes = 0
	l.known, l.chains, l.runnable, l.unloaded, l.waits, l.fetches, l.parked = kept, l.heads(kept), fleeting, nil, unsaved, nil, 0
	l.rewind()
}

// heads are the chains of what stays: whoever runs holds its record, or else the first that waits.
// Where there are several, their treatment was another until now; when one of them then has to wait, its
// place is that on disk.
func (l *lane) heads(kept map[int64]*item) map[int64]*chain {
	chains := map[int64]*chain{}
	first := map[int64]*item{}
	for seq, it := range kept {
		if !l.sub.ordered() || it.Record == 0 || it.at == saving || seq != it.Seq {
			continue
		}
		if other := first[it.Record]; other != nil {
			it.edited, other.edited = true, true
		}
		first[it.Record] = it
		if it.at == waiting && l.sub.OnFailure == Skip {
			continue
		}
		if c := chains[it.Record]; c == nil {
			chains[it.Record] = &chain{head: it}
		} else if c.beside = append(c.beside, it); before(it, c.head) {
			c.head, c.beside[len(c.beside)-1] = it, c.head
		}
	}
	return chains
}

// before reports which of two of a record holds it: who runs, then who stands first.
func before(a, b *item) bool {
	if (a.at == running) != (b.at == running) {
		return a.at == running
	}
	return a.Turn < b.Turn
}

func (l *lane) rewind() {
	l.rewinds++
	l.from, l.cursor, l.floor, l.underWay = 0, 0, [2]int64{}, false
	l.behind, l.missed = true, true
}

// start makes the feeder, and as many workers as the subscription asks for.
func (l *lane) start(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.started {
		l.started = true
		l.engine.ended.Go(func() { l.feed(ctx) })
	}
	for l.sub != nil && l.workers < l.sub.Concurrency {
		l.workers++
		l.engine.ended.Go(func() { l.serve(ctx) })
	}
}

func (l *lane) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// add takes a delivery in: to run, to wait for its time, or to wait behind another of its record.
// It returns false when there is no room. Its event is nil when it has to be loaded.
func (l *lane) add(p core.Pending, epoch int64, ev *core.Event) bool {
	if it := l.known[p.Seq]; l.recent[p.Seq] || it != nil && (it.at != saving || it.epoch == epoch) {
		return true // a result under another token will not count: then it is as if it had not run
	}
	// With skip what waits for its time is outside its record's chain until then.
	ordered := l.sub.ordered() && p.Record != 0 && (p.Due <= 0 || l.sub.OnFailure != Skip)
	if c, busy := l.chains[p.Record]; ordered && busy {
		l.park(c, p)
		if ev != nil {
			l.prepare(&core.Delivery{Pending: p, Listener: l.name, Event: *ev}, epoch)
		}
		return true
	}
	if len(l.known) >= laneKnown || p.Due <= 0 && l.used >= laneQueue && !l.sub.Coalesce.on() {
		return false
	}
	it := &item{Pending: p, epoch: epoch, event: ev}
	l.known[p.Seq] = it
	if ordered {
		l.chains[p.Record] = &chain{head: it}
	}
	l.admit(it)
	return true
}

// admit puts a new item where it belongs.
func (l *lane) admit(it *item) {
	switch {
	case it.Due > 0:
		it.saved = true
		l.await(it, waiting, l.now().Add(it.Due))
	case l.sub.Coalesce.on() && it.Record != 0:
		it.since = l.now()
		l.await(it, gathering, it.since.Add(min(l.sub.Coalesce.Quiet, l.sub.Coalesce.Max)))
	case it.event == nil:
		l.used++
		it.at = toLoad
		l.unloaded = append(l.unloaded, it)
		l.nudge()
	default:
		l.used++
		l.run(it)
	}
}

func (l *lane) run(it *item) {
	it.at = toRun
	l.bytes += it.event.Bytes()
	l.runnable = append(l.runnable, it)
	l.work.Signal()
}

// forget drops a delivery that is not ours any more, or has ended elsewhere.
func (l *lane) forget(it *item) {
	l.drop(it)
	l.advance(it.Record, it)
}

// drop takes a delivery, and what was gathered with it, out of what is known.
func (l *lane) drop(it *item) {
	delete(l.known, it.Seq)
	for _, o := range it.others {
		delete(l.known, o.Seq)
	}
}

// saved is told of a result that is on disk.
func (l *lane) saved(a *core.Attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	it, ok := l.known[a.Seq]
	if !ok || it.epoch != a.Epoch {
		return
	}
	if l.looking {
		l.recent[a.Seq] = true
	}
	switch it.at {
	case waiting:
		if a.Seq != it.Seq {
			return
		}
		if it.saved = true; it.edited {
			l.reset()
		}
		l.nudge()
	case saving:
		delete(l.known, a.Seq)
		if l.handled[it.Record].seq == a.Seq {
			delete(l.handled, it.Record)
		}
	}
}
