package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker/message"
)

// batch is calls that a child makes one after another. The child's lock guards all but what never
// changes.
type batch struct {
	id       uint64
	calls    []engine.Call
	outcomes chan outcome // room for all
	next     int          // the call that runs
	began    time.Time    // and since when
	loading  bool         // the call waits for its file
	loaded   bool         // it has waited for it
	due      time.Time    // when the child is ended; zero for never
	clock    *time.Timer
	stopped  bool // nobody waits any more
	ctx      context.Context
	asked    context.Context    // for what the running call asks; nil until it does
	cancel   context.CancelFunc // of asked
	asking   int                // questions that are being answered
}

// outcome is a call's result, or the end of the child in which it runs.
type outcome struct {
	result engine.Result
	end    *end
	began  time.Time // of that call, with end
}

// end is why a child takes no calls any more.
type end struct {
	late    *batch // that it had to be ended for; nil when it ended itself
	retired bool   // nobody needed it
	again   bool   // the script had no part in it
	why     string // for people
}

// run makes calls in the child and reports how many have ended. guilty is the event of a call that
// the child may have died of.
func (c *child) run(ctx context.Context, calls []engine.Call, done func(i int, r engine.Result)) (ended int, guilty *core.Event) {
	b := &batch{calls: calls, outcomes: make(chan outcome, len(calls)+1), ctx: ctx}
	if !c.add(b) {
		return 0, nil
	}
	defer context.AfterFunc(ctx, func() { c.stop(b) })()
	_ = c.out.send(&message.Down{Batch: c.sent(b)}) // that it can't be sent is seen when reading
	for ended < len(calls) {
		o := <-b.outcomes
		if o.end != nil {
			r, crashed := c.ended(ctx, b, o.end, &calls[ended])
			r.Took = time.Since(o.began)
			done(ended, r)
			if crashed {
				guilty = calls[ended].Event
			}
			return ended + 1, guilty
		}
		done(ended, o.result)
		ended++
	}
	return ended, nil
}

// sent is the batch as it is sent.
func (c *child) sent(b *batch) *message.Batch {
	m := &message.Batch{Id: b.id, Level: everyLevel, Calls: make([]*message.Call, len(b.calls))}
	if c.process.o.Level != nil {
		m.Level = int64(c.process.o.Level.Level())
	}
	if deadline, ok := b.ctx.Deadline(); ok {
		m.Within = max(int64(time.Until(deadline)), 1)
	}
	for i := range b.calls {
		m.Calls[i] = sentCall(&b.calls[i])
	}
	return m
}

// ended is the result of the call that ran when the child ended, and whether it may be the cause.
func (c *child) ended(ctx context.Context, b *batch, e *end, call *engine.Call) (r engine.Result, guilty bool) {
	switch {
	case e.retired: // with calls only when it was abandoned
		return engine.Result{Err: errClosed}, false
	case e.late == b && errors.Is(ctx.Err(), context.Canceled):
		return engine.Result{Err: c.scriptError("stopped before it was done", context.Cause(ctx))}, true
	case e.late == b && ctx.Err() != nil:
		return engine.Result{Err: c.scriptError("deadline exceeded"+hung, context.Cause(ctx))}, true
	case e.late == b:
		msg := fmt.Sprintf("deadline of %s exceeded", call.Timeout)
		return engine.Result{Err: c.scriptError(msg+hung, context.DeadlineExceeded)}, true
	case e.late != nil:
		return engine.Result{Err: &core.Error{Kind: core.Failed, Msg: "the script's process was ended, because another call did not end in time"}}, false
	default:
		return engine.Result{Err: c.scriptError(e.why, &core.Error{Kind: core.Crashed, Msg: e.why})}, true
	}
}

const hung = " in a function that can't be interrupted: the script's process was ended"

func (c *child) scriptError(msg string, err error) error {
	return &engine.ScriptError{File: c.process.o.Code.Path, Msg: msg, Err: err}
}

// add takes a batch, unless the child has ended. Its clock runs from now on.
func (c *child) add(b *batch) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end != nil {
		return false
	}
	c.batches++
	b.id = c.batches
	c.running[b.id] = b
	b.wind(time.Now())
	if !b.due.IsZero() {
		b.clock = time.AfterFunc(time.Until(b.due), func() { c.check(b) })
	}
	return true
}

// wind sets the clock for the call that begins now.
func (b *batch) wind(now time.Time) {
	b.began = now
	if b.stopped {
		return
	}
	b.due = time.Time{}
	if t := b.calls[b.next].Timeout; t > 0 {
		b.due = now.Add(t + grace)
	}
}

// check ends the child when the batch is overdue.
func (c *child) check(b *batch) {
	c.mu.Lock()
	late := false
	if c.running[b.id] == b && !b.due.IsZero() {
		left := time.Until(b.due)
		if late = left <= 0; !late {
			b.clock.Reset(left)
		}
	}
	c.mu.Unlock()
	if late {
		c.finish(&end{late: b, why: "a call did not end in time"})
	}
}

// stop breaks a batch off that nobody waits for. The child has a moment to do it well. It knows of
// deadlines itself.
func (c *child) stop(b *batch) {
	c.mu.Lock()
	runs := c.running[b.id] == b
	if runs {
		b.stopped = true
		b.due = time.Now().Add(grace)
		if b.clock == nil {
			b.clock = time.AfterFunc(grace, func() { c.check(b) })
		} else {
			b.clock.Reset(grace)
		}
	}
	c.mu.Unlock()
	if runs && !errors.Is(b.ctx.Err(), context.DeadlineExceeded) {
		_ = c.out.send(&message.Down{Stop: b.id})
	}
}

// loading gives the call that runs more time, as its own begins when its file was loaded.
func (c *child) loading(m *message.Loading) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.running[m.GetBatch()]
	if b == nil {
		return errors.New("it loads for a batch that does not run")
	}
	if b.loading == !m.GetOver() || b.loaded {
		return errors.New("it began twice to load")
	}
	b.loading, b.loaded = !m.GetOver(), m.GetOver()
	b.wind(time.Now())
	if b.loading && !b.due.IsZero() && !b.stopped {
		b.due = b.due.Add(loadWithin)
	}
	return nil
}

// result passes on what came of the call that ran.
func (c *child) result(m *message.Result) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.running[m.GetBatch()]
	if b == nil || int(m.GetCall()) != b.next || b.loading {
		return errors.New("it has a result of a call that does not run")
	}
	if len(m.GetValue()) > maxValue || proto.Size(m.GetFailure()) > maxText {
		return errors.New("it has a result that is too large")
	}
	r := engine.Result{Err: failed(m.GetFailure()), Took: time.Duration(m.GetTook())}
	if m.GetValued() {
		r.Value = append([]byte{}, m.GetValue()...)
	}
	b.outcomes <- outcome{result: r}
	b.leave()
	b.loaded, c.lines = false, 0
	if b.next++; b.next < len(b.calls) {
		b.wind(time.Now())
		return nil
	}
	if b.clock != nil {
		b.clock.Stop()
	}
	delete(c.running, b.id)
	return nil
}

// leave ends what the call that ran has asked for. The child's lock must be held.
func (b *batch) leave() {
	if b.cancel != nil {
		b.cancel()
		b.cancel = nil
	}
}
