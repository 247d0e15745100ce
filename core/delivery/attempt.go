package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/failpoint"
)

const (
	// maxErrorText is how much of a listener's error is kept.
	maxErrorText = 4 << 10

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

// serve makes attempts until ctx ends, or until there are more workers than the subscription wants.
func (l *lane) serve(ctx context.Context) {
	for {
		it, sub := l.next(ctx)
		if it == nil {
			return
		}
		if it.fleeting {
			l.attemptFleeting(ctx, sub, it)
		} else {
			l.attempt(ctx, sub, it)
		}
	}
}

// next waits for something that may run; nil ends the worker.
func (l *lane) next(ctx context.Context) (*item, *Subscription) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if ctx.Err() != nil || l.sub != nil && l.workers > l.sub.Concurrency {
			l.workers--
			return nil, nil
		}
		if l.sub != nil && len(l.runnable) > 0 && l.gate.enter() {
			break
		}
		l.work.Wait()
	}
	it := l.runnable[0]
	l.runnable[0] = nil
	if l.runnable = l.runnable[1:]; len(l.runnable) == 0 {
		l.runnable = nil // the slice would hold on to what it held
	}
	it.at = running
	l.used--
	l.bytes -= it.event.Bytes()
	if l.used == laneQueue/2 && (l.behind || l.missed || len(l.waits) > 0) || len(l.unloaded) > 0 && len(l.runnable) == 0 {
		l.nudge()
	}
	return it, l.sub
}

// attempt makes one attempt under the shard's token, and passes its result on.
func (l *lane) attempt(ctx context.Context, sub *Subscription, it *item) {
	e := l.engine
	shard := it.Shard()
	if !e.begin(shard, it.epoch, 1+len(it.others)) {
		l.yield(it)
		return
	}
	failpoint.Pass(failpoint.Claim)
	a := core.Attempt{
		DeliveryKey: core.DeliveryKey{Seq: it.Seq, Listener: l.name}, Shard: shard, Epoch: it.epoch, Turn: it.Turn, Started: e.opts.Now(),
	}
	ev := it.event
	var err error
	switch {
	case it.Crashes >= maxCrashes:
		a.State, a.Err = core.Quarantined, fmt.Sprintf("it ended its runner %d times", it.Crashes)
	case sub.DropStale && it.Record != 0 && !it.event.OccurredAt.IsZero() && it.event.OccurredAt.Before(it.newest):
		a.State = core.Skipped
		a.Err = fmt.Sprintf("stale: it occurred at %s, and one of %s was handled already", it.event.OccurredAt.Format(time.RFC3339Nano), it.newest.Format(time.RFC3339Nano))
	default:
		err = l.call(ctx, sub, it, &a)
	}
	l.report(ev, a)
	e.opts.Observe(ev, a) // before the record's next can run
	l.ended(it, &a, err)
	if a.State != core.Waiting {
		for _, o := range it.others {
			e.opts.Store.Finish(core.Attempt{
				DeliveryKey: core.DeliveryKey{Seq: o.Seq, Listener: l.name}, Shard: shard, Epoch: it.epoch, Turn: o.Turn,
				State: core.Skipped, Started: a.Started, Err: "gathered: " + ev.ID + " stands for it",
			})
		}
	} else {
		e.release(shard, len(it.others))
	}
	e.opts.Store.Finish(a)
	e.watches.tell(ev.ID, l.name, err)
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

// call runs the listener and judges what came of it.
func (l *lane) call(ctx context.Context, sub *Subscription, it *item, a *core.Attempt) error {
	a.Number = it.Tried + 1
	if sub.Code != nil {
		a.Code = sub.Code()
	}
	end := l.engine.opts.Journal.Start(a.DeliveryKey, a.Number)
	failpoint.Pass(failpoint.AttemptNoted)
	began := time.Now()
	err := handle(ctx, sub, *it.event)
	a.Took = time.Since(began)
	failpoint.Pass(failpoint.AfterHandler)
	end()
	if err == nil {
		a.State = core.Done
		if sub.DropStale && it.Record != 0 { // what is about nothing is older than nothing
			a.Record, a.Occurred = it.Record, it.event.OccurredAt
		}
		return nil
	}
	judge(sub, it, a, err)
	return err
}

// judge decides what a failure leaves the delivery in.
func judge(sub *Subscription, it *item, a *core.Attempt, err error) {
	a.State, a.Err, a.Wait = core.Waiting, clip(err.Error()), sub.Retry.Wait(a.Number)
	if asked := core.RetryAfter(err); asked > 0 {
		a.Wait = asked
	}
	switch kind := core.KindOf(err); {
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
	l.gate.probing = false
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
	delete(l.known, it.Seq)
	for _, o := range it.others {
		delete(l.known, o.Seq)
	}
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
	it.Tried, it.saved = a.Number, false
	if a.Crashed {
		it.Crashes++
	}
	l.await(it, waiting, l.now().Add(a.Wait))
	if l.sub != nil && l.sub.OnFailure == Skip { // as it is by now
		l.advance(it.Record, it)
	}
}

func (l *lane) gateResult(it *item, a *core.Attempt, err error) {
	log := l.engine.opts.Log
	switch {
	case a.Number == 0: // the listener was not called, which says nothing of it
		l.gate.probing = false
	case err == nil:
		if l.gate.succeeded() {
			log.Info("the listener works again", "listener", l.name)
			l.work.Broadcast()
		}
	default:
		if pause, opened := l.gate.failed(it.Seq, err, l.now()); opened {
			log.Error("the listener keeps failing and is left alone for a while", "listener", l.name, "pause", pause, "err", a.Err)
			l.nudge()
		}
	}
}

// handle calls the listener with its deadline. An attempt that runs when the engine stops may end
// on its own; the listener's time-out bounds it.
func handle(ctx context.Context, sub *Subscription, ev core.Event) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sub.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	failpoint.Pass(failpoint.BeforeHandler)
	return sub.Listener.Handle(ctx, ev)
}

func (l *lane) report(ev *core.Event, a core.Attempt) {
	if a.State == core.Done && !l.engine.opts.Log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	log := l.engine.opts.Log.With("event", ev.ID, "type", ev.Type(), "listener", l.name, "attempt", a.Number, "took", a.Took)
	switch a.State {
	case core.Done:
		log.Debug("delivered")
	case core.Waiting:
		log.Warn("attempt failed", "again", a.Wait.Round(time.Millisecond), "err", a.Err)
	case core.Skipped:
		log.Info("delivery skipped", "why", a.Err)
	case core.Quarantined:
		log.Error("delivery quarantined", "why", a.Err)
	default:
		log.Error("delivery given up", "err", a.Err)
	}
}

// attemptFleeting makes an attempt for an event that is not stored.
func (l *lane) attemptFleeting(ctx context.Context, sub *Subscription, it *item) {
	a := core.Attempt{DeliveryKey: core.DeliveryKey{Listener: l.name}, Started: l.engine.opts.Now()}
	err := l.call(ctx, sub, it, &a)
	l.report(it.event, a)
	l.engine.opts.Observe(it.event, a)
	l.mu.Lock()
	l.gateResult(it, &a, err)
	l.mu.Unlock()
	if a.State == core.Waiting {
		it.Tried = a.Number
		l.again(ctx, it, a.Wait)
	}
	l.engine.watches.tell(it.event.ID, l.name, err)
}

// again puts an event that is not stored back after its wait. It keeps a slot meanwhile, so that
// memory stays bounded.
func (l *lane) again(ctx context.Context, it *item, wait time.Duration) {
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
		l.mu.Lock()
		defer l.mu.Unlock()
		if ctx.Err() == nil {
			l.run(it)
		}
	})
}

func clip(s string) string {
	if len(s) <= maxErrorText {
		return s
	}
	return s[:maxErrorText] + "…"
}
