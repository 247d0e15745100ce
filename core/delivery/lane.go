package delivery

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core"
)

const (
	laneQueue = 512 // deliveries of one listener waiting in memory; more wait on disk
	claimMax  = 128

	// poll is how long a lane trusts what it was told. It finds what another process made due.
	poll = 5 * time.Second

	// adoptEvery is how often it looks for what ended processes left behind. A database may take a
	// moment to notice that one has.
	adoptEvery = 10 * time.Second
)

// job is a delivery in memory.
type job struct {
	core.Delivery
	fleeting bool // not stored: nothing of it is on disk
}

// lane is one listener's queue, its workers, and the feeder that claims from the store what did
// not come through memory. Reserved and queued jobs together never exceed the queue, so that
// pushing never blocks.
type lane struct {
	engine *Engine
	name   string
	sub    atomic.Pointer[Subscription] // nil while retired
	queue  chan job
	wake   chan struct{} // tells the feeder to look at the clock and the room again

	mu      sync.Mutex
	started bool
	workers int
	used    int  // slots that are reserved or queued
	behind  bool // there is more on disk: nothing new comes through memory until that is done
	nextDue time.Time
	held    map[core.DeliveryKey]time.Time // what this process holds in the store, since when
}

func newLane(e *Engine, name string) *lane {
	return &lane{
		engine: e, name: name, queue: make(chan job, laneQueue), wake: make(chan struct{}, 1),
		behind: true, // until the feeder has looked
		held:   map[core.DeliveryKey]time.Time{},
	}
}

func (l *lane) subscribe(sub *Subscription) {
	l.sub.Store(sub)
	l.due(l.engine.opts.Now())
}

// start makes the feeder, and as many workers as the subscription asks for; more when called
// again after it asks for more.
func (l *lane) start(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.started {
		l.started = true
		l.engine.ended.Go(func() { l.feed(ctx) })
	}
	sub := l.sub.Load()
	for sub != nil && l.workers < sub.Concurrency {
		l.workers++
		l.engine.ended.Go(func() { l.work(ctx) })
	}
}

func (l *lane) reserve() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.behind || l.used == laneQueue || l.sub.Load() == nil {
		l.behind = true
		return false
	}
	l.used++
	return true
}

// reserveFleeting reserves for an event that is not stored, so that it need not wait for those on
// disk.
func (l *lane) reserveFleeting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used == laneQueue || l.sub.Load() == nil {
		return false
	}
	l.used++
	return true
}

func (l *lane) release(n int) {
	l.mu.Lock()
	l.used -= n
	refill := l.behind && l.used <= laneQueue/2
	l.mu.Unlock()
	if refill {
		l.nudge()
	}
}

func (l *lane) push(j job) {
	if !j.fleeting {
		l.mu.Lock()
		l.held[j.key()] = l.engine.opts.Now()
		l.mu.Unlock()
	}
	l.queue <- j
}

func (l *lane) drop(j job) {
	if !j.fleeting {
		l.mu.Lock()
		delete(l.held, j.key())
		l.mu.Unlock()
	}
}

func (j *job) key() core.DeliveryKey { return core.DeliveryKey{Seq: j.Seq, Listener: j.Listener} }

func (l *lane) heldSince(before time.Time) []core.DeliveryKey {
	l.mu.Lock()
	defer l.mu.Unlock()
	var keys []core.DeliveryKey
	for k, since := range l.held {
		if since.Before(before) {
			keys = append(keys, k)
		}
	}
	return keys
}

func (l *lane) due(at time.Time) {
	l.mu.Lock()
	earlier := l.nextDue.IsZero() || at.Before(l.nextDue)
	if earlier {
		l.nextDue = at
	}
	l.mu.Unlock()
	if earlier {
		l.nudge()
	}
}

func (l *lane) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// feed claims what is due on disk. It is the only reader of the store for this lane.
func (l *lane) feed(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var adopted time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-timer.C:
		}
		now := l.engine.opts.Now()
		if l.sub.Load() != nil && now.Sub(adopted) >= adoptEvery {
			l.adopt(ctx)
			adopted = now
		}
		timer.Reset(l.refill(ctx, now))
	}
}

// refill claims until nothing more is due or there is no room, and returns when to look again.
func (l *lane) refill(ctx context.Context, now time.Time) time.Duration {
	for l.sub.Load() != nil && ctx.Err() == nil {
		room, due := l.room(now)
		if !due {
			break
		}
		if room == 0 {
			return poll // a worker wakes the feeder when there is room
		}
		claimed, err := l.engine.opts.Store.Claim(ctx, l.name, room)
		if err != nil {
			l.release(room)
			if ctx.Err() == nil {
				l.engine.opts.Log.Error("deliveries could not be claimed", "listener", l.name, "err", err)
			}
			return poll
		}
		l.take(claimed, room)
		if len(claimed) == room {
			l.fallBehind() // there may be more
			continue
		}
		if !l.caughtUp(ctx, now) {
			return poll
		}
	}
	return l.untilDue(now)
}

func (l *lane) fallBehind() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.behind = true
}

// room reserves slots for a claim, when one is due.
func (l *lane) room(now time.Time) (slots int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.behind && l.nextDue.After(now) {
		return 0, false
	}
	slots = min(laneQueue-l.used, claimMax)
	l.used += slots
	// Whatever becomes due from now on is announced again.
	l.nextDue = now.Add(poll)
	return slots, true
}

func (l *lane) take(claimed []core.Delivery, room int) {
	l.release(room - len(claimed))
	for _, d := range claimed {
		j := job{Delivery: d}
		l.mu.Lock()
		_, twice := l.held[j.key()]
		l.mu.Unlock()
		if twice { // its lease ran out while it waits in memory
			l.release(1)
			continue
		}
		if err := l.engine.opts.Restore(&j.Event); err != nil {
			l.engine.opts.Log.Warn("a stored event could not be named again", "event", j.Event.ID, "listener", l.name, "err", err)
		}
		l.push(j)
	}
}

// caughtUp notes that nothing more is due now, and when something will be. What was stored in the
// meantime without a reservation has called due, which makes the feeder look once more.
func (l *lane) caughtUp(ctx context.Context, now time.Time) bool {
	at, ok, err := l.engine.opts.Store.NextDue(ctx, l.name)
	if err != nil {
		if ctx.Err() == nil {
			l.engine.opts.Log.Error("due deliveries could not be read", "listener", l.name, "err", err)
		}
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.behind = false
	if ok && at.After(now) && at.Before(l.nextDue) {
		l.nextDue = at
	}
	return true
}

func (l *lane) untilDue(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return min(max(l.nextDue.Sub(now), 0), poll)
}

func (l *lane) adopt(ctx context.Context) {
	n, err := l.engine.opts.Store.Adopt(ctx, l.name)
	if err != nil && ctx.Err() == nil {
		l.engine.opts.Log.Error("deliveries of ended processes could not be taken over", "listener", l.name, "err", err)
	}
	if n > 0 {
		l.engine.opts.Log.Info("took over unfinished deliveries", "listener", l.name, "count", n)
		l.due(l.engine.opts.Now())
	}
}
