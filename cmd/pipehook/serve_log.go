package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/pipehook/pipehook/core/config"
)

// logs is where log lines go. A reload may change that while lines are written.
type logs struct {
	w io.Writer

	mu  sync.RWMutex // held for reading while a line is written, so that its file is not closed meanwhile
	now atomic.Pointer[logSink]
}

// logSink is one way to write log lines.
type logSink struct {
	handler slog.Handler
	close   func() error
}

// openLogs writes to w, and to the configured file as JSON. close ends that.
func openLogs(w io.Writer, conf *config.Config) (*logs, error) {
	l := &logs{w: w}
	sink, err := l.prepare(conf)
	if err != nil {
		return nil, &usageError{err: err}
	}
	l.now.Store(sink)
	return l, nil
}

// prepare makes a sink that is not used yet. A file that can't be written is found here, because
// later nobody would hear of it.
func (l *logs) prepare(conf *config.Config) (*logSink, error) {
	level := new(slog.LevelVar)
	_ = level.UnmarshalText([]byte(conf.Log.Level)) // config has checked it
	handler := consoleHandler(l.w, conf.Log.Format, level)
	if conf.Log.File == "" {
		return &logSink{handler, func() error { return nil }}, nil
	}
	path := beside(conf, conf.Log.File)
	if err := writable(path); err != nil {
		return nil, config.Mistakes{conf.Mistake("log.file", err.Error(), "")}
	}
	file := &lumberjack.Logger{Filename: path, MaxSize: 100, MaxBackups: 5} // MB
	return &logSink{tee{handler, slog.NewJSONHandler(file, &slog.HandlerOptions{Level: level})}, file.Close}, nil
}

func writable(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// use writes to the sink from now on and closes the one before.
func (l *logs) use(sink *logSink) error {
	l.mu.Lock()
	old := l.now.Swap(sink)
	l.mu.Unlock()
	return old.close()
}

func (l *logs) close() error { return l.now.Load().close() }

func (l *logs) logger() *slog.Logger { return slog.New(&logHandler{to: l}) }

// logHandler passes lines on to the sink there is at the moment.
type logHandler struct {
	to   *logs
	with []func(slog.Handler) slog.Handler // the attributes and groups that were added

	made atomic.Pointer[madeHandler]
}

// madeHandler is a sink's handler with what was added to it.
type madeHandler struct {
	sink    *logSink
	handler slog.Handler
}

func (h *logHandler) handler() slog.Handler {
	sink := h.to.now.Load()
	if made := h.made.Load(); made != nil && made.sink == sink {
		return made.handler
	}
	handler := sink.handler
	for _, add := range h.with {
		handler = add(handler)
	}
	h.made.Store(&madeHandler{sink, handler})
	return handler
}

func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.to.now.Load().handler.Enabled(ctx, level)
}

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	h.to.mu.RLock()
	defer h.to.mu.RUnlock()
	return h.handler().Handle(ctx, r)
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.adding(func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	return h.adding(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (h *logHandler) adding(add func(slog.Handler) slog.Handler) slog.Handler {
	return &logHandler{to: h.to, with: append(slices.Clip(h.with), add)}
}

func consoleHandler(w io.Writer, format string, level slog.Leveler) slog.Handler {
	terminal := isTerminal(w)
	if format == "json" || format == "auto" && !terminal {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
	}
	return tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !terminal})
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) && os.Getenv("NO_COLOR") == ""
}

// tee hands every record to both handlers.
type tee [2]slog.Handler

func (t tee) Enabled(ctx context.Context, level slog.Level) bool {
	return t[0].Enabled(ctx, level) || t[1].Enabled(ctx, level)
}

func (t tee) Handle(ctx context.Context, r slog.Record) error {
	return errors.Join(t[0].Handle(ctx, r.Clone()), t[1].Handle(ctx, r))
}

func (t tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	return tee{t[0].WithAttrs(attrs), t[1].WithAttrs(attrs)}
}

func (t tee) WithGroup(name string) slog.Handler {
	return tee{t[0].WithGroup(name), t[1].WithGroup(name)}
}
