package engine

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/dop251/goja"
)

const (
	maxTimers     = 10_000 // of one call, at a time
	maxOperations = 1_000
	longestTimer  = 1<<31 - 1 // milliseconds, as browsers have it
)

// loop is what a call waits for besides its own code: operations of the host, and timers. Only post
// and ring are for other goroutines; the rest is for the one that runs the call.
type loop struct {
	rt     *runtime
	ctx    context.Context // of the operations; ends with the call
	cancel context.CancelFunc

	mu     sync.Mutex
	posted []func() error // what operations came to
	ended  bool           // nothing is taken any more
	wake   chan struct{}

	ops     map[*operation]struct{} // begun and not ended
	timers  timerHeap
	byID    map[int64]*timer
	firm    int // timers that keep the call alive
	lastID  int64
	disarm  func() bool // of the clock, for the earliest timer; nil when there is none
	armed   time.Time   // what it was set to
	started int
}

// operation is something the host does for a script.
type operation struct {
	what   string
	number int
	frames []goja.StackFrame // where it was begun
}

// running is the loop of the call that runs. While a file is loaded there is none, and nobody would
// wait for what was begun.
func (rt *runtime) running(what string) *loop {
	if rt.calling == nil {
		panic(rt.vm.NewTypeError("%s can't be used while the file is loaded: use it in the exported function", what))
	}
	if rt.loop == nil {
		l := &loop{rt: rt, wake: make(chan struct{}, 1), ops: map[*operation]struct{}{}, byID: map[int64]*timer{}}
		l.ctx, l.cancel = context.WithCancel(rt.calling)
		rt.loop = l
	}
	return rt.loop
}

func (l *loop) ring() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *loop) post(f func() error) {
	l.mu.Lock()
	if !l.ended {
		l.posted = append(l.posted, f)
	}
	l.mu.Unlock()
	l.ring()
}

// async begins an operation and returns a promise for it. op runs on a goroutine of its own until
// ctx ends; what it returns makes the value, on the goroutine of the call.
func (rt *runtime) async(what string, op func(ctx context.Context) (func(vm *goja.Runtime) goja.Value, error)) goja.Value {
	l := rt.running(what)
	if len(l.ops) >= maxOperations {
		panic(rt.newError("RangeError", "", fmt.Sprintf("%s: %d operations have begun and not ended: await some of them first", what, maxOperations)))
	}
	promise, resolve, reject := rt.vm.NewPromise()
	l.started++
	o := &operation{what: what, number: l.started, frames: rt.vm.CaptureCallStack(4, nil)}
	l.ops[o] = struct{}{}
	rt.background.Add(1)
	go func() { // ends with ctx; whoever closes the pool waits for it
		defer rt.background.Done()
		result, err := guarded(l.ctx, op)
		l.post(func() error {
			delete(l.ops, o)
			if err != nil {
				return reject(rt.hostFailure(o, err))
			}
			value := goja.Undefined()
			if result != nil {
				if thrown := rt.vm.Try(func() { value = result(rt.vm) }); thrown != nil {
					return reject(thrown.Value())
				}
			}
			return resolve(value)
		})
	}()
	return rt.vm.ToValue(promise)
}

// guarded keeps a panic of the host from ending the process.
func guarded(ctx context.Context, op func(context.Context) (func(*goja.Runtime) goja.Value, error)) (result func(*goja.Runtime) goja.Value, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &hostPanic{p, debug.Stack()}
		}
	}()
	return op(ctx)
}

type hostPanic struct {
	value any
	stack []byte
}

func (e *hostPanic) Error() string { return fmt.Sprintf("the host panicked: %v", e.value) }

// finish runs what the call has begun until its promise has settled and all operations have ended.
// Timers that are left then are dropped. failed is what the call has come to already, if it threw.
func (l *loop) finish(ctx context.Context, promise *goja.Promise, failed error) error {
	for {
		done := failed != nil || promise == nil || promise.State() != goja.PromiseStatePending
		if len(l.ops) == 0 && (done || l.firm == 0) {
			return failed
		}
		if !done {
			l.arm()
			if w, ok := l.rt.clock.(Waiter); ok {
				w.Waiting(len(l.ops))
			}
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			if failed != nil || promise != nil && promise.State() == goja.PromiseStateRejected { // that says more
				l.rt.broken = true
				return failed
			}
			return l.rt.overdue(context.Cause(ctx))
		}
		if err := l.turn(ctx, done); err != nil {
			if stopped(err) {
				return err
			}
			if failed == nil {
				failed = err
			}
		}
	}
}

// turn runs what operations came to, and the timers that are due unless the call is done.
func (l *loop) turn(ctx context.Context, done bool) error {
	l.mu.Lock()
	posted := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range posted {
		if err := f(); err != nil {
			return err
		}
	}
	for now := l.rt.now(); !done && len(l.timers) > 0 && !l.timers[0].due.After(now) && ctx.Err() == nil; {
		t := l.timers[0]
		if t.every > 0 {
			t.due = now.Add(t.every)
			heap.Fix(&l.timers, 0)
		} else {
			l.remove(t)
		}
		if err := t.run(); err != nil {
			return err
		}
	}
	return nil
}

// stopped reports whether the runtime can't go on after an error.
func stopped(err error) bool {
	if _, ok := errors.AsType[*goja.InterruptedError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*goja.StackOverflowError](err); ok {
		return true
	}
	return false
}

// end gives up what has not ended. It reports whether anything was left undone: then the module's
// own variables may wait for it for ever.
func (l *loop) end() (left bool) {
	l.mu.Lock()
	l.ended, l.posted = true, nil
	l.mu.Unlock()
	if l.disarm != nil {
		l.disarm()
	}
	l.cancel()
	return len(l.ops) > 0 || l.firm > 0
}

// oldest is the operation that the call has waited for the longest; nil when there is none.
func (l *loop) oldest() (first *operation) {
	for o := range l.ops {
		if first == nil || o.number < first.number {
			first = o
		}
	}
	return first
}

// arm sets the clock to the earliest timer.
func (l *loop) arm() {
	if len(l.timers) == 0 {
		return
	}
	due := l.timers[0].due
	if l.disarm != nil {
		if l.armed.Equal(due) {
			return
		}
		l.disarm()
	}
	l.armed = due
	l.disarm = l.rt.clock.AfterFunc(max(due.Sub(l.rt.now()), 0), l.ring)
}
