package engine

import (
	"container/heap"
	"fmt"
	"math"
	"time"

	"github.com/dop251/goja"
)

// timer is a call that a script has asked for.
type timer struct {
	id    int64
	due   time.Time
	every time.Duration // 0 for once
	run   func() error
	loose bool // the call does not stay alive for it
	index int  // in the heap
}

// timerHeap has the earliest first; of several for one moment, that which was set first.
type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].id < h[j].id
	}
	return h[i].due.Before(h[j].due)
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return t
}

// timerGlobal is one of the functions by which scripts wait; nil when the name is another.
func (rt *runtime) timerGlobal(name string) func(goja.FunctionCall) goja.Value {
	switch name {
	case "setTimeout", "setInterval":
		return func(call goja.FunctionCall) goja.Value { return rt.setTimer(name, call, name == "setInterval") }
	case "clearTimeout", "clearInterval":
		return rt.clearTimer
	case "queueMicrotask":
		return rt.queueMicrotask
	}
	return nil
}

func (rt *runtime) setTimer(name string, call goja.FunctionCall, again bool) goja.Value {
	f, ok := goja.AssertFunction(call.Argument(0))
	if !ok {
		panic(rt.vm.NewTypeError("%s wants a function, not text or anything else", name))
	}
	wait := call.Argument(1).ToFloat()
	if !(wait >= 0) { // also what is not a number
		wait = 0
	}
	d := time.Duration(math.Min(wait, longestTimer) * float64(time.Millisecond))
	var args []goja.Value
	if len(call.Arguments) > 2 {
		args = append(args, call.Arguments[2:]...) // goja uses the slice again
	}
	t := &timer{due: rt.now().Add(d), run: func() error {
		_, err := f(goja.Undefined(), args...)
		return err
	}}
	if again {
		t.every = max(d, time.Millisecond)
		t.due = rt.now().Add(t.every)
	}
	l := rt.running(name)
	l.add(name, t)
	return rt.vm.ToValue(t.id)
}

func (l *loop) add(name string, t *timer) {
	if len(l.timers) >= maxTimers {
		panic(l.rt.newError("RangeError", "", fmt.Sprintf("%s: %d timers wait already", name, maxTimers)))
	}
	l.lastID++
	t.id = l.lastID
	heap.Push(&l.timers, t)
	l.byID[t.id] = t
	if !t.loose {
		l.firm++
	}
}

func (l *loop) remove(t *timer) {
	if l.byID[t.id] == nil {
		return
	}
	delete(l.byID, t.id)
	heap.Remove(&l.timers, t.index)
	if !t.loose {
		l.firm--
	}
}

// after calls f once d has passed, if the call is still alive then. It does not keep it alive.
func (rt *runtime) after(what string, d time.Duration, f func() error) (stop func()) {
	l := rt.running(what)
	t := &timer{due: rt.now().Add(d), run: f, loose: true}
	l.add(what, t)
	return func() { l.remove(t) }
}

func (rt *runtime) clearTimer(call goja.FunctionCall) goja.Value {
	id, ok := plain(call.Argument(0)).(int64)
	if l := rt.loop; ok && l != nil {
		if t := l.byID[id]; t != nil && !t.loose {
			l.remove(t)
		}
	}
	return goja.Undefined()
}

// queueMicrotask is a promise's callback: what it throws fails the call, as nobody handles it.
func (rt *runtime) queueMicrotask(call goja.FunctionCall) goja.Value {
	f, ok := goja.AssertFunction(call.Argument(0))
	if !ok {
		panic(rt.vm.NewTypeError("queueMicrotask wants a function"))
	}
	promise, err := rt.resolve(goja.Undefined())
	if err == nil {
		_, err = rt.then(promise, rt.vm.ToValue(func(goja.FunctionCall) goja.Value {
			if _, err := f(goja.Undefined()); err != nil {
				panic(err)
			}
			return goja.Undefined()
		}))
	}
	if err != nil {
		panic(err)
	}
	return goja.Undefined()
}
