//go:build unix

package plughost

import (
	"context"
	"errors"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

const (
	// ahead is how many events are sent to the process at once: more cost less each, and wait behind one
	// that turns out to be slow. It is as many as the delivery engine takes for quick at once: half of it
	// would cost a fifth more.
	ahead = 64

	// aheadBytes is how much of their bodies, unless one alone has more.
	aheadBytes = 4 << 20
)

var _ core.BatchListener = (*Plugin)(nil)

// HandleBatch is part of core.BatchListener. What is behind an event that ended the process, or hung, is
// sent to the next one.
func (p *Plugin) HandleBatch(ctx context.Context, timeout time.Duration, all []core.Delivery, begin func(i int) bool, done func(i int, out core.Outcome)) {
	b := &batch{plugin: p, timeout: timeout, all: all, begin: begin, done: done}
	for b.ended < len(all) && b.some(ctx) {
	}
}

// batch is deliveries on their way through the process, or several if it ends.
type batch struct {
	plugin  *Plugin
	timeout time.Duration // of each
	all     []core.Delivery
	begin   func(i int) bool
	done    func(i int, out core.Outcome)

	begun, ended int
	recalled     bool // what has not begun is left out
}

// some hands over what can go at once, and reports whether it is worth going on. An attempt that has
// begun counts against its event when pipehook is killed, so none begins before there is a process that
// can take it.
func (b *batch) some(ctx context.Context) bool {
	i, alone, err := b.enter(ctx)
	if err != nil {
		b.fail(err)
		return false
	}
	switch n := b.next(i, alone); n {
	case 0:
		b.plugin.exit(i, false)
		return false
	case 1:
		b.one(ctx, i)
	default:
		b.several(ctx, i, n)
	}
	return true
}

func (b *batch) enter(ctx context.Context) (i *instance, alone bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	within := b.timeout
	if b.begun > b.ended { // the process has ended, and what waits for the next one can't be called back
		within = max(within, b.plugin.host.opts.Limits.Start)
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return b.plugin.enter(ctx, b.all[b.ended].Event.ID)
}

// next is how many deliveries go at once. They have begun.
func (b *batch) next(i *instance, alone bool) int {
	n, size := 0, 0
	for at := b.ended; at < len(b.all); at++ {
		ev := &b.all[at].Event
		size += ev.Bytes()
		if n > 0 && (alone || n == ahead || size > aheadBytes || !i.manifest.Batches() || b.plugin.suspected(ev.ID)) {
			break
		}
		if !b.start(at) {
			break
		}
		n++
	}
	return n
}

// start reports whether a delivery has begun, or may now.
func (b *batch) start(at int) bool {
	if at < b.begun {
		return true
	}
	if b.recalled = b.recalled || !b.begin(at); b.recalled {
		return false
	}
	b.begun++
	return true
}

// fail is for when nothing can be handed over. It costs no attempts but those that have begun, or a
// first one.
func (b *batch) fail(err error) {
	b.start(b.ended)
	for code := b.plugin.Code(); b.ended < b.begun; {
		b.tell(core.Outcome{Err: err, Code: code})
	}
}

// tell passes on what came of the delivery whose turn it is.
func (b *batch) tell(out core.Outcome) {
	b.ended++
	b.done(b.ended-1, out)
}

// one hands over one delivery. When the process crashes in company, nobody is to blame yet: it is alone the
// next time, which is at once. So an event is never blamed for what it happened to be beside, such as somebody
// who kills the process from outside.
func (b *batch) one(ctx context.Context, i *instance) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	d, began := &b.all[b.ended], time.Now()
	g := i.desk.open(&d.Event, d.Attempt())
	var result wire.Result
	err := i.call(ctx, d.Event.ID, func(ctx context.Context, timeout time.Duration) error {
		return i.wire.Handle(ctx, timeout, []wire.Given{g}, func(_ int, r wire.Result) { result = r })
	})
	i.desk.done(g)
	if err != nil {
		result.Err = err
	}
	if company := b.plugin.exit(i, core.KindOf(err) == core.Crashed, d.Event.ID); !company {
		b.tell(outcome(i, result, began, began))
	}
}

// several hands over n deliveries with one message. When the process dies of one of them, it is not known
// of which: the results of those before may have been lost with it. So each of those without one is alone
// the next time, which is at once, and who ends the process alone is to blame. A process that hangs has
// mostly told its results: the first without one is to blame, since to be sure would cost its timeout
// again, and the others are alone.
func (b *batch) several(ctx context.Context, i *instance, n int) {
	portion := b.all[b.ended : b.ended+n]
	all := make([]wire.Given, n)
	for k := range portion {
		all[k] = i.desk.open(&portion[k].Event, portion[k].Attempt())
	}
	first, sent := b.ended, time.Now()
	began := sent
	err := i.batch(ctx, b.timeout, all, func(r wire.Result) {
		i.desk.done(all[b.ended-first])
		b.tell(outcome(i, r, sent, began))
		began = time.Now()
	})
	left := portion[b.ended-first:]
	i.desk.done(all[b.ended-first:]...)
	_, hung := errors.AsType[hungError](err)
	crashed := core.KindOf(err) == core.Crashed
	suspects := left
	if len(left) > 0 && !crashed {
		suspects = left[1:]
	}
	company := b.plugin.exit(i, crashed || hung, ids(suspects)...)
	if len(left) > 0 && !(crashed && (company || len(left) > 1)) {
		b.tell(outcome(i, wire.Result{Err: err}, sent, began))
	}
}

func ids(all []core.Delivery) []string {
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].Event.ID
	}
	return ids
}

// outcome is a result for the delivery engine. sent is when it was handed over, and began when its call did, at
// the earliest.
func outcome(i *instance, r wire.Result, sent, began time.Time) core.Outcome {
	if r.Took == 0 {
		r.Took = time.Since(began)
	}
	r.Took = min(r.Took, time.Since(sent)) // whatever the plugin says: it is added to all that is measured
	return core.Outcome{Err: i.hidden(r.Err), Took: r.Took, Code: i.code}
}
