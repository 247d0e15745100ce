package jshost

import (
	"context"
	"log/slog"
	"strings"

	"github.com/dop251/goja"
)

const (
	maxLine  = 8 << 10 // bytes of one line that a script logs
	maxLines = 1000    // lines of one call
)

// contextObject is the handler's second argument, ctx; the global console says things the same way.
func (rt *runtime) contextObject() *goja.Object {
	log, console := rt.vm.NewObject(), rt.vm.NewObject()
	for name, level := range map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "log": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	} {
		say := func(call goja.FunctionCall) goja.Value {
			rt.say(level, call.Arguments)
			return goja.Undefined()
		}
		_ = console.Set(name, say) // a plain new object takes any property
		if name != "log" {
			_ = log.Set(name, say)
		}
	}
	_ = rt.vm.Set("console", console)
	ctx := rt.vm.NewObject()
	_ = ctx.Set("log", log)
	_ = ctx.DefineAccessorProperty("listener", rt.vm.ToValue(func() string { return rt.listener }), nil, goja.FLAG_FALSE, goja.FLAG_TRUE)
	_ = ctx.DefineAccessorProperty("deadline", rt.vm.ToValue(func() goja.Value {
		if deadline, ok := rt.call.Deadline(); ok {
			return rt.vm.ToValue(deadline.UnixMilli())
		}
		return goja.Null()
	}), nil, goja.FLAG_FALSE, goja.FLAG_TRUE)
	return ctx
}

func (rt *runtime) say(level slog.Level, args []goja.Value) {
	if rt.call == nil || rt.opts.Log == nil { // the file's top level: it runs once for each runtime
		return
	}
	if rt.lines++; rt.lines > maxLines {
		if rt.lines == maxLines+1 {
			rt.opts.Log.Warn("a script says too much; the rest of this call is not logged", "listener", rt.listener, "event", rt.event.ID)
		}
		return
	}
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = rt.words(arg)
	}
	text := strings.Join(words, " ")
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "") + "…"
	}
	if rt.opts.Log.Enabled(context.Background(), level) {
		rt.opts.Log.LogAttrs(context.Background(), level, text, slog.String("listener", rt.listener), slog.String("event", rt.event.ID), slog.String("at", rt.caller()))
	}
	if rt.opts.Said != nil {
		rt.opts.Said(Line{Listener: rt.listener, Event: rt.event.ID, Level: level, Text: text})
	}
}

// words is text as it is, an error as it prints, and anything else as JSON.
func (rt *runtime) words(v goja.Value) string {
	object, ok := v.(*goja.Object)
	if !ok || object.ClassName() == "Error" {
		return v.String()
	}
	stringify, ok := goja.AssertFunction(rt.vm.Get("JSON").ToObject(rt.vm).Get("stringify"))
	if !ok {
		return v.String()
	}
	text, err := stringify(goja.Undefined(), v)
	if err != nil || goja.IsUndefined(text) {
		return v.String()
	}
	return text.String()
}

// caller is where in the script the line was logged.
func (rt *runtime) caller() string {
	var e scriptError
	e.at(rt, rt.vm.CaptureCallStack(4, nil))
	e.msg = ""
	return strings.TrimSuffix(e.Error(), ": ")
}
