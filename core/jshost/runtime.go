package jshost

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core"
)

//go:embed harden.js
var hardenSource string

var harden = goja.MustCompile("harden.js", hardenSource, true)

// maxStack bounds recursion of every kind; goja's own limit is none.
const maxStack = 1000

// Options are what the scripts say things to. The zero value is silence.
type Options struct {
	Log *slog.Logger
	// Said sees every line that a script logs, after it was logged; may be nil.
	Said func(Line)
}

// Line is something a script said through console or ctx.log.
type Line struct {
	Listener string
	Event    string // its id
	Level    slog.Level
	Text     string
}

// runtime is one JavaScript world with the module loaded. It belongs to one goroutine at a time.
type runtime struct {
	vm      *goja.Runtime
	program *Program
	opts    Options
	exports *goja.Object
	handler goja.Callable // nil when the module exports none
	proto   *goja.Object  // of event objects
	ctx     *goja.Object  // the handler's second argument

	// Of the call that runs.
	call     context.Context
	event    *core.Event
	listener string
	lines    int
	rejected map[*goja.Promise]bool // rejections that nobody handles
}

func newRuntime(p *Program, opts Options) (*runtime, error) {
	rt := &runtime{vm: goja.New(), program: p, opts: opts, rejected: map[*goja.Promise]bool{}}
	rt.vm.SetMaxCallStackSize(maxStack)
	rt.vm.SetPromiseRejectionTracker(func(promise *goja.Promise, op goja.PromiseRejectionOperation) {
		if op == goja.PromiseRejectionReject {
			rt.rejected[promise] = true
		} else {
			delete(rt.rejected, promise)
		}
	})
	if _, err := rt.vm.RunProgram(harden); err != nil {
		return nil, fmt.Errorf("harden: %w", err)
	}
	rt.proto = rt.eventPrototype()
	rt.ctx = rt.contextObject()
	ctx, cancel := context.WithTimeout(context.Background(), loadTime)
	defer cancel()
	if err := rt.bounded(ctx, rt.load); err != nil {
		return nil, err
	}
	return rt, nil
}

// load runs the module's top level and finds its handler.
func (rt *runtime) load() error {
	wrapper, err := rt.vm.RunProgram(rt.program.compiled)
	if err != nil {
		return err
	}
	run, _ := goja.AssertFunction(wrapper)
	module := rt.vm.NewObject()
	exports := rt.vm.NewObject()
	require := rt.vm.ToValue(func(name string) goja.Value {
		panic(rt.vm.NewTypeError("there is no module %q: only files and packages beside the script can be imported", name))
	})
	if err := module.Set("exports", exports); err != nil {
		return err
	}
	if _, err := run(goja.Undefined(), exports, require, module); err != nil {
		return err
	}
	rt.exports, _ = module.Get("exports").(*goja.Object)
	if rt.exports == nil {
		return nil
	}
	if f, ok := goja.AssertFunction(rt.exports); ok {
		rt.handler = f
	} else if f, ok := goja.AssertFunction(rt.exports.Get("default")); ok {
		rt.handler = f
	}
	return nil
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
			err = &brokenError{fmt.Errorf("panic: %v", p)}
		}
	}()
	return rt.explain(f())
}

// handle calls the handler with the event and waits for the promise it may return.
func (rt *runtime) handle(ctx context.Context, listener string, ev *core.Event) error {
	rt.call, rt.event, rt.listener, rt.lines = ctx, ev, listener, 0
	defer func() { rt.call, rt.event = nil, nil }()
	return rt.bounded(ctx, func() error {
		result, err := rt.handler(goja.Undefined(), rt.eventObject(ev), rt.ctx)
		if err != nil {
			return err
		}
		if promise, ok := result.Export().(*goja.Promise); ok {
			if err := rt.settled(promise); err != nil {
				return err
			}
		}
		for promise := range rt.rejected {
			delete(rt.rejected, promise)
			return rt.thrown(promise.Result(), "a promise was rejected and nobody handled it: ")
		}
		return nil
	})
}

// settled is the outcome of an async handler. Promise jobs have run when the outermost call has
// returned, and nothing else could settle it later.
func (rt *runtime) settled(promise *goja.Promise) error {
	switch promise.State() {
	case goja.PromiseStateFulfilled:
		return nil
	case goja.PromiseStateRejected:
		delete(rt.rejected, promise)
		return rt.thrown(promise.Result(), "")
	default:
		return &scriptError{msg: "the handler's promise never settled: nothing is left that could settle it"}
	}
}
