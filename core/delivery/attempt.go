package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/failpoint"
)

const (
	// maxErrorText is how much of a listener's error is kept.
	maxErrorText = 4 << 10

	// unreachedWait is how long a listener that can't be reached is left alone at most, when nobody knows
	// when it is there again: retry is about failures, and may be slow.
	unreachedWait = 2 * time.Second

	// maxCrashes is how often a delivery may end its runner before it is left alone.
	maxCrashes = 3
)

// Retry says how often and when to try again: First, then twice as long each time up to Max, each
// wait shortened at random by up to half so that failures that came together do not return so.
type Retry struct {
	Attempts int // in all; 1 never tries again
	First    time.Duration
	Max      time.Duration
}

// Wait is how long to wait after the attempt with the given number, from 1.
func (r Retry) Wait(number int) time.Duration {
	wait := r.First
	for i := 1; i < number && wait < r.Max; i++ {
		wait *= 2
	}
	wait = min(wait, r.Max)
	if wait <= 1 {
		return wait
	}
	return wait/2 + rand.N(wait/2)
}

// try is an attempt that is being made.
type try struct {
	it  *item
	a   core.Attempt
	end func() // of its note in the journal, once its turn has come
}

// open begins an attempt under the shard's token. What comes to nothing, or to something without
// the listener, is dealt with here: then no attempt is needed.
func (l *lane) open(sub *Subscription, it *item) (t try, needed bool) {
	t = try{it: it, a: core.Attempt{DeliveryKey: core.DeliveryKey{Listener: l.name}}}
	if it.fleeting {
		return t, true
	}
	e, shard := l.engine, it.Shard()
	if !e.begin(shard, it.epoch, 1+len(it.others)) {
		l.yield(it)
		return t, false
	}
	failpoint.Pass(failpoint.Claim)
	t.a.Seq, t.a.Shard, t.a.Epoch, t.a.Turn = it.Seq, shard, it.epoch, it.Turn
	if t.a.State, t.a.Err = needless(sub, it); t.a.State != core.Waiting {
		t.a.Started = e.opts.Now()
		l.settle(&t, nil)
		return t, false
	}
	return t, true
}

// needless says what becomes of a delivery without a call; Waiting when it needs one.
func needless(sub *Subscription, it *item) (state core.State, why string) {
	switch occurred := it.event.OccurredAt; {
	case it.Crashes >= maxCrashes:
		return core.Quarantined, fmt.Sprintf("it ended its runner %d times", it.Crashes)
	case sub.DropStale && it.Record != 0 && !occurred.IsZero() && occurred.Before(it.newest):
		return core.Skipped, fmt.Sprintf("stale: it occurred at %s, and one of %s was handled already", occurred.Format(time.RFC3339Nano), it.newest.Format(time.RFC3339Nano))
	}
	return core.Waiting, ""
}

// turn notes that the listener has the event from now on.
func (l *lane) turn(t *try) {
	t.a.Number, t.a.Started = t.it.Tried+1, l.engine.opts.Now()
	t.end = l.engine.opts.Journal.Start(t.a.DeliveryKey, t.a.Number)
	failpoint.Pass(failpoint.AttemptNoted)
	failpoint.Pass(failpoint.BeforeHandler)
}

// conclude judges what came of a call, and passes it on.
func (l *lane) conclude(sub *Subscription, t *try, out core.Outcome) {
	failpoint.Pass(failpoint.AfterHandler)
	t.end()
	t.a.Took, t.a.Code, t.a.Output = out.Took, out.Code, clip(out.Output)
	if out.Err != nil {
		judge(sub, t.it, &t.a, out.Err)
	} else {
		t.a.State = core.Done
		if sub.DropStale && t.it.Record != 0 { // what is about nothing is older than nothing
			t.a.Record, t.a.Occurred = t.it.Record, t.it.event.OccurredAt
		}
	}
	l.settle(t, out.Err)
}

// settle tells everybody what has come of an attempt.
func (l *lane) settle(t *try, err error) {
	e, it, ev := l.engine, t.it, t.it.event
	l.report(ev, t.a)
	e.opts.Observe(ev, t.a) // before the record's next can run
	if it.fleeting {
		l.endedFleeting(t, err)
	} else {
		l.ended(it, &t.a, err)
		l.save(t, ev.ID)
	}
	e.watches.tell(ev.ID, l.name, err)
}

// save gives the store the result of the attempt, and with it of what was gathered.
func (l *lane) save(t *try, id string) {
	e, it := l.engine, t.it
	if t.a.State == core.Waiting {
		e.release(t.a.Shard, len(it.others))
	} else {
		for _, o := range it.others {
			e.opts.Store.Finish(core.Attempt{
				DeliveryKey: core.DeliveryKey{Seq: o.Seq, Listener: l.name}, Shard: t.a.Shard, Epoch: it.epoch, Turn: o.Turn,
				State: core.Skipped, Started: t.a.Started, Err: "gathered: " + id + " stands for it",
			})
		}
	}
	e.opts.Store.Finish(t.a)
}

func (e *Engine) begin(shard int, epoch int64, n int) bool {
	for i := range n {
		if !e.opts.Store.Begin(shard, epoch) {
			e.release(shard, i)
			return false
		}
	}
	return true
}

func (e *Engine) release(shard, n int) {
	for range n {
		e.opts.Store.Abandon(shard)
	}
}

// judge decides what a failure leaves the delivery in.
func judge(sub *Subscription, it *item, a *core.Attempt, err error) {
	a.State, a.Err, a.Wait = core.Waiting, clip(err.Error()), sub.Retry.Wait(a.Number)
	asked := core.RetryAfter(err)
	if asked > 0 {
		a.Wait = asked
	}
	switch kind := core.KindOf(err); {
	case kind == core.Unreached && !it.fleeting: // no attempt was made, and none is used up
		if a.Number = 0; asked == 0 {
			a.Wait = min(a.Wait, unreachedWait)
		}
		return
	case kind == core.Crashed && it.Crashes+1 >= maxCrashes:
		a.Crashed, a.State = true, core.Quarantined
	case kind == core.Crashed:
		a.Crashed = true
	case kind == core.Permanent:
		a.State = core.Dead
	}
	if a.State == core.Waiting && a.Number >= sub.Retry.Attempts {
		a.State = core.Dead
	}
	if a.State == core.Waiting {
		failpoint.Pass(failpoint.Retry)
	} else {
		failpoint.Pass(failpoint.DeadLetter)
	}
}

// yield gives up a delivery whose shard another process may serve by now. If it is still ours, it
// is found again on disk, in front of what comes after it.
func (l *lane) yield(it *item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unprobe(it)
	l.abandon(it)
}

// lost is told of a result that does not count.
func (l *lane) lost(a *core.Attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if it, ok := l.known[a.Seq]; ok && it.epoch == a.Epoch && (it.at == saving || it.at == waiting && !it.saved) {
		l.abandon(it)
	}
}

// abandon forgets a delivery as if it had not run. What comes after it goes with it, so that all is
// read again in its order.
func (l *lane) abandon(it *item) {
	l.drop(it)
	l.reset()
	l.nudge()
}

// ended updates the memory after an attempt: the record goes on, or waits with it.
func (l *lane) ended(it *item, a *core.Attempt, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gateResult(it, a, err)
	if now := l.engine.opts.Store.Epoch(a.Shard); now != 0 && now != it.epoch { // others have served it meanwhile
		l.abandon(it)
		return
	}
	it.event = nil
	if a.State == core.Done && a.Occurred.After(l.handled[it.Record].occurred) {
		l.handled[it.Record] = mark{a.Occurred, it.Seq}
	}
	if a.State != core.Waiting {
		it.at = saving
		l.advance(it.Record, it)
		return
	}
	if it.saved = false; a.Number > 0 {
		it.Tried = a.Number
	}
	if a.Crashed {
		it.Crashes++
	}
	l.await(it, waiting, l.now().Add(a.Wait))
	switch {
	case l.sub != nil && l.sub.OnFailure == Skip: // as it is by now
		l.advance(it.Record, it)
	case l.overtook(it):
		it.edited = true // so that all take their places again once that is on disk
	}
}

func (l *lane) gateResult(it *item, a *core.Attempt, err error) {
	log := l.engine.opts.Log
	if a.Number > 0 {
		l.pace.note(a.Took, a.Crashed)
	}
	switch {
	case core.KindOf(err) == core.Unreached:
		if l.gate.unreached(a.Wait, l.now()) {
			log.Error("the listener can't be reached; its deliveries wait", "listener", l.name, "again", a.Wait.Round(time.Millisecond), "err", a.Err)
			l.recall()
			l.nudge()
		}
	case a.Number == 0: // the listener was not called, which says nothing of it
		l.unprobe(it)
	case err == nil:
		if l.gate.succeeded() {
			log.Info("the listener works again", "listener", l.name)
			l.work.Broadcast()
		}
	default:
		if pause, opened := l.gate.failed(it.Seq, err, l.now()); opened {
			log.Error("the listener keeps failing and is left alone for a while", "listener", l.name, "pause", pause, "err", a.Err)
			l.recall()
			l.nudge()
		}
	}
}

func (l *lane) report(ev *core.Event, a core.Attempt) {
	if l.engine.opts.Quiet || a.State == core.Done && !l.engine.opts.Log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	log := l.engine.opts.Log.With("event", ev.ID, "type", ev.Type(), "listener", l.name, "attempt", a.Number, "took", a.Took)
	switch a.State {
	case core.Done:
		log.Debug("delivered")
	case core.Waiting:
		if a.Number == 0 { // which is said of the listener, once
			return
		}
		log.Warn("attempt failed", "again", a.Wait.Round(time.Millisecond), "err", a.Err)
	case core.Skipped:
		log.Info("delivery skipped", "why", a.Err)
	case core.Quarantined:
		log.Error("delivery quarantined", "why", a.Err)
	default:
		log.Error("delivery given up", "err", a.Err)
	}
}

// endedFleeting deals with the end of an attempt for an event that is not stored.
func (l *lane) endedFleeting(t *try, err error) {
	l.mu.Lock()
	l.gateResult(t.it, &t.a, err)
	l.mu.Unlock()
	if t.a.State == core.Waiting {
		t.it.Tried = t.a.Number
		l.again(t.it, t.a.Wait)
	}
}

// again puts an event that is not stored back after its wait. It keeps a slot meanwhile, so that
// memory stays bounded.
func (l *lane) again(it *item, wait time.Duration) {
	l.mu.Lock()
	room := l.used < laneQueue
	if room {
		l.used++
	}
	l.mu.Unlock()
	if !room {
		l.engine.opts.Log.Error("delivery lost: the event is not stored and the listener has too much to do", "event", it.event.ID, "listener", l.name)
		return
	}
	time.AfterFunc(wait, func() {
		if l.engine.stopped() {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.run(it)
	})
}

func clip(s string) string {
	if len(s) <= maxErrorText {
		return s
	}
	return s[:maxErrorText] + "…"
}
