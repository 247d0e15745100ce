// Package web gives a goja runtime the globals that scripts expect of the web platform: fetch, URL,
// AbortController, TextEncoder, crypto, structuredClone and what belongs to them. It knows no
// network, no clock and no event loop: those are Deps. What it installs can't be changed by a script.
//
// Nothing is made before its first use, so a runtime that uses none of it stays small. What is short
// in JavaScript is JavaScript, compiled once for the process; bytes, hosts and hashes are Go.
package web

import (
	"context"
	"embed"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/dop251/goja"
)

const (
	// MaxBody is the largest body of a request or a response, in bytes.
	MaxBody = 1 << 20
	// MaxData is the most that is hashed, encoded or decoded at once, in bytes: no deadline reaches
	// into that work.
	MaxData = 4 << 20
)

// Deps is what the globals need of whoever owns the runtime.
type Deps struct {
	// Async runs op on another goroutine and gives a promise at once. What op returns is called on
	// the runtime's goroutine, and the promise is fulfilled with its value. The ctx ends with the call.
	Async func(op func(ctx context.Context) (result func(vm *goja.Runtime) goja.Value, err error)) goja.Value
	// Fetch makes an HTTP request. Errors that tell a script more than their text are *FetchError.
	// Nil: fetch fails and says that it is not available.
	Fetch func(ctx context.Context, r *FetchRequest) (*FetchResponse, error)
	// Random is where crypto takes its bytes.
	Random io.Reader
	// After calls f on the runtime's goroutine once d has passed. A wait that is left must not keep a
	// call alive. The error of f is a runtime that was stopped in it, and ends the call.
	After func(d time.Duration, f func() error) (stop func())
}

// FetchRequest is a request whose URL has been parsed: its host is what the script was shown.
type FetchRequest struct {
	Method, URL string
	Header      [][2]string
	Body        []byte // nil for none
	Redirect    string // "follow", "error" or "manual"
}

// FetchResponse is the answer to a FetchRequest. Its Body belongs to the runtime from then on.
type FetchResponse struct {
	Status          int
	StatusText, URL string
	Redirected      bool
	Header          [][2]string
	Body            []byte
}

// FetchError is a failure that scripts can tell from others: Code becomes err.code.
type FetchError struct{ Code, Msg string }

func (e *FetchError) Error() string { return e.Msg }

// Globals are the names that Install defines on globalThis.
func Globals() []string {
	var names []string
	for _, part := range parts {
		names = append(names, part.globals...)
	}
	return names
}

// part is a group of globals that are made together, in the file of its name.
type part struct {
	name    string
	globals []string
}

var parts = []part{
	{"abort", []string{"DOMException", "AbortController", "AbortSignal"}},
	{"url", []string{"URL", "URLSearchParams"}},
	{"text", []string{"TextEncoder", "TextDecoder", "atob", "btoa"}},
	{"crypto", []string{"crypto"}},
	{"clone", []string{"structuredClone"}},
	{"fetch", []string{"Headers", "Request", "Response", "fetch"}},
}

// natives is what the JavaScript of a part needs of Go.
func (w *World) natives(part string) map[string]func(goja.FunctionCall) goja.Value {
	switch part {
	case "abort":
		return w.abortNatives()
	case "url":
		return w.urlNatives()
	case "text":
		return w.textNatives()
	case "crypto":
		return w.cryptoNatives()
	case "clone":
		return w.cloneNatives()
	case "fetch":
		return w.fetchNatives()
	}
	panic("web: there is no part " + part)
}

//go:embed js
var sources embed.FS

// scheme begins the names of our files in the stacks of errors; no file of a user's begins like this.
const scheme = "web:"

// Frame reports whether a stack frame's file is one of this package's, so not a place to show.
func Frame(file string) bool { return strings.HasPrefix(file, scheme) }

// compiled holds the programs of parts by name, each compiled at its first use.
var compiled sync.Map

func program(name string) *goja.Program {
	if p, ok := compiled.Load(name); ok {
		return p.(*goja.Program)
	}
	text, err := sources.ReadFile("js/" + name + ".js")
	if err != nil {
		panic(err) // a part without a file: the tests make all of them
	}
	p, _ := compiled.LoadOrStore(name, goja.MustCompile(scheme+name+".js", string(text), true))
	return p.(*goja.Program)
}

// World is what was installed into one runtime, and belongs to the goroutine that the runtime has.
type World struct {
	vm     *goja.Runtime
	deps   Deps
	made   map[string]*goja.Object // the exports of the parts that were used
	seal   goja.Value              // freezes what a part gives away
	isView goja.Callable
}

// Install defines the globals on vm. They can be neither replaced nor deleted. To work as they
// should in the face of a hostile script, the language's own objects must be frozen before it runs.
func Install(vm *goja.Runtime, d Deps) (*World, error) {
	if d.Async == nil || d.Random == nil || d.After == nil {
		return nil, fmt.Errorf("web: Async, Random and After are needed")
	}
	w := &World{vm: vm, deps: d}
	global := vm.GlobalObject()
	for _, part := range parts {
		for _, name := range part.globals {
			getter := vm.ToValue(func(goja.FunctionCall) goja.Value { return w.part(part.name).Get(name) })
			if err := global.DefineAccessorProperty(name, getter, nil, goja.FLAG_FALSE, goja.FLAG_FALSE); err != nil {
				return nil, fmt.Errorf("web: %s: %w", name, err)
			}
		}
	}
	return w, nil
}

// part is what a file exports, made when it is wanted first. It panics as native functions do: a
// runtime that is stopped meanwhile tries again the next time.
func (w *World) part(name string) *goja.Object {
	if exports := w.made[name]; exports != nil {
		return exports
	}
	if w.made == nil {
		w.seal = w.run("seal")
		w.isView, _ = goja.AssertFunction(w.vm.Get("ArrayBuffer").ToObject(w.vm).Get("isView"))
		w.made = map[string]*goja.Object{}
	}
	make, _ := goja.AssertFunction(w.run(name))
	exports, err := make(goja.Undefined(), w.host(name), w.seal)
	must(err)
	w.made[name] = exports.ToObject(w.vm)
	return w.made[name]
}

// host is the one native function that a part is given: host("digest", …). Each more would cost as
// much memory as all that a script sees of some parts.
func (w *World) host(part string) goja.Value {
	natives := w.natives(part)
	return w.vm.ToValue(func(call goja.FunctionCall) goja.Value {
		name := call.Argument(0).String()
		call.Arguments = call.Arguments[1:]
		if name == "need" { // what another part exports
			return w.part(call.Argument(0).String())
		}
		return natives[name](call)
	})
}

func (w *World) run(name string) goja.Value {
	v, err := w.vm.RunProgram(program(name))
	must(err)
	return v
}

// must passes a runtime's error on, in the way that goja knows.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
