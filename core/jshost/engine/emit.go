package engine

import (
	"context"
	"regexp"
	"strings"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
)

// maxEmitted bounds each part of an event that a script emits.
const maxEmitted = maxResult

// word is what actions and objects are made of.
var word = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// emit is ctx.emit("added.invoice", { objectId, current, previous, meta, key }).
func (rt *runtime) emit(call goja.FunctionCall) goja.Value {
	host, by := rt.host("ctx.emit"), rt.by()
	e := &effect.Emit{}
	action, object, _ := strings.Cut(text(call.Argument(0), ""), ".")
	if !word.MatchString(action) || !word.MatchString(object) {
		panic(rt.vm.NewTypeError("ctx.emit wants the type first: action.object, such as \"added.invoice\""))
	}
	e.Action, e.Object = core.CanonicalAction(action), object
	if data := rt.options("ctx.emit", call.Argument(1)); data != nil {
		rt.emitted(e, data)
	}
	rt.running("ctx.emit")
	e.Ordinal = rt.emits
	rt.emits++
	return rt.async("ctx.emit", func(ctx context.Context) (func(*goja.Runtime) goja.Value, error) {
		r, err := host.Emit(ctx, by, e)
		if err != nil {
			return nil, err
		}
		return func(vm *goja.Runtime) goja.Value {
			o := vm.NewObject()
			_ = o.Set("id", r.ID) // a plain new object takes any property
			_ = o.Set("duplicate", r.Duplicate)
			return o
		}, nil
	})
}

func (rt *runtime) emitted(e *effect.Emit, data *goja.Object) {
	e.ObjectID = rt.identifier("objectId", optional(data, "objectId"))
	e.Key = rt.identifier("key", optional(data, "key"))
	for _, part := range []struct {
		name string
		into *[]byte
	}{{"current", &e.Current}, {"previous", &e.Previous}, {"meta", &e.Meta}} {
		v := optional(data, part.name)
		if v == nil || goja.IsNull(v) {
			continue
		}
		if o, ok := v.(*goja.Object); !ok || o.ClassName() == "Array" {
			panic(rt.vm.NewTypeError("ctx.emit: %s must be an object", part.name))
		}
		*part.into = rt.written("ctx.emit: "+part.name, v, maxEmitted)
	}
}

// identifier is text, or a whole number as its text; empty when it is not given.
func (rt *runtime) identifier(name string, v goja.Value) string {
	if v == nil || goja.IsNull(v) {
		return ""
	}
	switch given := plain(v).(type) {
	case string:
		if len(given) <= maxKey {
			return given
		}
	case int64:
		return v.String()
	}
	panic(rt.vm.NewTypeError("ctx.emit: %s must be text of at most %d bytes, or a whole number", name, maxKey))
}
