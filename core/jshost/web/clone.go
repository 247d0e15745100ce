package web

import "github.com/dop251/goja"

func (w *World) cloneNatives() map[string]func(goja.FunctionCall) goja.Value {
	return map[string]func(goja.FunctionCall) goja.Value{
		// kind is what an object is, whatever its prototype and its properties say.
		"kind": func(call goja.FunctionCall) goja.Value {
			object, ok := call.Argument(0).(*goja.Object)
			switch {
			case !ok:
				return w.vm.ToValue("")
			case object.ExportType() == proxyType:
				return w.vm.ToValue("Proxy")
			case object.ExportType() == bufferType:
				return w.vm.ToValue("ArrayBuffer")
			case w.isBytes(object):
				return w.vm.ToValue("View")
			}
			return w.vm.ToValue(object.ClassName())
		},
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
