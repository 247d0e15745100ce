package engine

import (
	"slices"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core/jshost/web"
)

// global is the global object that scripts see. What it has is made and frozen when it is first
// asked for, and can't be replaced. While a file is loaded it may add names, as some libraries do; from
// then on it is closed: a name that one event leaves behind would be there for the next one.
type global struct {
	rt       *runtime
	original *goja.Object          // the engine's own
	self     *goja.Object          // what scripts see
	above    *goja.Object          // its prototype, as long as no script has changed it
	found    map[string]goja.Value // what was asked for, and what was added
	added    []string
	closed   bool
}

func newGlobal(rt *runtime) *global {
	g := &global{rt: rt, original: rt.vm.GlobalObject(), found: map[string]goja.Value{}}
	g.self = rt.vm.NewDynamicObject(g)
	g.above = g.self.Prototype()
	rt.vm.SetGlobalObject(g.self)
	return g
}

func (g *global) Get(name string) goja.Value {
	if v, ok := g.found[name]; ok {
		return v
	}
	var v goja.Value
	switch {
	case slices.Contains(itself, name):
		v = g.self
	case slices.Contains(languageGlobals, name):
		v = g.original.Get(name)
		if o, ok := v.(*goja.Object); ok && !g.rt.language.hard[o] {
			g.rt.language.open(o) // a function without a prototype, too: Proxy has methods of its own
			if name == "Map" || name == "Set" {
				g.rt.language.iterator(o)
			}
		}
	case name == "Function":
		v = g.rt.language.function.Get("constructor") // not the language's own
	case name == "eval": // some packages take it and never call it
		v = g.rt.function(name, func(goja.FunctionCall) goja.Value {
			panic(g.rt.vm.NewTypeError("eval: code can't be made of text here"))
		})
	case name == "console":
		v = g.rt.logObject([]string{"debug", "info", "log", "warn", "error"}, false)
	case slices.Contains(webGlobals, name):
		v = g.rt.platform(g.original).Get(name)
	default:
		f := g.rt.timerGlobal(name)
		if f == nil {
			return nil
		}
		v = g.rt.function(name, f)
	}
	g.found[name] = v
	return v
}

func (g *global) Has(name string) bool {
	return slices.Contains(itself, name) || slices.Contains(languageGlobals, name) || slices.Contains(ownGlobals, name) || slices.Contains(g.added, name)
}

func (g *global) Set(name string, v goja.Value) bool {
	switch added := slices.Contains(g.added, name); {
	case g.Has(name) && !added:
		panic(g.rt.vm.NewTypeError("%s can't be replaced: it is the same for every script", name))
	case g.closed:
		panic(g.rt.vm.NewTypeError("%s can't be set on the global object: what one event leaves there would meet the next one. Use a variable of the file, or ctx.kv", name))
	case !added:
		g.added = append(g.added, name)
	}
	g.found[name] = v
	return true
}

func (g *global) Delete(name string) bool {
	if !g.Has(name) {
		return true
	}
	if g.closed || !slices.Contains(g.added, name) {
		panic(g.rt.vm.NewTypeError("%s can't be deleted", name))
	}
	delete(g.found, name)
	g.added = slices.DeleteFunc(g.added, func(one string) bool { return one == name })
	return true
}

// Keys lists what was added: the names of the language are not listed anywhere.
func (g *global) Keys() []string { return g.added }

var (
	itself     = []string{"globalThis", "global", "self"} // packages look for the global object by any of them
	webGlobals = web.Globals()
	ownGlobals = append([]string{"Function", "eval", "console", "setTimeout", "setInterval", "clearTimeout", "clearInterval", "queueMicrotask"}, webGlobals...)
)

// Globals are the names that scripts find, those of the global object itself included.
func Globals() []string {
	return slices.Concat(languageGlobals, ownGlobals, itself)
}
