package mirror

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Timing says when comparisons run.
type Timing struct {
	Every   time.Duration // 0 for never; a gap is looked at all the same
	Off     bool          // there is nothing to compare, and what failed is not tried again
	AtStart bool
	Settle  time.Duration // so long after a gap what came last may still arrive
}

// Schedule runs comparisons: at the start, every so often, and after gaps. It is a core.Service.
type Schedule struct {
	timing func() Timing
	run    func(ctx context.Context, sweep bool) (Report, error)
	log    *slog.Logger

	mu   sync.Mutex
	gap  time.Time // when to look at one; zero for none
	wake chan struct{}
}

const (
	soonest   = time.Minute // after a failure; doubled up to Every, or an hour
	longest   = time.Hour
	timingAge = time.Minute // how long a timing that may change is relied on
)

// NewSchedule makes a Schedule. timing is asked again and again. run compares; with sweep all ids. It is not called twice at
// a time; whether another process compares it says with a *Busy.
func NewSchedule(timing func() Timing, run func(ctx context.Context, sweep bool) (Report, error), log *slog.Logger) *Schedule {
	return &Schedule{timing: timing, run: run, log: log, wake: make(chan struct{}, 1)}
}

// Gap says that webhooks may have been missed since a time: a comparison looks at all, once what came last has settled. Of a
// ban it is called when the ban has ended.
func (s *Schedule) Gap(since time.Time, why string) {
	s.log.Warn("webhooks may have been missed; all is compared soon", "since", since, "why", why)
	s.mu.Lock()
	s.gap = time.Now().Add(s.timing().Settle)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run implements core.Service.
func (s *Schedule) Run(ctx context.Context) error {
	began, last, failed := time.Now(), time.Time{}, 0
	var retry time.Time
	first := s.timing().AtStart
	for {
		if s.timing().Off {
			first, retry = false, time.Time{}
			s.taken(true)
		}
		due, sweep := s.due(began, last, retry, first)
		if wait := time.Until(due); due.IsZero() || wait > 0 {
			if !s.sleep(ctx, due) {
				return nil
			}
			continue
		}
		s.taken(sweep)
		report, err := s.run(ctx, sweep)
		if ctx.Err() != nil {
			return nil
		}
		err = errors.Join(err, report.Failed())
		first, last, retry = false, time.Now(), time.Time{}
		if err == nil {
			failed = 0
			continue
		}
		if sweep {
			s.again()
		}
		if busy, ok := errors.AsType[*Busy](err); ok {
			retry = busy.Until.Add(jitter(5 * time.Second))
			s.log.Debug("another process compares", "owner", busy.Owner)
			continue
		}
		wait := min(soonest<<min(failed, 10), longest)
		failed++
		retry = time.Now().Add(wait + jitter(wait/4))
		s.log.Error("what webhooks may have missed could not be looked at in full; trying again", "in", wait.String(), "err", err)
	}
}

// due is when the next comparison is, zero for never, and whether it is because of a gap.
func (s *Schedule) due(began, last, retry time.Time, first bool) (time.Time, bool) {
	s.mu.Lock()
	gap := s.gap
	s.mu.Unlock()
	if !retry.IsZero() {
		return retry, !gap.IsZero() && !gap.After(retry)
	}
	var next time.Time
	switch every := s.timing().Every; {
	case first:
		next = began
	case every > 0 && last.IsZero():
		next = began.Add(every)
	case every > 0:
		next = last.Add(every)
	}
	if !gap.IsZero() && (next.IsZero() || gap.Before(next)) {
		return gap, true
	}
	return next, false
}

func (s *Schedule) taken(gap bool) {
	if gap {
		s.mu.Lock()
		s.gap = time.Time{}
		s.mu.Unlock()
	}
}

// again has a gap looked at once more.
func (s *Schedule) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gap.IsZero() {
		s.gap = time.Now()
	}
}

// sleep waits until then or until something is new. Processes that have started together do not ask together.
func (s *Schedule) sleep(ctx context.Context, until time.Time) bool {
	wait := timingAge
	if !until.IsZero() {
		if wait = time.Until(until); wait > timingAge {
			wait = timingAge
		} else {
			wait += jitter(wait / 10)
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.wake:
	case <-ctx.Done():
		return false
	}
	return true
}

func jitter(most time.Duration) time.Duration { return rand.N(max(most, 1)) }
