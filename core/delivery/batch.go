package delivery

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/pipehook/pipehook/core"
)

// errSilent is what an attempt came to about which the listener has said nothing.
var errSilent = errors.New("the listener did not say what came of the event")

// batch are attempts that a listener makes one after another. Those that have not begun can be
// called back. Its fields belong to who holds the lane's mu.
type batch struct {
	lane   *lane
	share  *share
	tries  []try // nil when the listener has returned
	begun  int   // how many of them have, or are on their way
	ended  int   // and how many of those have ended
	closed bool  // no other may begin
}

// attemptAll lets the listener make the attempts.
func (l *lane) attemptAll(ctx context.Context, s *share, listener core.BatchListener) {
	b := &batch{lane: l, share: s, tries: s.tries}
	all := b.deliveries() // what is called back belongs to others
	if len(b.tries) > 1 {
		b.lend()
		late := time.AfterFunc(batchWithin, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			b.close()
		})
		defer late.Stop()
	}
	err := b.handle(ctx, listener, all)
	if err == nil {
		err = errSilent
	}
	b.begin(0) // with none begun it would be the same again, for ever
	l.mu.Lock()
	b.close()
	begun := b.begun
	l.mu.Unlock()
	for i := range begun {
		b.done(i, core.Outcome{Err: err, Code: codeOf(s.sub)})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b.tries = nil
}

// lend makes the batch one that can be called back, which may have been wanted since it was taken.
func (b *batch) lend() {
	l := b.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches[b] = struct{}{}
	if l.sub != b.share.sub || l.rewinds != b.share.rewinds || l.gate.shut() {
		b.close()
	}
}

func (b *batch) deliveries() []core.Delivery {
	all := make([]core.Delivery, len(b.tries))
	for i := range b.tries {
		it := b.tries[i].it
		all[i] = core.Delivery{Pending: it.Pending, Listener: b.lane.name, Event: *it.event, Newest: it.newest}
	}
	return all
}

func (b *batch) handle(ctx context.Context, listener core.BatchListener, all []core.Delivery) (err error) {
	timeout, within := b.share.sub.Timeout, time.Duration(math.MaxInt64)
	if shares := time.Duration(len(all) + 1); timeout < within/shares {
		within = timeout * shares
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	defer recovered(&err)
	listener.HandleBatch(ctx, timeout, all, b.begin, b.done)
	return nil
}

// begin is asked whether an attempt may begin. Its turn comes when those before it have ended.
func (b *batch) begin(i int) bool {
	t, turn := b.next(i)
	if turn {
		b.lane.turn(t)
	}
	return t != nil
}

func (b *batch) next(i int) (t *try, turn bool) {
	b.lane.mu.Lock()
	defer b.lane.mu.Unlock()
	if b.closed || i != b.begun || i >= len(b.tries) {
		return nil, false
	}
	b.begun++
	return &b.tries[i], b.ended == i
}

// done takes the outcome of the attempt whose turn it is.
func (b *batch) done(i int, out core.Outcome) {
	b.begin(i) // where it went wrong before that
	b.lane.mu.Lock()
	if i != b.ended || i >= b.begun || i >= len(b.tries) {
		b.lane.mu.Unlock()
		return
	}
	t := &b.tries[i]
	b.ended++
	b.lane.mu.Unlock()
	b.lane.conclude(b.share.sub, t, out)
	b.lane.mu.Lock()
	more := b.ended < b.begun
	b.lane.mu.Unlock()
	if more {
		b.lane.turn(&b.tries[i+1])
	}
}

// recall calls back what has not begun of all batches.
func (l *lane) recall() {
	for b := range l.batches {
		b.close()
	}
}

// close takes back what has not begun. It is again the first to run, unless the lane has begun to
// read anew meanwhile: then it is read again, as it is on disk by now.
func (b *batch) close() {
	l := b.lane
	if b.closed {
		return
	}
	b.closed = true
	delete(l.batches, b)
	left := b.tries[b.begun:]
	if len(left) == 0 {
		return
	}
	if b.begun == 0 { // the next may take all the time that was too long here
		l.pace.slow()
	}
	fresh := l.rewinds == b.share.rewinds
	items := make([]*item, 0, len(left))
	for i := range left {
		it := left[i].it
		if !it.fleeting {
			l.engine.release(left[i].a.Shard, 1+len(it.others))
		}
		if fresh || it.fleeting {
			items = append(items, it)
		} else {
			l.drop(it)
		}
	}
	l.runAgain(items)
	if !fresh {
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
		l.bytes += it.event.Bytes()
		l.work.Signal()
	}
}
