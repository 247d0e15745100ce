package engine

import "github.com/dop251/goja"

// natives keeps what the host itself needs of the language, before a script could replace it.
func (rt *runtime) natives() {
	rt.parse, _ = goja.AssertFunction(rt.vm.Get("JSON").ToObject(rt.vm).Get("parse"))
	rt.errorClass = rt.vm.Get("Error")
	class := rt.vm.Get("Promise").ToObject(rt.vm)
	resolve, _ := goja.AssertFunction(class.Get("resolve"))
	rt.resolve = func(v goja.Value) (goja.Value, error) { return resolve(class, v) }
	then, _ := goja.AssertFunction(class.Get("prototype").ToObject(rt.vm).Get("then"))
	rt.then = func(promise, done goja.Value) (goja.Value, error) { return then(promise, done) }
}

// plain is what a value that is no object holds, nil for an object: exporting one copies all of it,
// as deep and as long as a script has made it, and runs its getters.
func plain(v goja.Value) any {
	if _, object := v.(*goja.Object); object || v == nil {
		return nil
	}
	return v.Export()
}

// function is a function of ours, which can't be changed.
func (rt *runtime) function(name string, f func(goja.FunctionCall) goja.Value) *goja.Object {
	function := rt.vm.ToValue(f).ToObject(rt.vm)
	_ = function.DefineDataProperty("name", rt.vm.ToValue(name), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE) // a new function takes any name
	rt.freeze(function)
	return function
}

// method gives an object a function that can't be changed and is not listed.
func (rt *runtime) method(o *goja.Object, name string, f func(goja.FunctionCall) goja.Value) {
	_ = o.DefineDataProperty(name, rt.function(name, f), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE) // an object of ours takes any property
}
