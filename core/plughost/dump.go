//go:build unix

package plughost

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

const (
	maxDump    = 4 << 10         // bytes of a crash's dump that are logged
	dumpWithin = 2 * time.Second // a process that says why it ends has ended
)

// dump is what Go writes when a program ends of a bug, or for want of memory: one record, however many
// lines it has.
type dump struct {
	first string
	rest  strings.Builder
	level slog.Level
	timer *time.Timer
}

// isFatal reports whether Go says with a line why the process ends.
func isFatal(text string) bool {
	return strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ")
}

// dumped takes a line that belongs to a dump. What begins one is its first line; what ends it is the end
// of the process or, if it lives, a moment. What its logger says meanwhile is no part of it.
func (o *output) dumped(line []byte) bool {
	if o.level < slog.LevelWarn || line[0] == '{' {
		return false
	}
	text := o.voice.text(line)
	if o.dump == nil {
		if !isFatal(text) && !(strings.HasPrefix(text, "goroutine ") && strings.HasSuffix(text, "]:")) {
			return false
		}
		d := &dump{first: text, level: o.level}
		d.timer = time.AfterFunc(dumpWithin, func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.dump == d {
				o.endDump()
			}
		})
		o.dump = d
	} else if o.dump.rest.Len() <= maxDump {
		o.dump.rest.WriteString(text + "\n")
	}
	if o.voice.note(text) {
		o.dump.level = slog.LevelError
	}
	return true
}

// endDump logs the dump. The lock must be held.
func (o *output) endDump() {
	d := o.dump
	if d == nil {
		return
	}
	o.dump = nil
	d.timer.Stop()
	var attrs []slog.Attr
	if d.rest.Len() > 0 {
		attrs = append(attrs, slog.String("dump", clip(d.rest.String(), maxDump)))
	}
	o.voice.log.LogAttrs(context.Background(), d.level, d.first, attrs...)
}
