package core

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Alarm says that something fails that is tried from many goroutines and works in between: at once,
// then once a minute at most, and when it has not failed for a minute. Its zero value has seen no
// failure; Log, Failing and Over must be set.
type Alarm struct {
	Log           *slog.Logger
	Failing, Over string           // what the log says
	Now           func() time.Time // nil for time.Now

	failing atomic.Bool
	mu      sync.Mutex
	last    time.Time // when it failed last
	told    Trouble
}

// Note is told what every try came to. args stand in the log beside a failure.
func (a *Alarm) Note(err error, args ...any) {
	if err == nil && !a.failing.Load() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.Now != nil {
		now = a.Now()
	}
	switch {
	case err != nil:
		a.last = now
		a.failing.Store(true)
	case now.Sub(a.last) < sayTroubleEvery:
		return
	default:
		a.failing.Store(false)
	}
	a.told.Note(a.Log, now, err, a.Failing, a.Over, args...)
}

var errHalf = errors.New("half of the time that was left for the answer is over")

// Half leaves half of what time there is to whoever comes after.
func Half(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, time.Until(deadline)/2, errHalf)
}
