package store

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/pipehook/pipehook/core"
)

const (
	maxBatch      = 256     // plans of one transaction; SQLite gains nothing beyond
	maxBatchBytes = 4 << 20 // of bodies; PostgreSQL takes them as one value

	// attemptsWait is how long results may wait for a plan to share its transaction. They are not
	// urgent, and each commit of their own would stand in the way of an answer.
	attemptsWait = 10 * time.Millisecond
	retryWrite   = time.Second
)

// plan is one request's plan and, after its transaction, the result.
type plan struct {
	ev   *core.Event
	held []bool // for each of Plan.Listeners: a slot is reserved in memory

	done    chan struct{}
	seq     int64 // 0 when no event row was written
	deliver bool  // the delivery rows were written
	receipt core.Receipt
	err     error
}

func (p *plan) accept(seq int64) {
	p.seq, p.deliver, p.receipt = seq, true, core.Receipt{ID: p.ev.ID}
}

// batch is the work of one transaction.
type batch struct {
	now      time.Time
	bytes    int // of the plans' bodies
	plans    []*plan
	attempts []core.Attempt
}

func (b *batch) add(p *plan) {
	b.plans = append(b.plans, p)
	b.bytes += len(p.ev.Body)
}

func (b *batch) size() int { return len(b.plans) + len(b.attempts) }

// Run writes what Commit and Finish bring until ctx ends, then what is still waiting, and returns.
// Whoever calls Commit and Finish should have stopped before ctx ends.
func (s *Store) Run(ctx context.Context) error {
	n := s.backend.writers() + 1
	ended := make(chan struct{}, n)
	for range n - 1 {
		go func() { // owned here: Run returns when all have ended
			s.writeLoop(ctx)
			ended <- struct{}{}
		}()
	}
	go func() {
		s.retentionLoop(ctx)
		ended <- struct{}{}
	}()
	for range n {
		<-ended
	}
	close(s.stopped)
	return nil
}

// writeLoop is the group commit: whatever arrived while the last transaction ran is the next one.
// So nothing waits when idle, and the running commit is the time in which a batch gathers.
func (s *Store) writeLoop(ctx context.Context) {
	var b batch
	for {
		if !s.gather(ctx, &b) {
			break
		}
		// Requests that are about to commit get a turn on the processor first. An idle server loses
		// nothing by it; a busy one shares each transaction among about twice as many.
		runtime.Gosched()
		s.fill(&b)
		s.flush(&b)
	}
	for s.fill(&b); b.size() > 0; s.fill(&b) {
		if s.flush(&b); len(b.attempts) > 0 {
			s.opts.Log.Error("results of deliveries were not saved; they will be attempted again", "count", len(b.attempts))
			return
		}
	}
}

// gather waits for work and fills the batch; false means that ctx has ended.
func (s *Store) gather(ctx context.Context, b *batch) bool {
	wait := attemptsWait
	if len(b.attempts) == 0 {
		select {
		case p := <-s.plans:
			b.add(p)
		case a := <-s.attempts:
			b.attempts = append(b.attempts, a)
		case <-ctx.Done():
			return false
		}
	} else {
		wait = retryWrite // left over from a transaction that failed
	}
	s.fill(b)
	if len(b.plans) == 0 && len(b.attempts) < maxBatch {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case p := <-s.plans:
			b.add(p)
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
		s.fill(b)
	}
	return true
}

func (s *Store) fill(b *batch) {
	for len(b.plans) < maxBatch && b.bytes < maxBatchBytes {
		select {
		case p := <-s.plans:
			b.add(p)
			continue
		default:
		}
		break
	}
	for len(b.attempts) < 2*maxBatch {
		select {
		case a := <-s.attempts:
			b.attempts = append(b.attempts, a)
			continue
		default:
		}
		break
	}
}

// flush writes the batch and answers its plans. Attempts that could not be saved stay in it.
func (s *Store) flush(b *batch) {
	b.now = s.opts.Now()
	for _, p := range b.plans {
		s.reserve(p)
	}
	err := s.backend.write(b)
	switch {
	case err == nil:
		s.settle(b.plans, b.now, nil)
		s.announce(b)
	case b.size() > 1:
		err = s.flushSingly(b)
	default:
		s.settle(b.plans, b.now, err)
	}
	if err != nil {
		s.opts.Log.Error("the store could not write", "plans", len(b.plans), "results", len(b.attempts), "err", err)
	}
	clear(b.plans)
	b.plans, b.bytes = b.plans[:0], 0
}

// flushSingly keeps one request that the database refuses from failing those beside it.
func (s *Store) flushSingly(b *batch) error {
	var errs []error
	for _, p := range b.plans {
		err := s.backend.write(&batch{now: b.now, plans: []*plan{p}})
		s.settle([]*plan{p}, b.now, err)
		errs = append(errs, err)
	}
	if len(b.attempts) > 0 {
		err := s.backend.write(&batch{now: b.now, attempts: b.attempts})
		if err == nil {
			s.announce(b)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// announce says when the attempts that were saved and failed can be made again, and forgets them.
func (s *Store) announce(b *batch) {
	for i := range b.attempts {
		if a := &b.attempts[i]; a.State == core.Pending {
			s.intake.Due(a.Listener, a.Next)
		}
	}
	clear(b.attempts)
	b.attempts = b.attempts[:0]
}

func (s *Store) reserve(p *plan) {
	if !p.ev.Plan.Store {
		return
	}
	p.held = make([]bool, len(p.ev.Plan.Listeners))
	for i, listener := range p.ev.Plan.Listeners {
		p.held[i] = s.intake.Reserve(listener)
	}
}

// settle hands the deliveries over and answers the waiting requests, in this order: the event
// belongs to the request again once it is answered.
func (s *Store) settle(plans []*plan, now time.Time, err error) {
	for _, p := range plans {
		p.err = err
		s.handOver(p, now)
		close(p.done)
	}
}

func (s *Store) handOver(p *plan, now time.Time) {
	for i, held := range p.held {
		listener := p.ev.Plan.Listeners[i]
		switch stored := p.err == nil && p.deliver; {
		case held && stored:
			s.intake.Take(core.Delivery{Seq: p.seq, Listener: listener, Attempt: 1, Event: *p.ev})
		case held:
			s.intake.Release(listener)
		case stored:
			s.intake.Due(listener, now)
		}
	}
}

// retentionLoop deletes events whose deliveries have ended, a few at a time so that it never
// stands long in the way of a commit.
func (s *Store) retentionLoop(ctx context.Context) {
	if s.opts.Retention <= 0 {
		return
	}
	const batchRows, pause = 500, time.Minute
	tick := time.NewTicker(pause)
	defer tick.Stop()
	var after int64
	for {
		var err error
		if after, err = s.backend.forget(ctx, s.opts.Now().Add(-s.opts.Retention), after, batchRows); err != nil && ctx.Err() == nil {
			s.opts.Log.Error("old events could not be deleted", "err", err)
		}
		if after != 0 && ctx.Err() == nil {
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
