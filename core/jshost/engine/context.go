package engine

import (
	"fmt"
	"slices"

	"github.com/dop251/goja"
)

// contextParts are what ctx has, in the order in which it is listed. The last two are a stage's.
var contextParts = []string{"listener", "attempt", "deadline", "signal", "log", "fail", "retryAfter", "fetch", "kv", "pipedrive", "secrets", "emit", "drop", "reject"}

const forStages = 2

// contextView is the handler's second argument, ctx. Its parts are made when they are first asked for,
// once for each runtime where they are the same for every call.
type contextView struct{ rt *runtime }

func (v *contextView) Keys() []string {
	if v.rt.call != nil && v.rt.call.Kind == Stage {
		return contextParts
	}
	return contextParts[:len(contextParts)-forStages]
}

func (v *contextView) Has(name string) bool { return slices.Contains(v.Keys(), name) }

func (v *contextView) Set(string, goja.Value) bool { return v.rt.readOnly("ctx", "{ ...ctx }") }
func (v *contextView) Delete(string) bool          { return v.rt.readOnly("ctx", "{ ...ctx }") }

func (v *contextView) Get(name string) goja.Value {
	rt := v.rt
	if !v.Has(name) {
		return nil
	}
	switch name {
	case "listener":
		return rt.vm.ToValue(rt.opts.Name)
	case "attempt":
		if rt.call == nil {
			return goja.Undefined()
		}
		return rt.vm.ToValue(max(rt.call.Attempt, 1))
	case "deadline":
		if !rt.shown.IsZero() {
			return rt.vm.ToValue(rt.shown.UnixMilli())
		}
		if rt.deadline.IsZero() {
			return goja.Null()
		}
		return rt.vm.ToValue(rt.deadline.UnixMilli())
	case "signal":
		return rt.deadlineSignal()
	case "fetch":
		return rt.global.Get("fetch")
	case "secrets":
		if rt.granted == nil { // one for each call: its prototype can be changed
			rt.granted = rt.vm.NewDynamicObject(&secretsView{rt})
		}
		return rt.granted
	}
	if made, ok := rt.parts[name]; ok {
		return made
	}
	made := rt.contextPart(name)
	rt.parts[name] = made
	return made
}

func (rt *runtime) contextPart(name string) goja.Value {
	switch name {
	case "log":
		return rt.logObject([]string{"debug", "info", "warn", "error"}, true)
	case "kv":
		return rt.kvObject()
	case "pipedrive":
		return rt.pipedriveObject()
	case "fail":
		return rt.function(name, rt.fail)
	case "retryAfter":
		return rt.function(name, rt.retryAfter)
	case "emit":
		return rt.function(name, rt.emit)
	case "drop":
		return rt.function(name, rt.drop)
	default:
		return rt.function(name, rt.reject)
	}
}

// getter gives an object a property that is made when it is asked for.
func (rt *runtime) getter(o *goja.Object, name string, get func() goja.Value) {
	function := rt.function(name, func(goja.FunctionCall) goja.Value { return get() })
	_ = o.DefineAccessorProperty(name, function, nil, goja.FLAG_FALSE, goja.FLAG_TRUE) // a new object takes any property
}

// secretsView has what was granted, by name. It lists nothing, so that no log takes it by accident.
type secretsView struct{ rt *runtime }

// asked are names that the language looks for in any object.
var asked = []string{"then", "toJSON", "toString", "valueOf", "constructor", "toLocaleString", "hasOwnProperty", "__proto__", "inspect"}

func (v *secretsView) Get(name string) goja.Value {
	if secret, ok := v.rt.opts.Secrets[name]; ok {
		return v.rt.vm.ToValue(secret)
	}
	if slices.Contains(asked, name) {
		return nil
	}
	panic(v.rt.newError("ReferenceError", "", fmt.Sprintf(
		"ctx.secrets.%s is not granted to %s: in the configuration, add secrets = { %s = \"${%s}\" } to it, or to [scripts] for all scripts",
		shortened(name, 100), v.rt.opts.Name, shortened(name, 100), shortened(name, 100))))
}

func (v *secretsView) Has(name string) bool {
	_, ok := v.rt.opts.Secrets[name]
	return ok
}

func (v *secretsView) Keys() []string              { return nil }
func (v *secretsView) Set(string, goja.Value) bool { return v.Delete("") }
func (v *secretsView) Delete(string) bool {
	return v.rt.readOnly("ctx.secrets", "{ token: ctx.secrets.TOKEN }")
}

// redact takes the secrets out of what people will read.
func (rt *runtime) redact(text string) string { return rt.secrets.Redact(text) }
