package engine

import (
	"log/slog"
	"strings"

	"github.com/dop251/goja"
)

const (
	maxLine  = 8 << 10  // bytes of one line that a script logs
	maxLines = 1000     // of one call
	maxSaid  = 64 << 10 // bytes of one call
	maxAttrs = 32       // of one line
	maxAttr  = 1 << 10  // bytes of one attribute
)

var levels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "log": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}

// logObject is the global console, or ctx.log, which takes data beside the text.
func (rt *runtime) logObject(names []string, data bool) goja.Value {
	o := rt.vm.NewObject()
	for _, name := range names {
		level := levels[name]
		rt.method(o, name, func(call goja.FunctionCall) goja.Value {
			if data {
				words, attrs := rt.attrs(call.Arguments)
				rt.say(level, words, attrs)
			} else {
				rt.say(level, call.Arguments, nil)
			}
			return goja.Undefined()
		})
	}
	rt.freeze(o)
	return o
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
	if rt.quiet {
		return
	}
	if rt.lines++; rt.lines > maxLines || rt.said > maxSaid {
		rt.quiet = true
		line.Level, line.Msg = slog.LevelWarn, "the script logs too much: the rest of this call is left out"
	} else {
		texts := make([]string, len(words))
		for i, word := range words {
			texts[i] = rt.word(word)
		}
		line.Msg, line.Attrs, line.At = shortened(rt.redact(strings.Join(texts, " ")), maxLine), rt.attrList(data), rt.here()
	}
	line.Text = line.text()
	rt.said += len(line.Text)
	rt.opts.Said(line)
}

func (rt *runtime) attrList(data *goja.Object) []slog.Attr {
	if data == nil {
		return nil
	}
	var attrs []slog.Attr
	for _, name := range data.Keys() { // what its getters throw goes to the script
		if len(attrs) == maxAttrs {
			break
		}
		attrs = append(attrs, slog.Attr{Key: shortened(rt.redact(name), maxAttr), Value: rt.attrValue(data.Get(name))})
	}
	return attrs
}

func (rt *runtime) attrValue(v goja.Value) slog.Value {
	switch x := plain(v).(type) {
	case bool:
		return slog.BoolValue(x)
	case int64:
		return slog.Int64Value(x)
	case float64:
		return slog.Float64Value(x)
	}
	return slog.StringValue(shortened(rt.redact(rt.word(v)), maxAttr))
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

// here is where in the script the line was logged.
func (rt *runtime) here() string {
	e := &ScriptError{File: rt.program.code.Path}
	e.at(rt, rt.vm.CaptureCallStack(4, nil))
	return e.place()
}
