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

func (g *global) Get(name string) goja.Value {
	if v, ok := g.found[name]; ok {
		return v
	}
	var v goja.Value
	switch {
	case name == "globalThis" || name == "global": // packages look for it by either name
		v = g.self
	case slices.Contains(languageGlobals, name):
		v = g.original.Get(name)
		if o, ok := v.(*goja.Object); ok && !g.rt.language.hard[o] {
			g.rt.language.open(o) // a function without a prototype, too: Proxy has methods of its own
			if name == "Map" || name == "Set" {
				g.rt.language.iterator(o)
			}
		}
	case slices.Contains(ownGlobals, name):
		v = g.original.Get(name)
	default:
		return nil
	}
	g.found[name] = v
	return v
}

func (g *global) Has(name string) bool {
	return name == "globalThis" || name == "global" || slices.Contains(languageGlobals, name) || slices.Contains(ownGlobals, name) || slices.Contains(g.added, name)
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

// ownGlobals are those beside the language.
var ownGlobals = append([]string{"console", "setTimeout", "setInterval", "clearTimeout", "clearInterval", "queueMicrotask"}, web.Globals()...)

// Globals are the names that scripts find, those of the global object itself included.
func Globals() []string {
	return slices.Concat(languageGlobals, ownGlobals, []string{"globalThis", "global"})
}
