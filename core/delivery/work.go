package delivery

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/pipehook/pipehook/core"
)

// serve makes attempts until ctx ends, or until there are more workers than the subscription wants.
func (l *lane) serve(ctx context.Context) {
	var s share
	for l.next(ctx, &s) {
		l.attempt(ctx, &s)
		clear(s.items)
		clear(s.tries)
	}
}

// share is what a worker has taken to attempt.
type share struct {
	items   []*item
	tries   []try // of those that need one; their memory is used again
	sub     *Subscription
	rewinds int // the lane's at that time
}

// next waits for something that may run; false ends the worker.
func (l *lane) next(ctx context.Context, s *share) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if ctx.Err() != nil || l.sub != nil && l.workers > l.sub.Concurrency {
			l.workers--
			return false
		}
		if l.sub != nil && len(l.runnable) > 0 && l.gate.enter() {
			break
		}
		l.work.Wait()
	}
	s.items, s.sub, s.rewinds = s.items[:0], l.sub, l.rewinds
	for most, bytes := l.most(), 0; len(s.items) < most; {
		it := l.runnable[0]
		if bytes += it.event.Bytes(); bytes > batchBytes && len(s.items) > 0 {
			break
		}
		l.takeOut(it)
		s.items = append(s.items, it)
	}
	return true
}

// most is how many events a worker takes at once. They are of different records where there is an
// order: of each only the first is ever among those that can run.
func (l *lane) most() int {
	if _, ok := l.sub.Listener.(core.BatchListener); !ok || l.gate.probing {
		return 1
	}
	if bulk, ok := l.sub.Listener.(core.BulkListener); ok {
		return min(len(l.runnable), bulk.Bulk())
	}
	fair := (len(l.runnable) + l.workers - 1) / l.workers
	return min(fair, l.pace.size())
}

// takeOut takes the first out of what can run.
func (l *lane) takeOut(it *item) {
	l.runnable[0] = nil
	if l.runnable = l.runnable[1:]; len(l.runnable) == 0 {
		l.runnable = nil // the slice would hold on to what it held
	}
	it.at, it.probe = running, l.gate.probing
	l.used--
	l.bytes -= it.event.Bytes()
	if l.used == laneQueue/2 && (l.behind || l.missed || len(l.waits) > 0) || len(l.unloaded) > 0 && len(l.runnable) == 0 {
		l.nudge()
	}
}

// unprobe lets another delivery say whether the listener works, when this one was to and did not.
func (l *lane) unprobe(it *item) {
	if it.probe {
		l.gate.probing = false
	}
}

// attempt makes an attempt of each item.
func (l *lane) attempt(ctx context.Context, s *share) {
	s.tries = slices.Grow(s.tries[:0], len(s.items))
	for _, it := range s.items {
		if t, needed := l.open(s.sub, it); needed {
			s.tries = append(s.tries, t)
		}
	}
	if len(s.tries) == 0 {
		return
	}
	if many, ok := s.sub.Listener.(core.BatchListener); ok {
		l.attemptAll(ctx, s, many)
		return
	}
	t, out := &s.tries[0], core.Outcome{Code: codeOf(s.sub)}
	l.turn(t)
	began := time.Now()
	out.Err = handle(ctx, s.sub, *t.it.event)
	out.Took = time.Since(began)
	l.conclude(s.sub, t, out)
}

func codeOf(sub *Subscription) string {
	if sub.Code == nil {
		return ""
	}
	return sub.Code()
}

// handle calls the listener with its deadline. An attempt that runs when the engine stops may end
// on its own; the listener's time-out bounds it.
func handle(ctx context.Context, sub *Subscription, ev core.Event) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sub.Timeout)
	defer cancel()
	defer recovered(&err)
	return sub.Listener.Handle(ctx, ev)
}

// recovered makes an error of a panic, when it is deferred.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	}
}
