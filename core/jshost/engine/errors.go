package engine

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/dop251/goja"
)

// maxThrown is how much is shown of what a script throws.
const maxThrown = 1 << 10

// ScriptError is what a script threw, or how it was stopped, with the place in its source.
type ScriptError struct {
	File         string
	Line, Column int // from 1; 0 when not known
	Msg          string
	Via          string // the place in the handler's own file, when File is one it imports
	Err          error  // what stopped it, or the Go error that a host function gave; may be nil
	Stopped      bool   // at the place, which had no part in it
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
		e.Msg, e.Err = rt.describe(exception.Value()), exception.Unwrap()
		e.at(rt, exception.Stack())
		return e
	}
	return err
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
	e := &ScriptError{File: rt.program.code.Path, Msg: prefix + rt.describe(v)}
	if object, ok := v.(*goja.Object); ok && object.ClassName() == "Error" {
		if stack := object.Get("stack"); stack != nil {
			e.fromText(rt, stack.String())
		}
		if inner := object.Get("value"); inner != nil {
			e.Err, _ = inner.Export().(error)
		}
	}
	return e
}

// describe is an Error as JavaScript prints it, with its causes, and any other value as JSON.
func (rt *runtime) describe(v goja.Value) string {
	var text string
	object, ok := v.(*goja.Object)
	switch {
	case v == nil:
		text = "threw undefined"
	case ok && object.ClassName() == "Error":
		text = v.String()
		for range 3 { // a cause may lead in a circle
			cause, ok := object.Get("cause").(*goja.Object)
			if !ok || cause.ClassName() != "Error" {
				break
			}
			object = cause
			text += " (caused by " + cause.String() + ")"
		}
	default:
		text = "threw " + rt.json(v)
	}
	return shortened(text, maxThrown)
}

// json is a value as JSON.stringify writes it, and as text where it does not.
func (rt *runtime) json(v goja.Value) string {
	text, err := rt.stringify(goja.Undefined(), v)
	if err != nil || goja.IsUndefined(text) {
		if object, ok := v.(*goja.Object); ok {
			return "[" + object.ClassName() + "]" // its own toString could throw again
		}
		return v.String()
	}
	return text.String()
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
		if stack[i].SrcName() == preludeName {
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
		if _, err := fmt.Sscanf(parts[last-1]+" "+parts[last], "%d %d", &row, &column); err == nil && file != preludeName {
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
