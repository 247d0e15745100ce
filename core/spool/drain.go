package spool

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/failpoint"
)

// drainLoop gives the store what waits, whenever something does.
func (s *Spool) drainLoop(ctx context.Context) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-s.wake:
		case <-retry.C:
		case <-ctx.Done():
			return
		}
		if err := s.Drain(ctx); err != nil {
			retry.Reset(s.opts.Retry)
		}
	}
}

// Drain gives the store what waits until nothing does, or the store fails. Run does so by itself;
// this is for a folder that nobody else uses.
func (s *Spool) Drain(ctx context.Context) error {
	for s.waiting.Load() {
		if err := s.drainSome(ctx); err != nil {
			return err
		}
	}
	return nil
}

// drainSome gives the store the next few events of the oldest file, or does away with it at its
// end. It is called by one goroutine at a time.
func (s *Spool) drainSome(ctx context.Context) error {
	s.mu.Lock()
	seg := *s.segments[0] // its size may grow meanwhile
	s.mu.Unlock()
	found, readErr := seg.readSome(maxBatch)
	if len(found) > 0 {
		return s.give(ctx, found)
	}
	if readErr != nil {
		if !errors.Is(readErr, errTorn) && !errors.Is(readErr, errDamaged) {
			s.opts.Log.Error("the spool can't be read; it is tried again", "file", seg.path, "err", readErr)
			return readErr
		}
		aside, err := seg.putAside()
		if err != nil {
			s.opts.Log.Error("a damaged file of the spool can't be put aside", "file", seg.path, "err", err)
			return err
		}
		s.opts.Log.Error("the end of a file of the spool can't be read and was put aside: a write that was cut off and never acknowledged, or damage",
			"file", aside, "bytes", seg.size-seg.read, "err", readErr)
	}
	return s.finish(seg.size)
}

// give hands the events to the store.
func (s *Spool) give(ctx context.Context, found []entry) error {
	evs := make([]*core.Event, len(found))
	for i, e := range found {
		evs[i] = e.ev
		if err := s.opts.Restore(e.ev); err != nil {
			s.opts.Log.Warn("an event in the spool is not what its source knows; it is stored as it is", "event", e.ev.ID, "err", err)
		}
	}
	settled, err := s.opts.Store.CommitAll(ctx, evs)
	for i, r := range settled {
		if r.Duplicate {
			s.opts.Log.Info("an event in the spool was a duplicate", "event", evs[i].ID, "first", r.ID)
		}
	}
	n := len(settled)
	failpoint.Pass(failpoint.SpoolGiven)
	if n < len(evs) && err != nil && !away(err) { // this one never goes in
		if err := s.refuse(evs[n], err); err != nil {
			return err
		}
		n, err = n+1, nil
	}
	if n > 0 {
		s.mu.Lock()
		s.segments[0].read = found[n-1].end
		s.mu.Unlock()
	}
	return err
}

// refuse keeps an event that the store will never take, for people to look at.
func (s *Spool) refuse(ev *core.Event, cause error) error {
	record, err := appendRecord(nil, ev)
	if err != nil {
		return err
	}
	path := strings.TrimSuffix(s.segments[0].path, suffix) + "-" + ev.ID + suffixRefused
	if err := writeSynced(path, record); err != nil {
		s.opts.Log.Error("an event that the store refuses can't be put aside", "event", ev.ID, "err", err)
		return err
	}
	s.opts.Log.Error("the store refuses an event for good; it was put aside", "event", ev.ID, "file", path, "err", cause)
	return nil
}

// finish does away with the oldest file if it has been read to its end, which was at size. When it
// was the only one the store is used directly again.
func (s *Spool) finish(size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.segments[0]
	if seg.size > size {
		return nil // it has grown
	}
	if len(s.segments) == 1 {
		if err := s.seal(); err != nil {
			s.opts.Log.Warn("a file of the spool was not closed well", "err", err)
		}
	}
	failpoint.Pass(failpoint.SpoolEnd)
	if err := os.Remove(seg.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.opts.Log.Error("a file of the spool can't be deleted; its events are given to the store again", "file", seg.path, "err", err)
		return err
	}
	s.segments = s.segments[1:]
	s.state.Bytes -= seg.size
	if len(s.segments) == 0 {
		s.opts.Log.Info("the spool is empty; events go to the store directly again", "after", time.Since(s.state.Since).Round(time.Millisecond))
		s.state = State{}
		s.waiting.Store(false)
	}
	return nil
}
