package engine

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core"
)

const preludeName = "harden.js"

//go:embed harden.js
var hardenSource string

var harden = goja.MustCompile(preludeName, hardenSource, true)

const (
	maxStack = 1000        // bounds recursion of every kind; goja's own limit is none
	loadTime = time.Second // bounds the run of a file's top level
)

var errLoadTime = fmt.Errorf("the file's top level ran for more than %s", loadTime)

// runtime is one JavaScript world with the module loaded. It belongs to one goroutine at a time.
type runtime struct {
	vm      *goja.Runtime
	program *Program
	opts    Options

	exports   *goja.Object
	handler   goja.Callable // nil when the module exports none
	proto     *goja.Object  // of event objects
	ctx       *goja.Object  // the handler's second argument
	stringify goja.Callable // JSON.stringify and Promise.resolve, before a script could replace them
	resolve   func(goja.Value) (goja.Value, error)
	scratch   []member // for views; its contents mean nothing between uses

	// Of the call that runs.
	event    *core.Event
	deadline time.Time     // zero for none
	allowed  time.Duration // what the deadline was, for people
	lines    int
	rejected []*goja.Promise // that nobody handles
	broken   bool            // not to be used again
}

// newRuntime makes one within ctx; allowed is what ctx began with, for people.
func newRuntime(ctx context.Context, p *Program, opts Options, allowed time.Duration) (*runtime, error) {
	rt := &runtime{vm: goja.New(), program: p, opts: opts, allowed: allowed}
	rt.vm.SetMaxCallStackSize(maxStack)
	rt.vm.SetPromiseRejectionTracker(func(promise *goja.Promise, op goja.PromiseRejectionOperation) {
		if op == goja.PromiseRejectionReject {
			rt.rejected = append(rt.rejected, promise)
		} else {
			rt.handled(promise)
		}
	})
	if _, err := rt.vm.RunProgram(harden); err != nil {
		return nil, fmt.Errorf("harden: %w", err)
	}
	rt.natives()
	rt.proto = rt.eventPrototype()
	rt.ctx = rt.contextObject()
	ctx, cancel := context.WithTimeoutCause(ctx, loadTime, errLoadTime)
	defer cancel()
	if err := rt.bounded(ctx, rt.load); err != nil {
		return nil, err
	}
	return rt, nil
}

// natives keeps what the host itself needs of the language.
func (rt *runtime) natives() {
	rt.stringify, _ = goja.AssertFunction(rt.vm.Get("JSON").ToObject(rt.vm).Get("stringify"))
	promise := rt.vm.Get("Promise").ToObject(rt.vm)
	resolve, _ := goja.AssertFunction(promise.Get("resolve"))
	rt.resolve = func(v goja.Value) (goja.Value, error) { return resolve(promise, v) }
}

func (rt *runtime) handled(promise *goja.Promise) {
	rt.rejected = slices.DeleteFunc(rt.rejected, func(p *goja.Promise) bool { return p == promise })
}

// load runs the module's top level and finds its handler.
func (rt *runtime) load() error {
	wrapper, err := rt.vm.RunProgram(rt.program.compiled)
	if err != nil {
		return err
	}
	run, ok := goja.AssertFunction(wrapper)
	if !ok {
		return errors.New("the bundle is not a function")
	}
	module, exports := rt.vm.NewObject(), rt.vm.NewObject()
	require := rt.vm.ToValue(func(name string) goja.Value {
		panic(rt.vm.NewTypeError("there is no module %q: only files and packages beside the script can be imported", name))
	})
	if err := module.Set("exports", exports); err != nil {
		return err
	}
	if _, err := run(exports, exports, require, module); err != nil {
		return err
	}
	if rt.exports, _ = module.Get("exports").(*goja.Object); rt.exports == nil {
		return nil
	}
	if rt.handler, ok = goja.AssertFunction(rt.exports); !ok {
		rt.handler, _ = goja.AssertFunction(rt.exports.Get("default"))
	}
	return rt.unhandled()
}

// export is a named export; nil when there is none.
func (rt *runtime) export(name string) goja.Value {
	if rt.exports == nil {
		return nil
	}
	v := rt.exports.Get(name)
	if v == nil || goja.IsUndefined(v) {
		return nil
	}
	return v
}

// bounded runs f until ctx ends. An interrupt that comes after f has returned must not meet the
// next call, so it is waited for and cleared. A Go panic inside comes back as an error.
func (rt *runtime) bounded(ctx context.Context, f func() error) (err error) {
	rt.deadline, _ = ctx.Deadline()
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		rt.vm.Interrupt(context.Cause(ctx))
		close(fired)
	})
	defer func() {
		if !stop() {
			<-fired
		}
		rt.vm.ClearInterrupt()
	}()
	defer func() {
		if p := recover(); p != nil {
			rt.broken = true
			err = fmt.Errorf("%s: the host panicked: %v", rt.program.code.Path, p)
			if rt.opts.Log != nil { // the stack is for us: the error goes to whoever wrote the script
				rt.opts.Log.Error("panic in a script's runtime", "listener", rt.opts.Name, "err", p, "stack", string(debug.Stack()))
			}
		}
	}()
	if err := f(); err != nil {
		return rt.explain(err)
	}
	return nil
}

// handle calls the handler with the event and waits for the promise it may return. allowed is what
// ctx began with.
func (rt *runtime) handle(ctx context.Context, call Call, allowed time.Duration) Result {
	began, ev := time.Now(), call.Event
	if call.Timeout > 0 {
		var cancel context.CancelFunc
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > call.Timeout {
			allowed = call.Timeout
		}
		ctx, cancel = context.WithTimeout(ctx, call.Timeout)
		defer cancel()
	}
	rt.event, rt.allowed, rt.lines, rt.rejected = ev, allowed, 0, rt.rejected[:0]
	defer func() { rt.event = nil }()
	err := rt.bounded(ctx, func() error {
		result, err := rt.handler(goja.Undefined(), rt.eventObject(ev), rt.ctx)
		if err != nil {
			return err
		}
		if err := rt.settled(result); err != nil {
			return err
		}
		return rt.unhandled()
	})
	return Result{Err: err, Hash: rt.program.Hash(), Took: time.Since(began)}
}

// settled is the outcome of an async handler. Promise jobs have run when the outermost call has
// returned, and nothing else could settle it later.
func (rt *runtime) settled(result goja.Value) error {
	object, ok := result.(*goja.Object)
	if !ok {
		return nil
	}
	promise, ok := promiseOf(object)
	if !ok {
		if _, thenable := goja.AssertFunction(object.Get("then")); !thenable {
			return nil
		}
		v, err := rt.resolve(object) // a promise of a library's own kind, as await sees it
		if err != nil {
			return err
		}
		promise, _ = v.Export().(*goja.Promise)
	}
	switch promise.State() {
	case goja.PromiseStateFulfilled:
		return nil
	case goja.PromiseStateRejected:
		rt.handled(promise)
		return rt.rejection(promise.Result(), "")
	default:
		return &ScriptError{File: rt.program.code.Path, Msg: "the handler's promise never settled: nothing it waits for can happen (timers and fetch are not available yet)"}
	}
}

func (rt *runtime) unhandled() error {
	if len(rt.rejected) == 0 {
		return nil
	}
	return rt.rejection(rt.rejected[0].Result(), "a promise was rejected and nobody handled it: ")
}

// promiseOf looks at the kind first: exporting another object would copy all of it.
func promiseOf(object *goja.Object) (*goja.Promise, bool) {
	if object.ClassName() != "Promise" {
		return nil, false
	}
	promise, ok := object.Export().(*goja.Promise)
	return promise, ok
}

// remaining is the time that ctx allows, as whoever configured it wrote it: what has passed since
// ctx was made is rounded away.
func remaining(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	left := time.Until(deadline)
	unit := time.Millisecond
	for left > 50*unit {
		unit *= 10
	}
	return (left + unit - 1).Truncate(unit)
}
