package web

import (
	"math/big"
	"reflect"

	"github.com/dop251/goja"
)

var exported = map[reflect.Type]string{
	proxyType:                        "Proxy",
	bufferType:                       "ArrayBuffer",
	reflect.TypeFor[[][2]any]():      "Map",
	reflect.TypeFor[[]any]():         "Set",
	reflect.TypeFor[*goja.Promise](): "Promise",
	reflect.TypeFor[*big.Int]():      "BigInt",
	reflect.TypeFor[string]():        "Symbol",
}

// kind is what an object is, whatever its prototype and its properties say. The name of the class
// tells less: it is Object for all that came to the language late.
func (w *World) kind(v goja.Value) string {
	object, ok := v.(*goja.Object)
	switch {
	case !ok:
		return ""
	case object.ExportType() == proxyType: // has the name of its target
		return "Proxy"
	case object.ClassName() != "Object":
		return object.ClassName()
	}
	if name := exported[object.ExportType()]; name != "" {
		return name
	}
	if w.isBytes(object) {
		return "View"
	}
	return "Object"
}

func (w *World) cloneNatives() map[string]func(goja.FunctionCall) goja.Value {
	return map[string]func(goja.FunctionCall) goja.Value{
		"kind": func(call goja.FunctionCall) goja.Value { return w.vm.ToValue(w.kind(call.Argument(0))) },
		// ours is the class of an object that was made by this package, else empty.
		"ours": func(call goja.FunctionCall) goja.Value {
			for i := range parts {
				exports := w.made[parts[i].name]
				if exports == nil {
					continue
				}
				for _, name := range exports.Keys() {
					class := exports.Get(name).ToObject(w.vm)
					if class.Get("prototype") != nil && w.vm.InstanceOf(call.Argument(0), class) {
						return w.vm.ToValue(name)
					}
				}
			}
			return w.vm.ToValue("")
		},
	}
}
