package ingress

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
)

// report logs what somebody should know. What strangers can cause at will is thinned out.
func (h *Handler) report(o Outcome) {
	ctx := context.Background()
	level := slog.LevelDebug
	switch {
	case o.Status >= 500:
		level = slog.LevelError
	case o.Status >= 400:
		level = slog.LevelWarn
	}
	if !h.opts.Log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("pipeline", o.Event.Pipeline), slog.String("event", o.Event.ID), slog.Int("status", o.Status),
		slog.String("code", o.Code), slog.Duration("took", o.Took),
	}
	if o.Event.Remote.IsValid() {
		attrs = append(attrs, slog.String("remote", o.Event.Remote.String()))
	}
	if o.Event.Action != "" {
		attrs = append(attrs, slog.String("type", clip(o.Event.Type(), maxText)))
	}
	if o.Err == nil {
		h.opts.Log.LogAttrs(ctx, level, "event "+o.Code, attrs...)
		return
	}
	most := maxText
	if o.Status >= 500 { // the text is our own, and somebody has to find out
		most = 1024
	}
	if p, ok := errors.AsType[*panicError](o.Err); ok {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	h.warn(ctx, level, o.Code, "event refused", append(attrs, slog.String("err", clip(o.Err.Error(), most))))
}

// reportStray tells that something sends to the wrong place, or by the wrong method: a mistyped
// address at the sender looks like this and like nothing else.
func (h *Handler) reportStray(r *http.Request, id string, status int, code string) {
	ctx, msg := context.Background(), "no such hook"
	if status == http.StatusMethodNotAllowed {
		msg = "method not allowed"
	}
	if !h.opts.Log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	h.warn(ctx, slog.LevelInfo, code, msg, []slog.Attr{
		slog.String("request", id), slog.Int("status", status), slog.String("code", code),
		slog.String("method", clip(r.Method, 16)), slog.String("path", clip(r.URL.Path, maxText)),
	})
}

// warn logs within the limit, and says how many lines of the code were left out since the last.
func (h *Handler) warn(ctx context.Context, level slog.Level, code, msg string, attrs []slog.Attr) {
	allowed, left := h.warnings.allow(code)
	if !allowed {
		return
	}
	if left > 0 {
		attrs = append(attrs, slog.Int("not_logged_before", left))
	}
	h.opts.Log.LogAttrs(ctx, level, msg, attrs...)
}

// maxText bounds what a stranger can put into a log line.
const maxText = 256

func clip(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD") // the cut may be inside a character
}
