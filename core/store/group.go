package store

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/failpoint"
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
	ev     *core.Event
	held   []bool       // for each of Plan.Listeners: a slot is reserved in memory
	failed *atomic.Bool // of a sequence: one before it failed, so it must not be stored; may be nil

	done    chan struct{}
	seq     int64 // 0 when no event row was written
	deliver bool  // the delivery rows were written
	again   bool  // the event was there already, under this very id
	receipt core.Receipt
	err     error
}

func (p *plan) accept(seq int64) {
	p.seq, p.deliver, p.receipt = seq, true, core.Receipt{ID: p.ev.ID}
}

func (p *plan) reset() { p.seq, p.deliver, p.again = 0, false, false }

// known settles an event that an earlier transaction stored without its result being heard of. Its
// deliveries may have been taken since, by whoever read them, so they are not handed over.
func (p *plan) known() {
	p.reset()
	p.again, p.receipt = true, core.Receipt{ID: p.ev.ID}
}

// batch is the work of one transaction.
type batch struct {
	now      time.Time
	bytes    int // of the plans' events
	plans    []*plan
	attempts []core.Attempt
	others   bool // set by write: another process may have stored something just before

	// Set by write: the tokens under which the attempts' shards are held; nil where all are.
	held map[int]int64
}

func (b *batch) add(p *plan) {
	b.plans = append(b.plans, p)
	b.bytes += p.ev.Bytes()
}

func (b *batch) size() int { return len(b.plans) + len(b.attempts) }

var errNoLease = errors.New("this process has lost its place among the replicas for now")

var errOutOfOrder = errors.New("an event before it could not be stored")

// Run writes what Commit and Finish bring until ctx ends, then what is still waiting, and returns.
// Whoever calls Commit and Finish should have stopped before ctx ends.
func (s *Store) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	beside.Go(func() { s.retentionLoop(ctx) })
	beside.Go(func() { s.countLoop(ctx) })
	keepCtx, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	beside.Go(func() { s.backend.keep(keepCtx, s) })
	s.writeLoop(ctx)
	release() // after the last results, which count only under what is held
	beside.Wait()
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
	b.plans = slices.DeleteFunc(b.plans, func(p *plan) bool {
		if p.failed == nil || !p.failed.Load() {
			return false
		}
		s.settle([]*plan{p}, false, errOutOfOrder)
		return true
	})
	for _, p := range b.plans {
		s.reserve(p)
	}
	err := s.write(b, b.plans)
	if err == nil {
		s.saved(b)
	} else if b.size() > 1 && !errors.Is(err, errNoLease) && s.backend.blames(err) {
		err = s.flushSingly(b)
	} else {
		s.settle(b.plans, false, err)
	}
	s.trouble.Note(s.opts.Log, time.Now(), err, "the store could not write", "the store writes again", "plans", len(b.plans), "results", len(b.attempts))
	clear(b.plans)
	b.plans, b.bytes = b.plans[:0], 0
}

// write runs the transaction and, when it succeeded, hands its deliveries over.
func (s *Store) write(b *batch, plans []*plan) error {
	if !s.holds.leased(time.Second) { // others may not count with this process
		return errNoLease
	}
	failpoint.Pass(failpoint.BeforeTx)
	if len(b.attempts) > 0 {
		failpoint.Pass(failpoint.BeforeResult)
	}
	if err := s.backend.write(b); err != nil {
		return err
	}
	failpoint.Pass(failpoint.AfterCommit)
	// What another process stored before must be read before anything newer goes through memory.
	s.shared.Store(b.others || s.shared.Load() && !s.alone) // what others have stored is read once more when they are gone
	fresh := !b.others && s.alone
	if !b.others && !s.alone {
		s.intake.Look(true)
	}
	s.alone = !b.others
	if b.others && len(plans) > 0 { // also what another stored before, and nobody was woken for
		s.intake.Look(false)
	}
	if slices.ContainsFunc(plans, func(p *plan) bool { return p.again }) {
		s.intake.Look(true)
	}
	s.settle(plans, fresh, nil)
	return nil
}

// flushSingly keeps one request that the database refuses from failing those beside it.
func (s *Store) flushSingly(b *batch) error {
	var errs []error
	for i, p := range b.plans {
		if p.failed != nil && p.failed.Load() {
			s.settle(b.plans[i:i+1], false, errOutOfOrder)
			continue
		}
		if err := s.write(&batch{now: b.now, plans: b.plans[i : i+1]}, b.plans[i:i+1]); err != nil {
			if p.failed != nil {
				p.failed.Store(true)
			}
			s.settle(b.plans[i:i+1], false, err)
			errs = append(errs, err)
		}
	}
	if len(b.attempts) > 0 {
		one := &batch{now: b.now, attempts: b.attempts}
		if err := s.write(one, nil); err != nil {
			errs = append(errs, err)
		} else {
			b.held = one.held
			s.saved(b)
		}
	}
	return errors.Join(errs...)
}

// saved forgets the attempts, which are on disk, or belong to shards that are others' by now.
func (s *Store) saved(b *batch) {
	if len(b.attempts) == 0 {
		return
	}
	failpoint.Pass(failpoint.AfterResult)
	var saved, lost []core.Attempt
	for _, a := range b.attempts {
		s.holds.end(a.Shard)
		if b.held != nil && b.held[a.Shard] != a.Epoch {
			lost = append(lost, a)
			continue
		}
		saved = append(saved, a)
		if a.State != core.Waiting {
			s.pending.Add(-1)
		}
	}
	if len(saved) > 0 {
		s.intake.Saved(saved)
	}
	if len(lost) > 0 {
		s.intake.Lost(lost)
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
		p.held[i] = s.intake.Reserve(listener, p.ev.Bytes())
	}
}

// settle hands the deliveries over and answers the waiting requests, in this order: the event
// belongs to the request again once it is answered.
func (s *Store) settle(plans []*plan, fresh bool, err error) {
	for _, p := range plans {
		p.err = err
		if err == nil && p.deliver {
			s.pending.Add(int64(len(p.ev.Plan.Listeners)))
		}
		s.handOver(p, fresh)
		close(p.done)
	}
}

func (s *Store) handOver(p *plan, fresh bool) {
	for i, held := range p.held {
		listener := p.ev.Plan.Listeners[i]
		stored := p.err == nil && p.deliver
		d := core.Delivery{Pending: core.Pending{Seq: p.seq, Turn: p.seq, Record: p.ev.Record()}, Listener: listener}
		if !held || !stored || !fresh || s.holds.current(d.Shard()) == 0 {
			s.intake.Return(listener, held, stored)
			continue
		}
		d.Event = *p.ev
		s.intake.Take(d)
	}
	p.held = nil
}
