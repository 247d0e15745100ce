package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/web"
)

const (
	maxStack = 1000        // bounds recursion of the script's functions; goja's own limit is none
	loadTime = time.Second // bounds the run of a file's top level
)

var errLoadTime = fmt.Errorf("the file's top level ran for more than %s", loadTime)

// runtime is one JavaScript world with the module loaded. It belongs to one goroutine at a time.
type runtime struct {
	vm      *goja.Runtime
	program *Program
	opts    Options

	language *language
	global   *global
	web      *web.World
	clock    Clock
	secrets  *core.Redactor // takes them out of what is said; nil when there are none
	// background are the operations that still run, those of calls that have ended included.
	background *sync.WaitGroup

	library goja.Value // the module of opts.Library
	exports *goja.Object
	handler goja.Callable         // nil when the module exports none
	methods map[string]goja.Value // of events, as far as they were asked for
	parts   map[string]goja.Value // of ctx
	scratch []member              // for views; its contents mean nothing between uses

	// What the host itself needs of the language.
	parse      goja.Callable // JSON.parse
	freeze     func(*goja.Object)
	errorClass goja.Value
	resolve    func(goja.Value) (goja.Value, error)               // Promise.resolve
	then       func(promise, done goja.Value) (goja.Value, error) // Promise.prototype.then

	// Of the call that runs.
	call     *Call
	calling  context.Context // nil while none runs
	loop     *loop           // nil until the call begins something
	meant    []meant
	caller   effect.Caller // who asks the host: see by
	signal   goja.Value    // ctx.signal; nil until it is asked for
	granted  *goja.Object  // ctx.secrets; nil until it is asked for
	emits    int
	said     int  // bytes logged
	quiet    bool // no more is logged
	event    *core.Event
	deadline time.Time     // zero for none
	shown    time.Time     // what scripts see as the deadline, when their clock is not ours; else zero
	allowed  time.Duration // what the deadline was, for people
	lines    int
	rejected []*goja.Promise // that nobody handles
	broken   bool            // not to be used again
}

// newRuntime makes one within ctx; allowed is what ctx began with, for people.
func newRuntime(ctx context.Context, p *Program, opts Options, background *sync.WaitGroup, allowed time.Duration) (*runtime, error) {
	rt := &runtime{vm: goja.New(), program: p, opts: opts, clock: opts.Clock, background: background, allowed: allowed,
		methods: map[string]goja.Value{}, parts: map[string]goja.Value{}}
	if rt.clock == nil {
		rt.clock = realClock{}
	} else {
		rt.vm.SetTimeSource(rt.clock.Now)
	}
	rt.vm.SetMaxCallStackSize(maxStack)
	rt.vm.SetPromiseRejectionTracker(func(promise *goja.Promise, op goja.PromiseRejectionOperation) {
		if op == goja.PromiseRejectionReject {
			rt.rejected = append(rt.rejected, promise)
		} else {
			rt.handled(promise)
		}
	})
	rt.secrets = core.NewRedactor(opts.Secrets)
	var err error
	if rt.language, err = newLanguage(rt.vm); err != nil {
		return nil, err
	}
	rt.natives()
	rt.freeze = rt.language.freeze
	rt.global = newGlobal(rt)
	ctx, cancel := context.WithTimeoutCause(ctx, loadTime, errLoadTime)
	defer cancel()
	if err := rt.bounded(ctx, rt.load); err != nil {
		return nil, err
	}
	return rt, nil
}

func (rt *runtime) now() time.Time { return rt.clock.Now() }

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
	main, err := rt.useLibrary()
	if err != nil {
		return err
	}
	module, exports := rt.vm.NewObject(), rt.vm.NewObject()
	require := rt.vm.ToValue(func(call goja.FunctionCall) goja.Value { return rt.module(call.Argument(0).String()) })
	if err := module.Set("exports", exports); err != nil {
		return err
	}
	if _, err := run(exports, exports, require, module); err != nil {
		return err
	}
	rt.global.closed = true
	if rt.exports, _ = module.Get("exports").(*goja.Object); rt.exports == nil {
		return rt.unhandled()
	}
	if rt.handler = main; main != nil {
		return rt.unhandled()
	}
	if rt.handler, ok = goja.AssertFunction(rt.exports); !ok {
		rt.handler, _ = goja.AssertFunction(rt.exports.Get("default"))
	}
	return rt.unhandled()
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
			if cause, ok := p.(error); ok && stopped(cause) { // it went through Go code of ours
				err = rt.explain(cause)
				return
			}
			err = fmt.Errorf("%s: the host panicked: %v", rt.program.code.Path, p)
			if rt.opts.Log != nil { // the stack is for us: the error goes to whoever wrote the script
				rt.opts.Log.Error("panic in a script's runtime", "listener", rt.opts.Name, "err", p, "stack", string(debug.Stack()))
			}
		}
	}()
	if thrown := rt.vm.Try(func() { err = f() }); thrown != nil { // by a getter that Go code has asked
		err = thrown
	}
	if err != nil {
		return rt.explain(err)
	}
	return nil
}

// handle calls the handler with the event and waits for the promise it may return. allowed is what
// ctx began with.
func (rt *runtime) handle(ctx context.Context, call Call, allowed time.Duration) Result {
	began := time.Now()
	if call.Timeout > 0 {
		var cancel context.CancelFunc
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > call.Timeout {
			allowed = call.Timeout
		}
		ctx, cancel = context.WithTimeout(ctx, call.Timeout)
		defer cancel()
	}
	rt.begin(ctx, &call, allowed)
	r := Result{Hash: rt.program.Hash()}
	r.Err = rt.bounded(ctx, func() error {
		result, failed := rt.handler(goja.Undefined(), rt.argument(), rt.vm.NewDynamicObject(&contextView{rt}))
		if failed != nil && stopped(failed) {
			return failed
		}
		value, err := rt.settled(ctx, result, failed)
		if err != nil || call.Kind == Listener {
			return err
		}
		r.Value, err = rt.returned(value)
		return err
	})
	if rt.end(); r.Err != nil {
		r.Value = nil
	}
	r.Took = time.Since(began)
	return r
}

func (rt *runtime) begin(ctx context.Context, call *Call, allowed time.Duration) {
	rt.call, rt.calling, rt.event, rt.allowed = call, ctx, call.Event, allowed
	rt.caller = effect.Caller{Name: rt.opts.Name, Event: call.Event}
	rt.lines, rt.said, rt.quiet, rt.emits = 0, 0, false, 0
	rt.rejected, rt.meant = rt.rejected[:0], rt.meant[:0]
}

// end leaves nothing of the call behind. A runtime where something was begun and did not end is not
// used again: its module may wait for that in the next call.
func (rt *runtime) end() {
	if rt.loop != nil && rt.loop.end() {
		rt.broken = true
	}
	if rt.global.self.Prototype() != rt.global.above {
		rt.broken = true
	}
	rt.call, rt.calling, rt.loop, rt.event, rt.granted, rt.signal = nil, nil, nil, nil, nil, nil
}

// returned is what a stage or a source has returned, as JSON.
func (rt *runtime) returned(v goja.Value) ([]byte, error) {
	text, err := rt.encode(v, maxResult)
	if _, thrown := errors.AsType[*goja.Exception](err); err == nil || thrown {
		return text, err
	}
	return nil, &ScriptError{File: rt.program.code.Path, Msg: "what the function returned can't be used: " + err.Error()}
}

// settled waits for what the function has begun and is the value that it comes to. failed is what
// the function threw.
func (rt *runtime) settled(ctx context.Context, result goja.Value, failed error) (goja.Value, error) {
	promise, err := rt.promise(result)
	if err != nil && failed == nil {
		failed = err
	}
	if rt.loop != nil {
		failed = rt.loop.finish(ctx, promise, failed)
	}
	switch {
	case failed != nil:
		return nil, failed
	case promise == nil:
		return result, rt.unhandled()
	}
	switch promise.State() {
	case goja.PromiseStateFulfilled:
		return promise.Result(), rt.unhandled()
	case goja.PromiseStateRejected:
		rt.handled(promise)
		return nil, rt.rejection(promise.Result(), "")
	default:
		return nil, &ScriptError{File: rt.program.code.Path, Msg: "the function's promise never settled: nothing is left to run that could settle it"}
	}
}

// promise is that of an async function, or one for a promise of a library's own kind, as await sees
// it; nil when the function returned something else.
func (rt *runtime) promise(result goja.Value) (*goja.Promise, error) {
	object, ok := result.(*goja.Object)
	if !ok {
		return nil, nil
	}
	if promise, ok := promiseOf(object); ok {
		return promise, nil
	}
	var then goja.Value
	if thrown := rt.vm.Try(func() { then = object.Get("then") }); thrown != nil {
		return nil, thrown
	}
	if _, thenable := goja.AssertFunction(then); !thenable {
		return nil, nil
	}
	v, err := rt.resolve(object)
	if err != nil {
		return nil, err
	}
	promise, _ := v.Export().(*goja.Promise)
	return promise, nil
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
