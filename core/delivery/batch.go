package delivery

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pipehook/pipehook/core"
)

// errSilent is what an attempt came to about which the listener has said nothing.
var errSilent = errors.New("the listener did not say what came of the event")

// batch are attempts that a listener makes one after another. What it has not begun can be called back.
type batch struct {
	lane   *lane
	share  *share
	tries  []try
	ended  int // how many of them have
	ctx    context.Context
	cancel context.CancelFunc
}

// attemptAll lets the listener make the attempts. What it has not begun when the batch is called
// back, or takes longer than was expected, has not been attempted.
func (l *lane) attemptAll(ctx context.Context, s *share, listener core.BatchListener) {
	b := &batch{lane: l, share: s, tries: s.tries}
	b.ctx, b.cancel = context.WithCancel(ctx)
	defer b.cancel()
	if len(b.tries) > 1 {
		late := time.AfterFunc(batchWithin, b.cancel)
		defer late.Stop()
		b.lend()
	}
	err := b.handle(listener)
	if err == nil && b.ended == 0 && b.ctx.Err() == nil {
		err = errSilent // as it is, it would be given the same for ever
	}
	if b.cancel(); err != nil {
		b.done(core.Outcome{Err: err, Code: codeOf(s.sub)})
	}
	b.handBack()
}

// lend makes the batch one that can be called back, which may have been wanted since it was taken.
func (b *batch) lend() {
	l := b.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches[b] = struct{}{}
	if l.sub != b.share.sub || l.rewinds != b.share.rewinds || l.gate.shut() {
		b.cancel()
	}
}

func (b *batch) handle(listener core.BatchListener) (err error) {
	defer recovered(&err)
	evs := make([]core.Event, len(b.tries))
	for i, t := range b.tries {
		evs[i] = *t.it.event
	}
	b.lane.turn(&b.tries[0])
	listener.HandleBatch(b.ctx, b.share.sub.Timeout, evs, b.done)
	return nil
}

// done takes the outcome of the attempt whose turn it was. Then it is the turn of the next, unless
// the batch was called back.
func (b *batch) done(out core.Outcome) {
	if b.ended == len(b.tries) {
		return
	}
	t := &b.tries[b.ended]
	if b.ended++; t.end == nil { // the listener had begun before it heard that it should not
		b.lane.turn(t)
	}
	b.lane.conclude(b.share.sub, t, out)
	if b.ended < len(b.tries) && b.ctx.Err() == nil {
		b.lane.turn(&b.tries[b.ended])
	}
}

// recall calls back what has not begun of all batches.
func (l *lane) recall() {
	for b := range l.batches {
		b.cancel()
	}
}

// handBack takes back what has not begun. It is again the first to run, unless the lane has begun
// to read anew meanwhile: then it will be found on disk, as it is there by now.
func (b *batch) handBack() {
	l, left := b.lane, b.tries[b.ended:]
	b.tries = b.tries[:b.ended] // nothing that is said now counts
	for _, t := range left {
		if t.end != nil {
			t.end()
		}
		if !t.it.fleeting {
			l.engine.release(t.a.Shard, 1+len(t.it.others))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.batches, b)
	if len(left) == 0 {
		return
	}
	if b.ended == 0 { // the next may take the time that none had here
		l.pace.slow()
	}
	fresh := l.rewinds == b.share.rewinds
	items := make([]*item, 0, len(left))
	for _, t := range left {
		if l.unprobe(t.it); fresh || t.it.fleeting && l.sub != nil {
			items = append(items, t.it)
		}
	}
	l.runAgain(items)
	if !fresh {
		for _, t := range left {
			l.drop(t.it)
		}
		l.reset()
		l.nudge()
	}
}

// runAgain puts items in front of all that can run.
func (l *lane) runAgain(items []*item) {
	l.runnable = slices.Insert(l.runnable, 0, items...)
	for _, it := range items {
		it.at = toRun
		l.used++
		l.bytes += len(it.event.Body)
		l.work.Signal()
	}
}
