package store

import (
	"context"
	"errors"
	"time"
)

// Keep says how much of the past stays. What still has a pending delivery always does.
type Keep struct {
	Age  time.Duration // since the event was received; 0 for any
	Size int64         // bytes of all events, about; 0 for any
}

const (
	forgetRows  = 500 // at a time, so that a commit never waits long
	forgetEvery = time.Minute
)

// Retain changes how much is kept, from the next look at it on.
func (s *Store) Retain(k Keep) { s.keep.Store(&k) }

// retentionLoop deletes events whose deliveries have ended, the oldest first. Of several processes
// only the one that serves the first shard does so; with the shard the duty passes to another.
func (s *Store) retentionLoop(ctx context.Context) {
	var sizing rest
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		timer.Reset(time.Second) // the duty may pass to this process
		if s.holds.current(0) != 0 {
			timer.Reset(forgetEvery)
			if err := s.forget(ctx, *s.keep.Load(), &sizing); err != nil && ctx.Err() == nil {
				s.opts.Log.Error("old events could not be deleted", "err", err)
			}
		}
	}
}

// rest keeps what takes long from being done all the time: it pauses a hundred times as long as it took.
type rest struct{ until time.Time }

func (r *rest) over(now time.Time) bool { return !now.Before(r.until) }

func (r *rest) after(began, now time.Time) time.Duration {
	pause := 100 * now.Sub(began)
	r.until = now.Add(pause)
	return pause
}

func (s *Store) forget(ctx context.Context, k Keep, sizing *rest) error {
	err := s.forgetExpired(ctx)
	if k.Age > 0 {
		err = errors.Join(err, s.forgetOld(ctx, k.Age, nil), s.backend.forgetBeside(ctx, k.Age))
	}
	return errors.Join(err, s.forgetBeyond(ctx, k, sizing))
}

// forgetBeyond deletes the oldest while there is too much.
func (s *Store) forgetBeyond(ctx context.Context, k Keep, sizing *rest) error {
	began := time.Now()
	if k.Size <= 0 || !sizing.over(began) {
		return nil
	}
	size, err := s.backend.size(ctx)
	sizing.after(began, time.Now())
	if err != nil || size <= k.Size {
		return err
	}
	return s.forgetOld(ctx, 0, func(freed int64) bool {
		size -= freed
		return size <= k.Size
	})
}

// forgetOld deletes what is older than age until enough says so; nil for never.
func (s *Store) forgetOld(ctx context.Context, age time.Duration, enough func(freed int64) bool) error {
	for after := int64(0); ctx.Err() == nil; {
		last, freed, err := s.backend.forget(ctx, age, after, forgetRows)
		if err != nil || last == 0 || enough != nil && enough(freed) {
			return err
		}
		after = last
	}
	return nil
}

// recountEvery is how often the pending deliveries are counted anew. Between counts this process's
// own changes are added up.
const recountEvery = 5 * time.Second

// Pending is about how many deliveries are pending, of all listeners and processes.
func (s *Store) Pending() int64 { return s.pending.Load() }

// countLoop counts what is pending. Counting very much takes its time, so it rests a hundred times
// as long as it took.
func (s *Store) countLoop(ctx context.Context) {
	var counting rest
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		// What is stored while the count runs may be in it and added too, until the next count.
		began, before := time.Now(), s.pending.Load()
		var n int64
		err := s.read.NewSelect().Table("deliveries").ColumnExpr("count(*)").Where("state = 0").Scan(ctx, &n)
		if err == nil {
			s.pending.Add(n - before)
		}
		timer.Reset(max(recountEvery, counting.after(began, time.Now())))
	}
}
