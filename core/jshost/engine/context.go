package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/dop251/goja"
)

// contextOf is the handler's second argument, ctx. It is the same for all calls of its kind in a
// runtime, so it can't be changed; what differs from call to call are getters. Parts that few scripts
// use are made when they are first asked for.
func (rt *runtime) contextOf(kind Kind) *goja.Object {
	if made := rt.ctx[kind]; made != nil {
		return made
	}
	ctx := rt.vm.NewObject()
	for name, value := range map[string]any{"log": rt.log, "listener": rt.opts.Name} {
		_ = ctx.DefineDataProperty(name, rt.vm.ToValue(value), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_TRUE) // a new object takes any property
	}
	rt.method(ctx, "fail", rt.fail)
	rt.method(ctx, "retryAfter", rt.retryAfter)
	rt.method(ctx, "emit", rt.emit)
	if kind == Stage {
		rt.method(ctx, "drop", rt.drop)
		rt.method(ctx, "reject", rt.reject)
	}
	rt.getter(ctx, "deadline", func() goja.Value {
		if rt.deadline.IsZero() {
			return goja.Null()
		}
		return rt.vm.ToValue(rt.deadline.UnixMilli())
	})
	rt.getter(ctx, "attempt", func() goja.Value {
		if rt.call == nil {
			return goja.Undefined()
		}
		return rt.vm.ToValue(max(rt.call.Attempt, 1))
	})
	rt.getter(ctx, "fetch", func() goja.Value { return rt.global.Get("fetch") })
	rt.getter(ctx, "signal", rt.deadlineSignal)
	rt.getter(ctx, "kv", once(rt.kvObject))
	rt.getter(ctx, "secrets", func() goja.Value {
		if rt.granted == nil { // one for each call: its prototype can be changed
			rt.granted = rt.vm.NewDynamicObject(&secretsView{rt})
		}
		return rt.granted
	})
	rt.freeze(ctx)
	rt.ctx[kind] = ctx
	return ctx
}

func (rt *runtime) getter(o *goja.Object, name string, get func() goja.Value) {
	function := rt.vm.ToValue(func(goja.FunctionCall) goja.Value { return get() }).ToObject(rt.vm)
	rt.freeze(function)
	_ = o.DefineAccessorProperty(name, function, nil, goja.FLAG_FALSE, goja.FLAG_TRUE) // a new object takes any property
}

func once(makeIt func() goja.Value) func() goja.Value {
	var made goja.Value
	return func() goja.Value {
		if made == nil {
			made = makeIt()
		}
		return made
	}
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

// leastSecret is how long a secret is that is taken out of texts: "1" would be everywhere.
const leastSecret = 4

func redactor(secrets map[string]string) *strings.Replacer {
	var hidden []string
	for _, value := range secrets {
		if len(value) < leastSecret {
			continue
		}
		hidden = append(hidden, value)
		if quoted, err := json.Marshal(value); err == nil { // inside an object that is logged
			hidden = append(hidden, string(quoted[1:len(quoted)-1]))
		}
	}
	if hidden == nil {
		return nil
	}
	slices.SortFunc(hidden, func(a, b string) int { return len(b) - len(a) }) // one may be part of another
	var pairs []string
	for _, text := range hidden {
		pairs = append(pairs, text, "[redacted]")
	}
	return strings.NewReplacer(pairs...)
}

// redact takes the secrets out of what people will read.
func (rt *runtime) redact(text string) string {
	if rt.secrets == nil {
		return text
	}
	return rt.secrets.Replace(text)
}
