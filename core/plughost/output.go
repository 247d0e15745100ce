//go:build unix

package plughost

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
)

const (
	maxLine  = 32 << 10 // bytes of one line of output; the rest is left out
	maxText  = 8 << 10  // of what is logged of one
	maxAttrs = 32       // of one line
	maxAttr  = 1 << 10  // bytes of one attribute
	maxRate  = 5000     // lines in a second; more are left out
)

// output is a stream of a plugin on its way to the log, line by line.
type output struct {
	voice *voice
	level slog.Level // of a line that does not say

	mu      sync.Mutex
	line    []byte
	skipped bool  // the rest of a line that is too long
	dump    *dump // that is being written; nil for none
}

// Write takes the plugin's bytes. It never fails.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for rest := p; len(rest) > 0; {
		part, after, whole := bytes.Cut(rest, []byte{'\n'})
		if room := maxLine - len(o.line); len(part) > room {
			part, o.skipped = part[:room], true
		}
		o.line = append(o.line, part...)
		if whole {
			o.end()
		}
		rest = after
	}
	return len(p), nil
}

// flush logs what was written last, without a line's end.
func (o *output) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end()
	o.endDump()
}

func (o *output) end() {
	line := bytes.TrimRight(o.line, "\r")
	if o.skipped {
		line = append(line, "…"...)
	}
	if len(line) > 0 && !o.dumped(line) {
		o.voice.say(o.level, line)
	}
	o.line, o.skipped = o.line[:0], false
}

// voice is all that one plugin says.
type voice struct {
	log     *slog.Logger
	secrets *core.Redactor

	mu      sync.Mutex
	since   time.Time
	said    int // since then
	left    int // out
	blame   string
	blaming bool // blame is why the process ends
	another bool // it said that it is not for us
	lacks   lack // what it said it does not get, unless it said something sensible since
}

// voice is that of the plugin, without its secrets.
func (h *Host) voice(spec *Spec, log *slog.Logger) *voice {
	if h.opts.Said != nil {
		if said := h.opts.Said(spec); said != nil {
			log = slog.New(said)
		}
	}
	return &voice{log: log, secrets: core.NewRedactor(spec.Secrets)}
}

func (v *voice) say(level slog.Level, line []byte) {
	if !v.mayGo(time.Now()) {
		return
	}
	if v.structured(line) {
		return
	}
	text := v.text(line)
	if level >= slog.LevelWarn {
		if v.note(text) {
			level = slog.LevelError
		}
	}
	v.log.Log(context.Background(), level, text)
}

// text is a line as people may read it.
func (v *voice) text(line []byte) string {
	return clip(v.secrets.Redact(strings.ToValidUTF8(string(line), "\ufffd")), maxText)
}

// mayGo bounds how much is said.
func (v *voice) mayGo(now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now.Sub(v.since) >= time.Second {
		if v.left > 0 {
			v.log.Warn(fmt.Sprintf("the plugin says too much: %d lines were left out", v.left))
		}
		v.since, v.said, v.left = now, 0, 0
	}
	if v.said++; v.said > maxRate {
		v.left++
		return false
	}
	return true
}

// note remembers a line as the reason, should the process end now. It reports whether Go says so.
func (v *voice) note(text string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if l := lackOf(text); l != nothing && (l != perhapsMemory || v.lacks == nothing) {
		v.lacks = l
	}
	v.another = v.another || strings.HasPrefix(text, "This binary is a plugin.") // go-plugin's words for a cookie that is not its own
	fatal := isFatal(text)
	if fatal || !v.blaming {
		v.blame, v.blaming = clip(text, maxAttr), fatal
	}
	return fatal
}

// reason is the last thing it said that may be why it ended, or empty, and what it died for want of.
func (v *voice) reason() (text string, lacks lack) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.blame, v.lacks
}

// toldOfAnother reports whether it said that it is the plugin of another program.
func (v *voice) toldOfAnother() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.another
}

// structured logs a line that the plugin's logger wrote, with its level, time and attributes. Its
// own names are kept apart from ours, but for the event's.
func (v *voice) structured(line []byte) bool {
	if line[0] != '{' {
		return false
	}
	fields := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if dec.Decode(&fields) != nil {
		return false
	}
	msg, isText := fields[slog.MessageKey].(string)
	levelText, _ := fields[slog.LevelKey].(string)
	var level slog.Level
	if level.UnmarshalText([]byte(levelText)) != nil || !isText {
		return false
	}
	v.mu.Lock()
	v.lacks = nothing // who writes to the log lives
	v.mu.Unlock()
	if !v.log.Enabled(context.Background(), level) {
		return true
	}
	at := time.Now()
	if text, ok := fields[slog.TimeKey].(string); ok {
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil && at.Sub(t).Abs() < time.Minute {
			at = t
		}
	}
	for _, key := range []string{slog.MessageKey, slog.LevelKey, slog.TimeKey} {
		delete(fields, key)
	}
	record := slog.NewRecord(at, level, clip(v.secrets.Redact(msg), maxText), 0)
	if event, ok := fields["event"].(string); ok {
		record.AddAttrs(slog.String("event", clip(v.secrets.Redact(event), maxAttr)))
		delete(fields, "event")
	}
	if attrs := v.attrsOf(fields); len(attrs) > 0 {
		record.AddAttrs(slog.Attr{Key: "data", Value: slog.GroupValue(attrs...)})
	}
	_ = v.log.Handler().Handle(context.Background(), record) // as slog itself treats it
	return true
}

func (v *voice) attrsOf(fields map[string]any) []slog.Attr {
	names := slices.Sorted(maps.Keys(fields))
	attrs := make([]slog.Attr, 0, len(names))
	for _, name := range names[:min(len(names), maxAttrs)] {
		value := slog.AnyValue(fields[name])
		switch field := fields[name].(type) {
		case string:
			value = slog.StringValue(clip(v.secrets.Redact(field), maxAttr))
		case json.Number:
			value = number(field)
		case map[string]any, []any:
			text, _ := json.Marshal(field) // it came as JSON
			value = slog.StringValue(clip(v.secrets.Redact(string(text)), maxAttr))
		}
		attrs = append(attrs, slog.Attr{Key: clip(v.secrets.Redact(name), maxAttr), Value: value})
	}
	return attrs
}

func number(n json.Number) slog.Value {
	if i, err := n.Int64(); err == nil {
		return slog.Int64Value(i)
	}
	if f, err := n.Float64(); err == nil {
		return slog.Float64Value(f)
	}
	return slog.StringValue(clip(n.String(), maxAttr))
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
