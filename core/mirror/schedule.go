package mirror

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Timing says when comparisons run.
type Timing struct {
	Every   time.Duration // 0 for never; a gap is looked at all the same
	Off     bool          // there is nothing to compare, and what failed is not tried again
	AtStart bool
	Settle  time.Duration // so long after a gap what came last may still arrive: then a comparison looks at all
}

// Schedule runs comparisons: at the start, every so often, and after gaps. Of several processes with the same tables one does
// what is due to all. It is a core.Service.
type Schedule struct {
	timing   func() Timing
	gap      func(ctx context.Context) (time.Time, error)
	compared func(ctx context.Context) (time.Time, error)
	run      func(ctx context.Context) (Report, error)
	log      *slog.Logger
	asking   core.Trouble // the tables
	wake     chan struct{}
}

const (
	soonest   = time.Minute // after a failure; doubled up to Every, or an hour
	longest   = time.Hour
	timingAge = time.Minute // how long a timing that may change, and that there is no gap, is relied on
)

// NewSchedule makes a Schedule. timing, gap, which is Mirror.Gap, and compared, which is Mirror.Compared, are asked again and
// again. run compares. It is not called twice at a time; whether another process compares it says with a *Busy.
func NewSchedule(timing func() Timing, gap, compared func(ctx context.Context) (time.Time, error), run func(ctx context.Context) (Report, error), log *slog.Logger) *Schedule {
	return &Schedule{timing: timing, gap: gap, compared: compared, run: run, log: log, wake: make(chan struct{}, 1)}
}

// Wake has it look at once whether there is a gap, which it else learns of within a minute.
func (s *Schedule) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run implements core.Service.
func (s *Schedule) Run(ctx context.Context) error {
	began, last, failed := time.Now(), time.Time{}, 0
	var retry, busy time.Time // busy is when another process may have ended
	first := s.timing().AtStart
	for {
		if s.timing().Off {
			first, retry = false, time.Time{}
		}
		due := retry
		if retry.IsZero() {
			due = s.due(ctx, began, last, first)
		}
		if !due.IsZero() && due.Before(busy) {
			due = busy
		}
		if wait := time.Until(due); due.IsZero() || wait > 0 {
			if !s.sleep(ctx, due) {
				return nil
			}
			continue
		}
		report, err := s.run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if other, ok := errors.AsType[*Busy](err); ok { // it may do what is due here: that is asked again when it has
			busy = other.Until.Add(jitter(5 * time.Second))
			s.log.Debug("another process compares", "owner", other.Owner)
			continue
		}
		err = errors.Join(err, report.unfinished())
		first, last, retry = false, time.Now(), time.Time{}
		if err == nil {
			failed = 0
			continue
		}
		wait := min(soonest<<min(failed, 10), longest)
		if every := s.timing().Every; every > 0 {
			wait = min(wait, every)
		}
		failed++
		retry = time.Now().Add(wait + jitter(wait/4))
		s.log.Error("what webhooks may have missed could not be looked at in full; trying again", "in", wait.String(), "err", err)
	}
}

// due is when the next comparison is, zero for never. A gap that stays is no reason to compare all the time. A start needs none
// when one has ended since, whoever began it: that process has served from before this one on.
func (s *Schedule) due(ctx context.Context, began, last time.Time, first bool) (next time.Time) {
	timing := s.timing()
	if timing.Off {
		return next
	}
	compared, unknown := s.compared(ctx)
	if first && compared.Before(began) {
		return began
	}
	if timing.Every > 0 {
		next = later(later(began, last), compared).Add(timing.Every)
	}
	gap, err := s.gap(ctx)
	s.asking.Note(s.log, time.Now(), errors.Join(err, unknown), "whether webhooks may have been missed can't be looked up", "whether webhooks may have been missed is looked up again")
	if err != nil || gap.IsZero() {
		return next
	}
	settled := later(gap.Add(timing.Settle), last.Add(soonest))
	if next.IsZero() || settled.Before(next) {
		return settled
	}
	return next
}

// sleep waits until then, or until something may be new. Processes that have started together do not ask together.
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

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
