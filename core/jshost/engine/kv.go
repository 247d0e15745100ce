package engine

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
)

const (
	maxKey   = 512       // bytes
	maxValue = 256 << 10 // bytes of JSON
	maxList  = 1000      // entries of one list
)

const kvName = "kv.js"

//go:embed kv.js
var kvSource string

var kvProgram = goja.MustCompile(kvName, kvSource, true)

// kvObject is ctx.kv, with what is the script's own, and shared with all others inside.
func (rt *runtime) kvObject() goja.Value {
	kv := rt.kvOf(false)
	_ = kv.DefineDataProperty("shared", rt.kvOf(true), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE) // a new object takes any property
	rt.freeze(kv)
	return kv
}

func (rt *runtime) kvOf(shared bool) *goja.Object {
	kv := rt.vm.NewObject()
	rt.method(kv, "entry", func(call goja.FunctionCall) goja.Value {
		op := &effect.KVOp{Op: "get", Shared: shared, Key: rt.kvKey("entry", call.Argument(0))}
		return rt.kvCall("ctx.kv.get", op, func(r *effect.KVResult) goja.Value {
			if !r.OK {
				return goja.Undefined()
			}
			return rt.kvEntry(&r.Entry, false)
		})
	})
	rt.method(kv, "set", func(call goja.FunctionCall) goja.Value {
		op := &effect.KVOp{Op: "set", Shared: shared, Key: rt.kvKey("set", call.Argument(0))}
		op.Value = rt.kvValue(call.Argument(1))
		rt.kvOptions(op, call.Argument(2))
		return rt.kvCall("ctx.kv.set", op, rt.kvOK)
	})
	rt.method(kv, "delete", func(call goja.FunctionCall) goja.Value {
		op := &effect.KVOp{Op: "delete", Shared: shared, Key: rt.kvKey("delete", call.Argument(0))}
		rt.kvOptions(op, call.Argument(1))
		return rt.kvCall("ctx.kv.delete", op, rt.kvOK)
	})
	rt.method(kv, "list", func(call goja.FunctionCall) goja.Value {
		op := &effect.KVOp{Op: "list", Shared: shared, Limit: 100}
		rt.kvRange(op, call.Argument(0))
		return rt.kvCall("ctx.kv.list", op, rt.kvList)
	})
	made, err := rt.vm.RunProgram(kvProgram)
	if err != nil {
		panic(err)
	}
	build, _ := goja.AssertFunction(made)
	parts, err := build(goja.Undefined(), kv.Get("entry"), kv.Get("set"))
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"get", "update"} {
		f := parts.ToObject(rt.vm).Get(name).ToObject(rt.vm)
		rt.freeze(f)
		_ = kv.DefineDataProperty(name, f, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE) // a new object takes any property
	}
	if shared {
		rt.freeze(kv)
	}
	return kv
}

func (rt *runtime) kvCall(what string, op *effect.KVOp, answer func(*effect.KVResult) goja.Value) goja.Value {
	host, by := rt.host(what), rt.by()
	return rt.async(what, func(ctx context.Context) (func(*goja.Runtime) goja.Value, error) {
		r, err := host.KV(ctx, by, op)
		if err != nil {
			return nil, err
		}
		return func(*goja.Runtime) goja.Value { return answer(r) }, nil
	})
}

// host is who does things outside; throws when there is nobody.
func (rt *runtime) host(what string) Host {
	if rt.opts.Host == nil {
		panic(rt.newError("HostError", "EUNAVAILABLE", what+" is not available here"))
	}
	return rt.opts.Host
}

func (rt *runtime) kvKey(name string, v goja.Value) string {
	s, ok := v.(goja.String)
	switch {
	case !ok:
		panic(rt.vm.NewTypeError("ctx.kv.%s: the key must be text", name))
	case s.Length() == 0 || len(s.String()) > maxKey:
		panic(rt.newError("RangeError", "", fmt.Sprintf("ctx.kv.%s: a key has 1 to %d bytes", name, maxKey)))
	}
	return s.String()
}

func (rt *runtime) kvValue(v goja.Value) []byte {
	text := rt.written("ctx.kv.set: the value", v, maxValue)
	if text == nil {
		panic(rt.vm.NewTypeError("ctx.kv.set: undefined and functions can't be kept: use null, or ctx.kv.delete"))
	}
	return text
}

// written is a value of a script as JSON; what can't be written is thrown with the name of what it is.
func (rt *runtime) written(what string, v goja.Value, most int) []byte {
	text, err := rt.encode(v, most)
	if thrown, ok := errors.AsType[*goja.Exception](err); ok {
		panic(thrown)
	}
	if err != nil {
		panic(rt.vm.NewTypeError("%s: %s", what, err.Error()))
	}
	return text
}

// options is the object of named arguments; nil when there is none.
func (rt *runtime) options(what string, v goja.Value) *goja.Object {
	if goja.IsUndefined(v) || goja.IsNull(v) {
		return nil
	}
	o, ok := v.(*goja.Object)
	if !ok {
		panic(rt.vm.NewTypeError("%s: the options must be an object", what))
	}
	return o
}

// optional is a named argument, nil when it is not given.
func optional(o *goja.Object, name string) goja.Value {
	if v := o.Get(name); v != nil && !goja.IsUndefined(v) {
		return v
	}
	return nil
}

func (rt *runtime) kvOptions(op *effect.KVOp, v goja.Value) {
	what := "ctx.kv." + op.Op
	o := rt.options(what, v)
	if o == nil {
		return
	}
	if ttl := optional(o, "ttl"); ttl != nil && op.Op == "set" {
		op.TTL = rt.duration(what+": ttl", ttl)
	}
	switch version := optional(o, "ifVersion"); {
	case version == nil:
	case goja.IsNull(version):
		op.IfVersion = new(string)
	default:
		s, ok := version.(goja.String)
		if !ok || s.Length() == 0 {
			panic(rt.vm.NewTypeError("%s: ifVersion must be the version of an entry, or null for none", what))
		}
		text := s.String()
		op.IfVersion = &text
	}
}

// duration is seconds, or text such as "5m".
func (rt *runtime) duration(what string, v goja.Value) (d time.Duration) {
	switch given := plain(v).(type) {
	case string:
		var err error
		if d, err = core.ParseDuration(given); err != nil {
			panic(rt.vm.NewTypeError("%s: %s", what, err.Error()))
		}
	case int64, float64:
		if seconds := v.ToFloat(); seconds > 0 {
			d = time.Duration(min(seconds, 1e9) * float64(time.Second))
		}
	}
	if d <= 0 {
		panic(rt.vm.NewTypeError("%s must be seconds above 0, or a duration such as \"5m\"", what))
	}
	return d
}

func (rt *runtime) kvRange(op *effect.KVOp, v goja.Value) {
	o := rt.options("ctx.kv.list", v)
	if o == nil {
		return
	}
	for name, into := range map[string]*string{"prefix": &op.Prefix, "after": &op.After} {
		if given := optional(o, name); given != nil {
			s, ok := given.(goja.String)
			if !ok || s.Length() > maxKey {
				panic(rt.vm.NewTypeError("ctx.kv.list: %s must be text of at most %d bytes", name, maxKey))
			}
			*into = s.String()
		}
	}
	if given := optional(o, "limit"); given != nil {
		limit := given.ToInteger()
		if !goja.IsNumber(given) || limit < 1 || limit > maxList {
			panic(rt.vm.NewTypeError("ctx.kv.list: limit must be 1 to %d", maxList))
		}
		op.Limit = int(limit)
	}
}

func (rt *runtime) kvOK(r *effect.KVResult) goja.Value { return rt.vm.ToValue(r.OK) }

func (rt *runtime) kvEntry(e *effect.KVEntry, named bool) goja.Value {
	o := rt.vm.NewObject()
	if named {
		_ = o.Set("key", e.Key) // a plain new object takes any property
	}
	_ = o.Set("value", rt.decode(e.Value))
	_ = o.Set("version", e.Version)
	_ = o.Set("expiresAt", rt.timeValue(e.Expires))
	return o
}

func (rt *runtime) kvList(r *effect.KVResult) goja.Value {
	entries := make([]any, len(r.Entries))
	for i := range r.Entries {
		entries[i] = rt.kvEntry(&r.Entries[i], true)
	}
	o := rt.vm.NewObject()
	_ = o.Set("entries", rt.vm.NewArray(entries...)) // a plain new object takes any property
	_ = o.Set("more", r.More)
	return o
}
