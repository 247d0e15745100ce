package pipedrive

import (
	"context"
	"sync"
	"time"
)

const (
	window     = 2 * time.Second  // in which Pipedrive counts requests; it rolls
	patience   = 2 * time.Minute  // longer than this no call waits
	firstPause = 2 * time.Second  // after a 429 that names no time; it doubles
	mostPause  = 64 * time.Second // up to this
	firstBlock = 5 * time.Minute  // after the page that refuses all traffic; how long it lasts is documented nowhere
	mostBlock  = time.Hour
)

// BudgetOptions bound what a Client asks for.
type BudgetOptions struct {
	Daily int64 // tokens in a day of UTC, of this process; 0 leaves it to Pipedrive
	Burst int   // requests in two seconds until Pipedrive says another number; 20 when 0
}

// BudgetState is what is left to ask for, as far as is known.
type BudgetState struct {
	Limit      int       // requests in two seconds
	Remaining  int       // of these now
	Reset      time.Time // when all traffic goes on again, or the next slot is free; zero for now
	DailyLimit int64     // tokens; 0 when not known
	DailyLeft  int64     // -1 when not known
	DailyReset time.Time
	Spent      int64 // tokens, by this process since the day began
	Waiting    int   // calls that wait for their turn
	Blocked    bool  // all traffic is refused until Reset
}

// budget lets requests go one by one so that Pipedrive never sees more than its burst in two seconds: a slot
// is taken before a request is sent and is free two seconds after its answer came, because nobody
// knows when in between Pipedrive counted it.
type budget struct {
	now func() time.Time

	mu      sync.Mutex
	burst   int // as configured
	limit   int
	flying  int         // sent and not answered
	resting []time.Time // when the slots of what is answered are free, in order
	queues  [2][]*turn  // who waits; those of interactive calls come first
	timer   *time.Timer // wakes the queues; nil when nobody has to be woken
	left    int         // as Pipedrive said, until leftEnd: other programs may use the same token
	leftAt  time.Time   // it said so
	leftEnd time.Time

	pausedTill  time.Time // after a 429
	pauses      int       // 429s since the last good answer
	blockedTill time.Time
	blocks      int
	day         day
}

// turn is a call that waits.
type turn struct {
	ready chan struct{}
	probe bool // whether the day is still spent
}

func newBudget(now func() time.Time) *budget { return &budget{now: now, day: newDay()} }

// use bounds it from now on. What is spent stays so, and what Pipedrive said of its limit until another is configured.
func (b *budget) use(o BudgetOptions) {
	if o.Burst <= 0 {
		o.Burst = 20
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.day.cap = o.Daily; o.Burst != b.burst {
		b.burst, b.limit = o.Burst, o.Burst
	}
}

// acquire waits for the turn of a request and spends its tokens. What it returns is called with the answer's
// headers, or nil, once there is one, and is told whether the request was surely never sent.
func (b *budget) acquire(ctx context.Context, method string, cost int64, background bool) (func(v *verdict, unsent bool), *Error) {
	b.mu.Lock()
	t := &turn{ready: make(chan struct{})}
	if err := b.refuse(t, method, cost, background); err != nil {
		b.mu.Unlock()
		return nil, err
	}
	line := &b.queues[0]
	if background {
		line = &b.queues[1]
	}
	*line = append(*line, t)
	b.pump()
	b.mu.Unlock()
	select {
	case <-t.ready:
	case <-ctx.Done():
		if b.leave(t) {
			return nil, &Error{Reason: Canceled, Err: context.Cause(ctx)}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refuse(t, method, cost, background); err != nil { // somebody else was told while this one waited
		b.flying--
		b.pump()
		return nil, err
	}
	back := b.day.spend(cost, method)
	sent := b.now()
	return func(v *verdict, unsent bool) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if unsent {
			back()
		}
		b.release(sent, v)
	}, nil
}

// leave takes a turn out of its queue; false when its time has come.
func (b *budget) leave(t *turn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.queues {
		for k, other := range b.queues[i] {
			if other == t {
				b.queues[i] = append(b.queues[i][:k], b.queues[i][k+1:]...)
				return true
			}
		}
	}
	return false
}

// refuse is why a request is not even waited for.
func (b *budget) refuse(t *turn, method string, cost int64, background bool) *Error {
	now := b.now()
	if wait := b.blockedTill.Sub(now); wait > 0 {
		return &Error{Reason: Blocked, RetryAfter: wait}
	}
	if err := b.day.refuse(now, &t.probe, method, cost, background); err != nil {
		return err
	}
	if wait := b.pausedTill.Sub(now); wait > patience {
		return &Error{Reason: RateLimited, RetryAfter: wait}
	}
	return nil
}

// pump gives free slots to who waits, and sees to it that it runs again when there are more.
func (b *budget) pump() {
	now := b.now()
	stuck := now.Before(b.blockedTill) || b.pausedTill.Sub(now) > patience // they are told so, and do not wait
	for i := range b.queues {
		for len(b.queues[i]) > 0 && (stuck || b.wait(i == 1) <= 0) {
			t := b.queues[i][0]
			b.queues[i] = b.queues[i][1:]
			b.flying++
			if now.Before(b.leftEnd) {
				b.left--
			}
			close(t.ready)
		}
	}
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	wait := time.Duration(-1)
	if len(b.queues[1]) > 0 {
		wait = b.wait(true)
	}
	if len(b.queues[0]) > 0 {
		wait = b.wait(false)
	}
	if wait >= 0 {
		b.timer = time.AfterFunc(max(wait, time.Millisecond), func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.pump()
		})
	}
}

// wait is how long it takes until a slot is free; when only an answer can free one, a window at most.
// Background work leaves a fifth of the slots alone and waits for all who are interactive.
func (b *budget) wait(background bool) time.Duration {
	now := b.now()
	for len(b.resting) > 0 && !b.resting[0].After(now) {
		b.resting = b.resting[1:]
	}
	limit := b.limit
	if background {
		if len(b.queues[0]) > 0 {
			return window
		}
		limit = max(1, limit-max(1, limit/5))
	}
	wait := max(b.pausedTill.Sub(now), b.blockedTill.Sub(now))
	if used := b.flying + len(b.resting); used >= limit {
		if over := used - limit; over < len(b.resting) {
			wait = max(wait, b.resting[over].Sub(now))
		} else {
			wait = max(wait, window)
		}
	}
	if b.left <= 0 && now.Before(b.leftEnd) {
		wait = max(wait, b.leftEnd.Sub(now))
	}
	return wait
}

// blockedFor is how long all traffic is still refused.
func (b *budget) blockedFor() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.blockedTill.Sub(b.now())
}

// state is for people to look at.
func (b *budget) state() BudgetState {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	s := BudgetState{Limit: b.limit, Waiting: len(b.queues[0]) + len(b.queues[1]), Blocked: now.Before(b.blockedTill)}
	if wait := b.wait(false); wait > 0 {
		s.Reset = now.Add(wait)
	}
	s.Remaining = max(0, b.limit-b.flying-len(b.resting))
	if now.Before(b.leftEnd) {
		s.Remaining = max(0, min(s.Remaining, b.left))
	}
	b.day.state(now, &s)
	return s
}
