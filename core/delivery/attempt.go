package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/pipehook/pipehook/core"
)

// maxErrorText is how much of a listener's error is kept.
const maxErrorText = 4 << 10

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

// work makes attempts until ctx ends, or until there are more workers than the subscription wants.
func (l *lane) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-l.queue:
			if ctx.Err() != nil { // both were ready: the job stays stored
				return
			}
			l.release(1)
			if sub := l.sub.Load(); sub != nil {
				l.attempt(ctx, sub, j)
			} else {
				l.drop(j)
			}
		}
		if l.surplus() {
			return
		}
	}
}

func (l *lane) surplus() bool {
	sub := l.sub.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	if sub != nil && l.workers > sub.Concurrency {
		l.workers--
		return true
	}
	return false
}

func (l *lane) attempt(ctx context.Context, sub *Subscription, j job) {
	e := l.engine
	a := core.Attempt{DeliveryKey: j.key(), Number: j.Attempt, Started: e.opts.Now()}
	if sub.Code != nil {
		a.Code = sub.Code()
	}
	began := time.Now()
	err := handle(ctx, sub, j.Event)
	a.Took = time.Since(began)
	a.State, a.Err = core.Done, ""
	if err != nil {
		a.State, a.Err = core.Pending, clip(err.Error())
		a.Next = e.opts.Now().Add(sub.Retry.Wait(j.Attempt))
		if j.Attempt >= sub.Retry.Attempts || core.KindOf(err) == core.Permanent {
			a.State = core.Dead
		}
	}
	l.report(&j.Event, a)
	if j.fleeting {
		l.again(ctx, j, a)
	} else {
		l.drop(j)
		e.opts.Store.Finish(a)
	}
	e.opts.Observe(&j.Event, a)
	e.watches.tell(j.Event.ID, l.name, err)
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
	case core.Pending:
		log.Warn("attempt failed", "again", a.Next.Sub(a.Started).Round(time.Millisecond), "err", a.Err)
	case core.Dead:
		log.Error("delivery given up", "err", a.Err)
	}
}

// again puts an event that is not stored back after its wait. It keeps its slot meanwhile, so that
// memory stays bounded.
func (l *lane) again(ctx context.Context, j job, a core.Attempt) {
	if a.State != core.Pending {
		return
	}
	if !l.reserveFleeting() {
		l.engine.opts.Log.Error("delivery lost: the event is not stored and the listener has too much to do", "event", j.Event.ID, "listener", l.name)
		return
	}
	j.Attempt++
	time.AfterFunc(a.Next.Sub(l.engine.opts.Now()), func() {
		if ctx.Err() == nil {
			l.push(j)
		}
	})
}

func clip(s string) string {
	if len(s) <= maxErrorText {
		return s
	}
	return s[:maxErrorText] + "…"
}
