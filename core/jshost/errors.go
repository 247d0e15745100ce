package jshost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/dop251/goja"
)

// scriptError is what a script threw, or how it was stopped, with the place in its source.
type scriptError struct {
	file         string
	line, column int
	msg          string
	err          error
}

func (e *scriptError) Error() string {
	if e.file == "" {
		return e.msg
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.file, e.line, e.column, e.msg)
}

func (e *scriptError) Unwrap() error { return e.err }

// brokenError says that the runtime must not be used again.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// explain gives goja's errors the form that people are shown.
func (rt *runtime) explain(err error) error {
	if err == nil {
		return nil
	}
	if interrupted, ok := errors.AsType[*goja.InterruptedError](err); ok {
		cause, _ := interrupted.Value().(error)
		e := &scriptError{msg: "stopped: " + fmt.Sprint(interrupted.Value()), err: cause}
		if errors.Is(cause, context.DeadlineExceeded) {
			e.msg = "stopped: its time was over"
		}
		e.at(rt, interrupted.Stack())
		return &brokenError{e}
	}
	if overflow, ok := errors.AsType[*goja.StackOverflowError](err); ok {
		e := &scriptError{msg: "the calls are nested too deep"}
		e.at(rt, overflow.Stack())
		return &brokenError{e}
	}
	if exception, ok := errors.AsType[*goja.Exception](err); ok {
		e := &scriptError{msg: rt.describe(exception.Value()), err: exception.Unwrap()}
		e.at(rt, exception.Stack())
		return e
	}
	return err
}

// thrown is an error for a value that a promise was rejected with.
func (rt *runtime) thrown(v goja.Value, prefix string) error {
	e := &scriptError{msg: prefix + rt.describe(v)}
	if object, ok := v.(*goja.Object); ok {
		if stack := object.Get("stack"); stack != nil {
			e.fromText(rt, stack.String())
		}
	}
	return e
}

// describe is an Error as JavaScript prints it, and any other value as JSON.
func (rt *runtime) describe(v goja.Value) string {
	if v == nil {
		return "undefined"
	}
	if object, ok := v.(*goja.Object); ok && object.ClassName() != "Error" {
		if text, err := json.Marshal(object); err == nil {
			return string(text)
		}
	}
	return v.String()
}

// at is the innermost frame that is code of the user's.
func (e *scriptError) at(rt *runtime, stack []goja.StackFrame) {
	for _, frame := range stack {
		if p := frame.Position(); p.Line > 0 && frame.SrcName() != "harden.js" && frame.SrcName() != "<native>" {
			e.file, e.line, e.column = rt.program.source(p.Filename), p.Line, p.Column+1 // source maps count columns from 0
			return
		}
	}
}

// fromText finds the first place in the text of a stack: "at name (file:line:column(pc))".
func (e *scriptError) fromText(rt *runtime, stack string) {
	for line := range strings.Lines(stack) {
		at, ok := strings.CutPrefix(strings.TrimSpace(line), "at ")
		if !ok {
			continue
		}
		if open := strings.LastIndex(at, " ("); open >= 0 && !strings.HasSuffix(at[:open+1], ":") {
			at = at[open+2:]
		}
		parts := strings.Split(at, ":")
		if len(parts) < 3 {
			continue
		}
		var line, column int
		last := len(parts) - 1
		if _, err := fmt.Sscanf(parts[last-1]+" "+parts[last], "%d %d", &line, &column); err == nil {
			e.file, e.line, e.column = rt.program.source(strings.Join(parts[:last-1], ":")), line, column+1
			return
		}
	}
}

// source is a file of the program as the user named its folder.
func (p *Program) source(name string) string {
	if filepath.Base(name) == filepath.Base(p.path) {
		return p.path
	}
	if rel, err := filepath.Rel(filepath.Dir(p.path), name); err == nil && !filepath.IsAbs(p.path) {
		return filepath.Join(filepath.Dir(p.path), rel)
	}
	return name
}
