package engine

import (
	"context"
	"maps"
	"slices"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
)

// Library is a module that the host gives to a program beside the files that were bundled. It is for
// those who run programs in other ways than pipehook does for its own, such as tests.
type Library struct {
	Name string // by which programs import it; errors are never at a place in a source of this name
	// Load makes the module, once for each runtime and before the program is loaded. What it returns
	// as main is called in place of the program's own function; nil leaves that.
	Load func(w *World) (module goja.Value, main goja.Callable, err error)
}

// World is one runtime, for a Library. All of it is for the goroutine that runs the runtime's call.
type World struct{ rt *runtime }

// VM is where the library's values are made.
func (w *World) VM() *goja.Runtime { return w.rt.vm }

// Event is an event as a script sees it.
func (w *World) Event(ev *core.Event) goja.Value { return w.rt.eventObject(ev) }

// EventOf is the event that a value made by Event shows.
func (w *World) EventOf(v goja.Value) (*core.Event, bool) { return eventOf(v) }

// EventMethods are what an event can be asked, sorted: they are no properties that can be listed.
func EventMethods() []string { return slices.Sorted(maps.Keys(eventMethods)) }

// Explain is the error for something that a script threw, with its place.
func (w *World) Explain(thrown goja.Value) error { return w.rt.rejection(thrown, "") }

// Later returns a promise for what f returns. f runs when no code of the script does, so it may Call.
func (w *World) Later(what string, f func() goja.Value) goja.Value {
	return w.rt.async(what, func(context.Context) (func(*goja.Runtime) goja.Value, error) {
		return func(*goja.Runtime) goja.Value { return f() }, nil
	})
}

// Post has f run on the goroutine of the call that runs now. The function that it returns may be
// called from any goroutine as long as that call lasts; later it does nothing.
func (w *World) Post() func(f func() error) { return w.rt.running("a call").post }

// Request is a request as a source sees it.
func (w *World) Request(ev *core.Event) goja.Value { return w.rt.requestObject(ev) }

// Call calls f as if it were the program's own function, within the call that runs now, and waits for
// all that it begins. ctx must end with that call. The script sees call.Timeout as its deadline by
// the Clock; that ctx ends then is the caller's to see to.
func (w *World) Call(ctx context.Context, call Call, f goja.Callable) Result {
	rt, outer := w.rt, *w.rt
	rt.handler, rt.loop, rt.calling, rt.rejected, rt.meant = f, nil, nil, nil, nil
	rt.granted, rt.signal = nil, nil
	rt.shown = rt.now().Add(call.Timeout)
	allowed := call.Timeout
	call.Timeout = 0
	r := rt.handle(ctx, call, allowed)
	if outer.calling != nil && outer.calling.Err() != nil { // it may have been interrupted already, and handle has cleared that
		rt.vm.Interrupt(context.Cause(outer.calling))
	}
	rt.handler, rt.loop, rt.calling, rt.rejected, rt.meant, rt.shown = outer.handler, outer.loop, outer.calling, outer.rejected, outer.meant, outer.shown
	rt.call, rt.event, rt.deadline, rt.allowed = outer.call, outer.event, outer.deadline, outer.allowed
	rt.emits, rt.said, rt.quiet, rt.lines = outer.emits, outer.said, outer.quiet, outer.lines
	rt.caller, rt.granted, rt.signal = outer.caller, outer.granted, outer.signal
	return r
}

// by is who asks the host now.
func (rt *runtime) by() effect.Caller {
	rt.caller.Number++
	return rt.caller
}

// useLibrary loads the library, if there is one. main may be nil.
func (rt *runtime) useLibrary() (main goja.Callable, err error) {
	if rt.opts.Library == nil {
		return nil, nil
	}
	rt.library, main, err = rt.opts.Library.Load(&World{rt})
	return main, err
}

// module is what require gives a program.
func (rt *runtime) module(name string) goja.Value {
	switch lib := rt.opts.Library; {
	case lib != nil && name == lib.Name:
		return rt.library
	case name == "pipehook":
		panic(rt.vm.NewTypeError(`"pipehook" has types only: write import type { … } from "pipehook"`))
	case name == "pipehook/test":
		panic(rt.vm.NewTypeError(`"pipehook/test" is there in *.test.ts and *.test.js only, which pipehook test runs`))
	}
	panic(rt.vm.NewTypeError("there is no module %q: only files and packages beside the script can be imported", name))
}
