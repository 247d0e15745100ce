package web

import (
	"fmt"
	"time"

	"github.com/dop251/goja"
)

// longestWait keeps what a script asks for within a time.Duration; no call lives as long.
const longestWait = 365 * 24 * time.Hour

// Signal is an AbortSignal that Go aborts. It is used on the runtime's goroutine.
type Signal struct {
	value *goja.Object
	abort goja.Callable
	vm    *goja.Runtime
}

// NewSignal makes an AbortSignal. The error is a runtime that was stopped meanwhile.
func (w *World) NewSignal() (s *Signal, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *goja.Exception:
			err = p
		case *goja.InterruptedError:
			err = p
		case *goja.StackOverflowError:
			err = p
		default:
			panic(p)
		}
	}()
	newSignal, _ := goja.AssertFunction(w.part("abort").Get("newSignal"))
	made, err := newSignal(goja.Undefined())
	if err != nil {
		return nil, err
	}
	pair := made.ToObject(w.vm)
	s = &Signal{value: pair.Get("signal").ToObject(w.vm), vm: w.vm}
	s.abort, _ = goja.AssertFunction(pair.Get("abort"))
	return s, nil
}

// Value is the AbortSignal, to be given to a script.
func (s *Signal) Value() *goja.Object { return s.value }

// Abort aborts the signal and calls its listeners; a second time does nothing. The reason is a
// DOMException: name is "AbortError" or "TimeoutError". The error is a runtime that was stopped in a
// listener; what listeners throw becomes a rejected promise that nobody handles.
func (s *Signal) Abort(name, msg string) error {
	_, err := s.abort(goja.Undefined(), s.vm.ToValue(name), s.vm.ToValue(msg))
	return err
}

func (w *World) abortNatives() map[string]func(goja.FunctionCall) goja.Value {
	return map[string]func(goja.FunctionCall) goja.Value{
		"after": func(call goja.FunctionCall) goja.Value { // after(milliseconds, f)
			wait, f := call.Argument(0).ToFloat(), call.Argument(1)
			callable, ok := goja.AssertFunction(f)
			if !ok {
				panic(w.vm.NewTypeError("after: no function"))
			}
			d := longestWait
			if wait < float64(longestWait/time.Millisecond) {
				d = time.Duration(wait * float64(time.Millisecond))
			}
			w.deps.After(d, func() error {
				if _, err := callable(goja.Undefined()); err != nil {
					return fmt.Errorf("a listener of AbortSignal.timeout: %w", err)
				}
				return nil
			})
			return goja.Undefined()
		},
	}
}
