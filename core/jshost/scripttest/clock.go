package scripttest

import (
	"context"
	"slices"
	"sync"
	"time"
)

// begin is what the clock of a test shows unless the test says otherwise: always the same, so that
// what a script makes of it is too.
var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clock is a time that moves only when there is nothing to do but wait: then it jumps to what is
// waited for.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	alarms []*alarm // the earliest first
	// answering are operations that wait for the test's own code, which may wait for the clock. One
	// whose context has ended is about to end.
	answering map[context.Context]struct{}
}

type alarm struct {
	due time.Time
	f   func()
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// AfterFunc implements engine.Clock.
func (c *clock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &alarm{c.now.Add(d), f}
	at, _ := slices.BinarySearchFunc(c.alarms, a, func(x, y *alarm) int {
		if x.due.After(y.due) {
			return 1
		}
		return -1 // after those of the same moment
	})
	c.alarms = slices.Insert(c.alarms, at, a)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		i := slices.Index(c.alarms, a)
		if i < 0 {
			return false
		}
		c.alarms = slices.Delete(c.alarms, i, i+1)
		return true
	}
}

// asks says that an operation waits for the test's code from now on, and answered that it has the answer.
func (c *clock) asks(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answering == nil {
		c.answering = map[context.Context]struct{}{}
	}
	c.answering[ctx] = struct{}{}
}

func (c *clock) answered(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.answering, ctx)
}

// Waiting implements engine.Waiter: the call waits for so many operations, and for the clock.
func (c *clock) Waiting(operations int) {
	c.mu.Lock()
	for ctx := range c.answering {
		if ctx.Err() == nil {
			operations--
		} else {
			delete(c.answering, ctx)
		}
	}
	if operations > 0 || len(c.alarms) == 0 {
		c.mu.Unlock()
		return
	}
	a := c.alarms[0]
	c.alarms = c.alarms[1:]
	if a.due.After(c.now) { // mock.now may have gone past it
		c.now = a.due
	}
	c.mu.Unlock()
	a.f()
}
