package delivery

import (
	"time"

	"github.com/pipehook/pipehook/core"
)

// maxPause is how far a circuit breaker's pause grows, in times of the first.
const maxPause = 16

// Breaker says when a listener is left alone for a while: after so many deliveries in a row have
// failed. Then one is tried at a time, each after a longer pause, until one succeeds. Attempts that
// would fail are so not used up while what the listener needs is down.
type Breaker struct {
	Failures int // 0 never pauses
	Pause    time.Duration
}

// gate decides whether a lane's deliveries may run now.
type gate struct {
	paused  bool // somebody said so
	rule    Breaker
	failing map[int64]bool // deliveries that failed since the last success
	until   time.Time      // with open
	pause   time.Duration
	open    bool // the circuit is: nothing runs until then
	probing bool // one runs to see whether it works again
	away    bool // the listener could not be reached the last time
}

func (g *gate) policy(sub *Subscription) {
	if sub == nil || sub.Breaker == g.rule {
		return
	}
	g.rule = sub.Breaker
	g.succeeded()
}

// shut reports whether nothing may run.
func (g *gate) shut() bool { return g.paused || g.open }

// enter asks for one to run.
func (g *gate) enter() bool {
	if g.shut() || g.probing {
		return false
	}
	g.probing = g.pause > 0 || g.away
	return true
}

// reopen reports whether the pause has just ended, so that one may be tried.
func (g *gate) reopen(now time.Time) bool {
	if !g.open || now.Before(g.until) {
		return false
	}
	g.open = false
	return true
}

func (g *gate) left(now time.Time) time.Duration {
	if !g.open {
		return 0
	}
	return max(g.until.Sub(now), time.Millisecond)
}

func (g *gate) succeeded() (closed bool) {
	closed = g.pause > 0 || g.away
	clear(g.failing)
	g.open, g.probing, g.away, g.pause = false, false, false, 0
	return closed
}

// unreached shuts the gate for a while, and reports whether that is news.
func (g *gate) unreached(wait time.Duration, now time.Time) (news bool) {
	news = !g.away
	g.probing, g.away = false, true
	if until := now.Add(wait); !g.open || until.After(g.until) {
		g.open, g.until = true, until
	}
	return news
}

// failed counts a failure and reports whether the circuit has opened by it, and for how long.
func (g *gate) failed(seq int64, err error, now time.Time) (time.Duration, bool) {
	probe := g.probing && g.pause > 0
	g.probing, g.away = false, false
	if g.rule.Failures == 0 || core.KindOf(err) == core.Permanent || core.RetryAfter(err) > 0 {
		return 0, false // the event's own fault, or a wait that is asked for, says nothing of the next
	}
	if g.failing == nil {
		g.failing = map[int64]bool{}
	}
	if len(g.failing) < g.rule.Failures {
		g.failing[seq] = true
	}
	if g.open || !probe && len(g.failing) < g.rule.Failures {
		return 0, false
	}
	g.pause = min(max(2*g.pause, g.rule.Pause), maxPause*g.rule.Pause)
	g.open, g.until = true, now.Add(g.pause)
	return g.pause, true
}
