package engine

import (
	"log/slog"
	"strings"

	"github.com/dop251/goja"
)

const (
	maxLine  = 8 << 10 // bytes of one line that a script logs
	maxLines = 1000    // lines of one call
	maxAttrs = 32      // of one line
	maxAttr  = 1 << 10 // bytes of one attribute
)

// contextObject is the handler's second argument, ctx; the global console says things the same way.
// It is the same for all calls of a runtime, so it can't be changed.
func (rt *runtime) contextObject() *goja.Object {
	log, console := rt.vm.NewObject(), rt.vm.NewObject()
	for name, level := range map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "log": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	} {
		_ = console.Set(name, func(call goja.FunctionCall) goja.Value { // a plain new object takes any property
			rt.say(level, call.Arguments, nil)
			return goja.Undefined()
		})
		if name == "log" {
			continue
		}
		_ = log.Set(name, func(call goja.FunctionCall) goja.Value {
			words, attrs := rt.attrs(call.Arguments)
			rt.say(level, words, attrs)
			return goja.Undefined()
		})
	}
	_ = rt.vm.Set("console", console)
	ctx := rt.vm.NewObject()
	_ = ctx.Set("log", log)
	_ = ctx.Set("listener", rt.opts.Name)
	_ = ctx.Set("fail", rt.fail)
	_ = ctx.Set("retryAfter", rt.retryAfter)
	_ = ctx.DefineAccessorProperty("deadline", rt.vm.ToValue(func() goja.Value {
		if rt.deadline.IsZero() {
			return goja.Null()
		}
		return rt.vm.ToValue(rt.deadline.UnixMilli())
	}), nil, goja.FLAG_FALSE, goja.FLAG_TRUE)
	if freeze, ok := goja.AssertFunction(rt.vm.Get("Object").ToObject(rt.vm).Get("freeze")); ok {
		_, _ = freeze(goja.Undefined(), log) // plain objects can be frozen
		_, _ = freeze(goja.Undefined(), ctx)
	}
	return ctx
}

// attrs takes the object off that may follow the text of a line: log.info("moved", { to: 4 }).
func (rt *runtime) attrs(args []goja.Value) (words []goja.Value, attrs *goja.Object) {
	if len(args) != 2 {
		return args, nil
	}
	object, ok := args[1].(*goja.Object)
	if !ok || object.ClassName() != "Object" {
		return args, nil
	}
	return args[:1], object
}

func (rt *runtime) say(level slog.Level, words []goja.Value, data *goja.Object) {
	if rt.opts.Said == nil || rt.opts.Level != nil && level < rt.opts.Level.Level() {
		return
	}
	line := Line{Listener: rt.opts.Name, Level: level}
	if rt.event != nil {
		line.Event = rt.event.ID
	}
	if rt.lines++; rt.lines > maxLines {
		if rt.lines > maxLines+1 {
			return
		}
		line.Level, line.Msg = slog.LevelWarn, "the script logs too much: the rest of this call is left out"
	} else {
		texts := make([]string, len(words))
		for i, word := range words {
			texts[i] = rt.word(word)
		}
		line.Msg, line.Attrs, line.At = shortened(strings.Join(texts, " "), maxLine), rt.attrList(data), rt.caller()
	}
	line.Text = line.text()
	rt.opts.Said(line)
}

func (rt *runtime) attrList(data *goja.Object) []slog.Attr {
	if data == nil {
		return nil
	}
	var attrs []slog.Attr
	for _, name := range data.Keys() {
		if len(attrs) == maxAttrs {
			break
		}
		attrs = append(attrs, slog.Attr{Key: shortened(name, maxAttr), Value: rt.attrValue(data.Get(name))})
	}
	return attrs
}

func (rt *runtime) attrValue(v goja.Value) slog.Value {
	if _, ok := v.(*goja.Object); !ok && v != nil {
		switch x := v.Export().(type) {
		case bool:
			return slog.BoolValue(x)
		case int64:
			return slog.Int64Value(x)
		case float64:
			return slog.Float64Value(x)
		}
	}
	return slog.StringValue(shortened(rt.word(v), maxAttr))
}

// word is text as it is, an error as it prints with its place, and anything else as JSON.
func (rt *runtime) word(v goja.Value) string {
	object, ok := v.(*goja.Object)
	switch {
	case v == nil:
		return "undefined"
	case !ok:
		return v.String()
	case object.ClassName() == "Error":
		return rt.rejection(object, "").Error()
	default:
		return rt.json(object)
	}
}

// caller is where in the script the line was logged.
func (rt *runtime) caller() string {
	e := &ScriptError{File: rt.program.code.Path}
	e.at(rt, rt.vm.CaptureCallStack(4, nil))
	return e.place()
}
