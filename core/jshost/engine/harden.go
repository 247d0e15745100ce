package engine

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core/jsonscan"
)

// What one event does to the language must not meet the next one: every object of the language that
// a script can get hold of is frozen before it does. What is reachable from values that need no name,
// such as the methods of arrays, is frozen when a runtime is made; the rest when its name is first
// used. Freezing everything at once would cost ten times as much, for functions that few scripts
// ever see.

//go:embed literals.js
var literalSource string

const literalName = "literals.js"

var literals = goja.MustCompile(literalName, literalSource, true)

// languageGlobals are the names of the language that scripts have. Not among them: eval and Function,
// which make code of text (the parser recurses, and takes the process down with it), and what only
// the engine needs.
var languageGlobals = []string{
	"Object", "Array", "String", "Number", "BigInt", "RegExp", "Date", "Boolean", "Proxy", "Reflect", "Symbol",
	"Error", "AggregateError", "TypeError", "ReferenceError", "SyntaxError", "RangeError", "EvalError", "URIError",
	"ArrayBuffer", "DataView", "Uint8Array", "Uint8ClampedArray", "Int8Array", "Uint16Array", "Int16Array", "Uint32Array", "Int32Array",
	"Float32Array", "Float64Array", "BigUint64Array", "BigInt64Array",
	"Math", "JSON", "WeakSet", "WeakMap", "Map", "Set", "Promise", "NaN", "undefined", "Infinity",
	"isNaN", "parseInt", "parseFloat", "isFinite", "decodeURI", "decodeURIComponent", "encodeURI", "encodeURIComponent", "escape", "unescape",
}

// assignable are the inherited properties that programs give objects of their own by assignment,
// which a frozen property of the same name in a prototype would forbid. They become accessors there.
var assignable = []string{"constructor", "toString", "toLocaleString", "valueOf", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "name", "message"}

// dated are methods that HTML had in another time. They are taken away: each would have to be frozen.
var dated = []string{
	"anchor", "big", "blink", "bold", "fixed", "fontcolor", "fontsize", "italics", "link", "small", "strike", "sub", "sup",
	"__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__", "compile",
}

// makers are the constructors that make code of text. Scripts see others in their place, which are
// good for instanceof and for Function.prototype, as libraries use them, and throw when called.
var makers = []string{"Function", "AsyncFunction", "GeneratorFunction"}

// language freezes what belongs to JavaScript itself.
type language struct {
	vm       *goja.Runtime
	freeze   func(*goja.Object)
	describe goja.Callable // Object.getOwnPropertyDescriptor
	symbols  goja.Callable // Object.getOwnPropertySymbols
	function *goja.Object  // Function.prototype
	hard     map[*goja.Object]bool
	shared   map[string]*inherited // by name of an assignable property
}

// inherited is one property of several prototypes. Its accessors are the same for all of them.
type inherited struct {
	values      map[*goja.Object]goja.Value // by prototype
	get, assign goja.Value
}

func newLanguage(vm *goja.Runtime) (*language, error) {
	object := vm.Get("Object").ToObject(vm)
	freeze, _ := goja.AssertFunction(object.Get("freeze"))
	l := &language{vm: vm, hard: map[*goja.Object]bool{}, shared: map[string]*inherited{}}
	l.freeze = func(o *goja.Object) { _, _ = freeze(goja.Undefined(), o) } // those that are passed can be frozen
	l.describe, _ = goja.AssertFunction(object.Get("getOwnPropertyDescriptor"))
	l.symbols, _ = goja.AssertFunction(object.Get("getOwnPropertySymbols"))
	l.function = object.Prototype()
	l.bound()
	l.shallow()
	values, err := vm.RunProgram(literals)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", literalName, err)
	}
	list := values.ToObject(vm)
	for i := range int(list.Get("length").ToInteger()) {
		for proto := list.Get(strconv.Itoa(i)).ToObject(vm).Prototype(); proto != nil; proto = proto.Prototype() {
			l.harden(proto)
		}
	}
	return l, nil
}

// harden freezes a value of the language and what is reachable through it. The constructors of
// prototypes are left until somebody asks for them.
func (l *language) harden(v goja.Value) {
	o, ok := v.(*goja.Object)
	if !ok || l.hard[o] {
		return
	}
	if o.ClassName() == "Function" && o != l.function && o.Get("prototype") == nil { // a method has nothing inside
		l.freeze(o)
		return
	}
	l.open(o)
}

// open hardens an object with all that is inside.
func (l *language) open(o *goja.Object) {
	l.hard[o] = true
	names := o.GetOwnPropertyNames()
	isPrototype := o == l.function || l.isPrototype(o, names)
	for _, name := range names {
		switch {
		case isPrototype && slices.Contains(dated, name):
			_ = o.Delete(name) // what is left would only be there
		case isPrototype && slices.Contains(assignable, name):
			l.share(o, name)
		default:
			l.named(o, name)
		}
	}
	l.eachSymbol(o, func(symbol goja.Value) { l.property(o, symbol) })
	l.freeze(o)
	if above := o.Prototype(); above != nil {
		l.harden(above)
	}
}

// iterator hardens what the values of a class are gone through with: nothing has a name for it.
func (l *language) iterator(class *goja.Object) {
	one, err := l.vm.New(class)
	if err != nil {
		panic(err)
	}
	values, _ := goja.AssertFunction(one.Get("values"))
	made, err := values(one)
	if err != nil {
		panic(err)
	}
	l.harden(made.ToObject(l.vm).Prototype())
}

func (l *language) eachSymbol(o *goja.Object, f func(symbol goja.Value)) {
	found, err := l.symbols(goja.Undefined(), o)
	if err != nil {
		return // of an object of the language there is no such error
	}
	list := found.ToObject(l.vm)
	for i := range int(list.Get("length").ToInteger()) {
		f(list.Get(strconv.Itoa(i)))
	}
}

// isPrototype tells what others inherit from by its constructor.
func (l *language) isPrototype(o *goja.Object, names []string) bool {
	if !slices.Contains(names, "constructor") {
		return false
	}
	constructor, ok := o.Get("constructor").(*goja.Object)
	return ok && constructor.Get("prototype") == goja.Value(o)
}

// named hardens what a property holds. Most hold a function, which is quickly seen; where a getter
// may be at work, it is asked for.
func (l *language) named(o *goja.Object, name string) {
	var v goja.Value
	if thrown := l.vm.Try(func() { v = o.Get(name) }); thrown == nil {
		if held, ok := v.(*goja.Object); ok {
			l.harden(held)
			return
		}
	}
	l.property(o, l.vm.ToValue(name))
}

// property hardens what a property holds, be it a value or the functions behind one.
func (l *language) property(o *goja.Object, name goja.Value) {
	described, err := l.describe(goja.Undefined(), o, name)
	if err != nil {
		return // a property that can't be described can't be reached
	}
	d, ok := described.(*goja.Object)
	if !ok {
		return
	}
	for _, part := range []string{"value", "get", "set"} {
		l.harden(d.Get(part))
	}
}

// share makes a property of a prototype one that objects below may be given by assignment.
func (l *language) share(o *goja.Object, name string) {
	value := o.Get(name)
	if name != "constructor" {
		l.harden(value)
	} else if c, ok := value.(*goja.Object); ok && slices.Contains(makers, c.Get("name").String()) {
		value = l.harmless(c.Get("name").String(), o)
	}
	p := l.shared[name]
	if p == nil {
		p = &inherited{values: map[*goja.Object]goja.Value{}}
		p.get = l.native(func(call goja.FunctionCall) goja.Value { return l.lookUp(p, name, call.This) })
		p.assign = l.native(func(call goja.FunctionCall) goja.Value { return l.assign(p, name, call) })
		l.shared[name] = p
	}
	p.values[o] = value
	_ = o.DefineAccessorProperty(name, p.get, p.assign, goja.FLAG_FALSE, goja.FLAG_FALSE) // it is configurable in all of them
}

// harmless is a constructor of that name and prototype which makes nothing.
func (l *language) harmless(name string, prototype *goja.Object) *goja.Object {
	f := l.vm.ToValue(func(goja.ConstructorCall) *goja.Object {
		panic(l.vm.NewTypeError("%s: code can't be made of text here", name))
	}).ToObject(l.vm)
	_ = f.DefineDataProperty("name", l.vm.ToValue(name), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE) // a new function takes both
	_ = f.DefineDataProperty("prototype", prototype, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE)
	l.freeze(f)
	l.hard[f] = true
	return f
}

func (l *language) native(f func(goja.FunctionCall) goja.Value) goja.Value {
	function := l.vm.ToValue(f).ToObject(l.vm)
	l.freeze(function)
	return function
}

func (l *language) lookUp(p *inherited, name string, this goja.Value) goja.Value {
	for o := this.ToObject(l.vm); o != nil; o = o.Prototype() {
		if v, ok := p.values[o]; ok {
			if name == "constructor" {
				l.harden(v)
			}
			return v
		}
	}
	return goja.Undefined()
}

func (l *language) assign(p *inherited, name string, call goja.FunctionCall) goja.Value {
	o, ok := call.This.(*goja.Object)
	if !ok {
		return goja.Undefined()
	}
	if _, ours := p.values[o]; ours {
		panic(l.vm.NewTypeError("Cannot assign to %q: the language's own objects can't be changed", name))
	}
	if err := o.DefineDataProperty(name, call.Argument(0), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE); err != nil {
		panic(err)
	}
	return goja.Undefined()
}

// longest is how long a string a script may make in one step: nothing interrupts that.
const longest = 4 << 20

// bound gives a limit to the methods that make strings of any length.
func (l *language) bound() {
	proto := l.vm.Get("String").ToObject(l.vm).Get("prototype").ToObject(l.vm)
	for _, name := range []string{"repeat", "padStart", "padEnd"} {
		original, _ := goja.AssertFunction(proto.Get(name))
		f := l.vm.ToValue(func(call goja.FunctionCall) goja.Value {
			length := call.Argument(0).ToFloat()
			if name == "repeat" {
				length *= float64(len(call.This.String()))
			}
			if length > longest {
				panic(l.failure("RangeError", fmt.Sprintf("%s: a string may have at most %d characters", name, longest)))
			}
			v, err := original(call.This, call.Arguments...)
			if err != nil {
				panic(err)
			}
			return v
		}).ToObject(l.vm)
		_ = f.DefineDataProperty("name", l.vm.ToValue(name), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE) // a new function takes any name
		_ = proto.DefineDataProperty(name, f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)                  // nothing is frozen yet
	}
}

// shallow gives JSON.parse a limit: the parser recurses, and what it reads may be a sender's.
func (l *language) shallow() {
	object := l.vm.Get("JSON").ToObject(l.vm)
	original, _ := goja.AssertFunction(object.Get("parse"))
	f := l.vm.ToValue(func(call goja.FunctionCall) goja.Value {
		args := append([]goja.Value{call.Argument(0).ToString()}, call.Arguments[min(len(call.Arguments), 1):]...)
		if text := args[0].String(); len(text) > jsonscan.MaxDepth && jsonscan.Depth([]byte(text), jsonscan.MaxDepth) > jsonscan.MaxDepth {
			panic(l.failure("SyntaxError", fmt.Sprintf("the JSON is nested deeper than %d", jsonscan.MaxDepth)))
		}
		v, err := original(call.This, args...)
		if err != nil {
			panic(err)
		}
		return v
	}).ToObject(l.vm)
	_ = f.DefineDataProperty("name", l.vm.ToValue("parse"), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE) // a new function takes any name
	_ = object.DefineDataProperty("parse", f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)                 // nothing is frozen yet
}

func (l *language) failure(class, msg string) goja.Value {
	thrown, err := l.vm.New(l.vm.Get(class), l.vm.ToValue(msg))
	if err != nil {
		panic(err)
	}
	return thrown
}
