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
	call  goja.Callable
	args  []goja.Value
	index int // in the heap
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

// timerGlobals are the functions by which scripts wait.
func (rt *runtime) timerGlobals() map[string]func(goja.FunctionCall) goja.Value {
	return map[string]func(goja.FunctionCall) goja.Value{
		"setTimeout":     func(call goja.FunctionCall) goja.Value { return rt.setTimer("setTimeout", call, false) },
		"setInterval":    func(call goja.FunctionCall) goja.Value { return rt.setTimer("setInterval", call, true) },
		"clearTimeout":   rt.clearTimer,
		"clearInterval":  rt.clearTimer,
		"queueMicrotask": rt.queueMicrotask,
	}
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
	l := rt.running(name)
	if len(l.timers) >= maxTimers {
		panic(rt.newError("RangeError", "", fmt.Sprintf("%s: %d timers wait already", name, maxTimers)))
	}
	l.lastID++
	t := &timer{id: l.lastID, due: rt.now().Add(d), call: f}
	if again {
		t.every = max(d, time.Millisecond)
		t.due = rt.now().Add(t.every)
	}
	if len(call.Arguments) > 2 {
		t.args = append(t.args, call.Arguments[2:]...) // goja uses the slice again
	}
	heap.Push(&l.timers, t)
	l.byID[t.id] = t
	return rt.vm.ToValue(t.id)
}

func (rt *runtime) clearTimer(call goja.FunctionCall) goja.Value {
	id, ok := call.Argument(0).Export().(int64)
	if l := rt.loop; ok && l != nil {
		if t := l.byID[id]; t != nil {
			delete(l.byID, id)
			heap.Remove(&l.timers, t.index)
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
