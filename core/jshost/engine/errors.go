package engine

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/web"
)

// maxThrown is how much is shown of what a script throws.
const maxThrown = 1 << 10

// ScriptError is what a script threw, or how it was stopped, with the place in its source.
type ScriptError struct {
	File         string
	Line, Column int // from 1; 0 when not known
	Msg          string
	Via          string // the place in the handler's own file, when File is one it imports
	Err          error  // what stopped it, or what the host meant by it; may be nil
	Stopped      bool   // it was stopped at the place, which had no part in it
	Frame        string // see CodeFrame; whoever has the files adds it
}

func (e *ScriptError) Error() string {
	text := e.place() + ": " + e.Msg
	if e.Stopped {
		text = e.Msg + " at " + e.place()
	}
	if e.Via != "" {
		text += " (called from " + e.Via + ")"
	}
	return text
}

// Long is the error with the code below it, in several lines, for a person who reads it.
func (e *ScriptError) Long() string { return long(e.Error(), e.Frame) }

// Long is the error with the code below it, in several lines, for a person who reads it.
func (e *CompileError) Long() string { return long(e.Error(), e.Frame) }

func long(text, frame string) string {
	if frame == "" {
		return text
	}
	return text + "\n" + frame
}

func (e *ScriptError) Unwrap() error { return e.Err }

func (e *ScriptError) place() string {
	if e.Line == 0 {
		return e.File
	}
	return fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
}

// explain gives goja's errors the form that people are shown. After an interrupt or an overflow the
// runtime may have been left in the middle of anything, so it is not used again.
func (rt *runtime) explain(err error) error {
	e := &ScriptError{File: rt.program.code.Path}
	if interrupted, ok := errors.AsType[*goja.InterruptedError](err); ok {
		rt.broken = true
		e.Err, _ = interrupted.Value().(error)
		e.Msg, e.Stopped = rt.stopped(e.Err), true
		e.at(rt, interrupted.Stack())
		return e
	}
	if overflow, ok := errors.AsType[*goja.StackOverflowError](err); ok {
		rt.broken = true
		e.Msg = fmt.Sprintf("the calls are nested too deep: more than %d", maxStack)
		e.at(rt, overflow.Stack())
		return e
	}
	if exception, ok := errors.AsType[*goja.Exception](err); ok {
		rt.thrown(e, exception)
		return e
	}
	if e, ok := errors.AsType[*ScriptError](err); ok {
		return e
	}
	e.Msg, e.Err = err.Error(), err
	return e
}

// thrown describes an exception. What was thrown long after it was made, as by await, has its place
// in the value.
func (rt *runtime) thrown(e *ScriptError, exception *goja.Exception) {
	e.Msg, e.Err = rt.describe(exception.Value()), rt.meaning(exception.Value())
	e.at(rt, exception.Stack())
	if e.Line == 0 {
		rt.placeOf(e, exception.Value())
	}
}

// overdue is a call that was stopped while it waited for something.
func (rt *runtime) overdue(cause error) error {
	rt.broken = true
	e := &ScriptError{File: rt.program.code.Path, Msg: rt.stopped(cause), Err: cause, Stopped: true}
	if o := rt.loop.oldest(); o != nil {
		e.Msg += ", waiting for " + o.what
		e.at(rt, o.frames)
	}
	return e
}

func (rt *runtime) stopped(cause error) string {
	switch {
	case errors.Is(cause, context.DeadlineExceeded):
		return fmt.Sprintf("deadline of %s exceeded", rt.allowed)
	case errors.Is(cause, context.Canceled):
		return "stopped before it was done"
	default:
		return fmt.Sprint(cause)
	}
}

// rejection is an error for a value that a promise was rejected with.
func (rt *runtime) rejection(v goja.Value, prefix string) error {
	e := &ScriptError{File: rt.program.code.Path, Msg: prefix + rt.describe(v), Err: rt.meaning(v)}
	rt.placeOf(e, v)
	return e
}

// placeOf finds where an Error was made. A script's own getters may throw.
func (rt *runtime) placeOf(e *ScriptError, v goja.Value) {
	object, ok := v.(*goja.Object)
	if !ok || object.ClassName() != "Error" {
		return
	}
	_ = rt.vm.Try(func() {
		if stack := object.Get("stack"); stack != nil {
			e.fromText(rt, stack.String())
		}
	})
}

// meant is what the host means by an Error that it gave to a script. It is kept here, not in the
// Error: scripts see nothing of Go.
type meant struct {
	thrown *goja.Object
	err    error
}

// meaning is nil for what is a script's own.
func (rt *runtime) meaning(v goja.Value) error {
	for _, m := range rt.meant {
		if m.thrown == v {
			return m.err
		}
	}
	return nil
}

// newError makes an Error to throw. code is left out when it is empty.
func (rt *runtime) newError(name, code, msg string) *goja.Object {
	class := rt.errorClass
	if name == "RangeError" || name == "TypeError" {
		class = rt.vm.Get(name)
	}
	thrown, err := rt.vm.New(class, rt.vm.ToValue(msg))
	if err != nil {
		panic(err)
	}
	_ = thrown.DefineDataProperty("name", rt.vm.ToValue(name), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE) // a new object takes any property
	if code != "" {
		_ = thrown.Set("code", code)
	}
	return thrown
}

// hostFailure is what an operation's promise is rejected with. Its place is where the operation was
// begun.
func (rt *runtime) hostFailure(o *operation, err error) *goja.Object {
	name, code, msg := "HostError", "EINTERNAL", o.what+": pipehook could not do it; its log says why"
	known, ok := errors.AsType[*effect.Error](err)
	switch {
	case ok:
		code, msg = known.Code, known.Msg
	case rt.calling != nil && rt.loop.ctx.Err() != nil:
		code, msg = "ETIMEDOUT", o.what+": the call's time was over"
	case rt.opts.Log != nil:
		attrs := []any{"listener", rt.opts.Name, "operation", o.what, "err", err}
		if p, ok := errors.AsType[*hostPanic](err); ok {
			attrs = append(attrs, "stack", string(p.stack))
		}
		rt.opts.Log.Error("an operation of a script failed", attrs...)
	}
	thrown := rt.newError(name, code, msg)
	if ok && known.Status > 0 {
		_ = thrown.Set("status", known.Status) // a new object takes any property
	}
	text := name + ": " + msg
	for i := range o.frames {
		if p := o.frames[i].Position(); p.Line > 0 {
			text += fmt.Sprintf("\n\tat %s:%d:%d", p.Filename, p.Line, p.Column)
		}
	}
	_ = thrown.DefineDataProperty("stack", rt.vm.ToValue(text), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	rt.meant = append(rt.meant, meant{thrown, err})
	return thrown
}

// describe is an Error as JavaScript prints it, with its causes, and any other value as JSON.
func (rt *runtime) describe(v goja.Value) (text string) {
	object, ok := v.(*goja.Object)
	if v == nil {
		return "threw undefined"
	}
	if !ok || object.ClassName() != "Error" {
		return shortened(rt.redact("threw "+rt.json(v)), maxThrown)
	}
	if thrown := rt.vm.Try(func() { text = rt.causes(object) }); thrown != nil {
		text = "threw an Error that throws when it is looked at"
	}
	return shortened(rt.redact(text), maxThrown)
}

func (rt *runtime) causes(object *goja.Object) string {
	text := object.String()
	for range 3 { // a cause may lead in a circle
		cause, ok := object.Get("cause").(*goja.Object)
		if !ok || cause.ClassName() != "Error" {
			break
		}
		object = cause
		if msg := cause.Get("message"); msg == nil || !strings.HasSuffix(text, ": "+msg.String()) { // else it has been said
			text += " (caused by " + cause.String() + ")"
		}
	}
	return text
}

// json is a value as JSON.stringify writes it, and as text where it does not.
func (rt *runtime) json(v goja.Value) string {
	e, written, err := encoder{most: maxLine}, false, error(nil)
	thrown := rt.vm.Try(func() { written, err = e.value(rt.vm, v, "", 0) })
	switch object, ok := v.(*goja.Object); {
	case errors.Is(err, errTooLong):
		return string(e.out) + "…"
	case thrown == nil && err == nil && written:
		return string(e.out)
	case ok:
		return "[" + object.ClassName() + "]" // its own toString could throw again
	default:
		return v.String()
	}
}

func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// at is the innermost frame that is code of the user's. Source maps count columns from 0.
func (e *ScriptError) at(rt *runtime, stack []goja.StackFrame) {
	for i := range stack {
		if rt.ours(stack[i].SrcName()) {
			continue
		}
		if p := stack[i].Position(); p.Line > 0 && !e.add(rt, p.Filename, p.Line, p.Column+1) {
			return
		}
	}
}

// fromText does the same with the text of a stack: "at name (file:line:column(pc))".
func (e *ScriptError) fromText(rt *runtime, stack string) {
	for line := range strings.Lines(stack) {
		at, ok := strings.CutPrefix(strings.TrimSpace(line), "at ")
		if !ok {
			continue
		}
		if open := strings.Index(at, " ("); open >= 0 && strings.HasSuffix(at, "))") {
			at = at[open+2:]
		}
		parts := strings.Split(at, ":")
		last := len(parts) - 1
		if last < 2 {
			continue
		}
		file := strings.Join(parts[:last-1], ":")
		var row, column int
		if _, err := fmt.Sscanf(parts[last-1]+" "+parts[last], "%d %d", &row, &column); err == nil && !rt.ours(file) {
			if !e.add(rt, file, row, column+1) {
				return
			}
		}
	}
}

// add takes the next frame outwards and reports whether more are wanted: the first is the place,
// and when that is in an imported file, the first in the handler's own file is how it got there.
func (e *ScriptError) add(rt *runtime, name string, line, column int) bool {
	file := rt.program.source(name)
	if e.Line == 0 {
		e.File, e.Line, e.Column = file, line, column
		return file != rt.program.code.Path
	}
	if file != rt.program.code.Path {
		return true
	}
	e.Via = fmt.Sprintf("%s:%d:%d", file, line, column)
	return false
}

// own reports whether a file is one of the engine's, so no place to show.
func own(file string) bool {
	return file == literalName || file == kvName || file == pipedriveName || web.Frame(file)
}

// source is a file as the user named its folder. goja makes URLs of names.
func (p *Program) source(name string) string {
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	if name == filepath.ToSlash(filepath.Clean(p.code.Path)) {
		return p.code.Path
	}
	return name
}

// ours reports whether a source is none of the user's.
func (rt *runtime) ours(name string) bool {
	lib := rt.opts.Library
	return own(name) || lib != nil && name == lib.Name
}
