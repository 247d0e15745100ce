package main

import (
	"context"
	"log/slog"

	"github.com/pipehook/pipehook/core/jshost"
	"github.com/pipehook/pipehook/core/plughost"
)

// pluginLine is what a plugin said, in the form of what scripts say.
func pluginLine(r slog.Record) (l jshost.Line) {
	l.Level, l.Msg = r.Level, r.Message
	r.Attrs(func(a slog.Attr) bool {
		switch {
		case a.Key == "event":
			l.Event = a.Value.String()
		case a.Value.Kind() == slog.KindGroup: // its own names
			l.Attrs = append(l.Attrs, a.Value.Group()...)
		default:
			l.Attrs = append(l.Attrs, a)
		}
		return true
	})
	data := map[string]any{}
	for _, a := range l.Attrs {
		data[a.Key] = a.Value.Any()
	}
	l.Text = l.Msg + dataText(data)
	return l
}

// pluginEar gives the lines of a plugin that are about an event to who shows events; the others are logged.
type pluginEar struct {
	name string
	said func(jshost.Line)
	slog.Handler
}

// Handle implements slog.Handler.
func (e *pluginEar) Handle(ctx context.Context, r slog.Record) error {
	l := pluginLine(r)
	if l.Event == "" {
		return e.Handler.Handle(ctx, r)
	}
	l.Listener = e.name
	e.said(l)
	return nil
}

// pluginEars is what plughost asks for an ear; nil when all is logged.
func (a *app) pluginEars(said func(jshost.Line)) func(*plughost.Spec) slog.Handler {
	if said == nil {
		return nil
	}
	return func(s *plughost.Spec) slog.Handler {
		return &pluginEar{name: s.Name, said: said, Handler: a.log.With("plugin", s.File(), s.Kind, s.Name).Handler()}
	}
}
