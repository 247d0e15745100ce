package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/pipehook/pipehook/core/config"
)

// newLogger writes to w, and to the configured file as JSON. The returned function closes the file.
func newLogger(w io.Writer, conf config.Log) (*slog.Logger, func() error) {
	level := new(slog.LevelVar)
	_ = level.UnmarshalText([]byte(conf.Level)) // config has checked it
	handler := consoleHandler(w, conf.Format, level)
	if conf.File == "" {
		return slog.New(handler), func() error { return nil }
	}
	file := &lumberjack.Logger{Filename: conf.File, MaxSize: 100, MaxBackups: 5} // MB
	return slog.New(tee{handler, slog.NewJSONHandler(file, &slog.HandlerOptions{Level: level})}), file.Close
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
