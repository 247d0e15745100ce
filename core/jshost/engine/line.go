package engine

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
)

// Line is something a script said through console or ctx.log.
type Line struct {
	Listener string      `json:"listener"`
	Event    string      `json:"event,omitempty"` // its id; empty while the file is loaded
	Level    slog.Level  `json:"level"`
	Text     string      `json:"text"`         // all of it, as one line for people
	Msg      string      `json:"msg"`          // without what was given beside it
	Attrs    []slog.Attr `json:"-"`            // what was given beside it
	At       string      `json:"at,omitempty"` // file:line:column
}

// LogAttrs are what goes into a log beside Msg. A script's own names are kept apart from ours.
func (l *Line) LogAttrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("listener", l.Listener)}
	if l.Event != "" {
		attrs = append(attrs, slog.String("event", l.Event))
	}
	if l.At != "" {
		attrs = append(attrs, slog.String("at", l.At))
	}
	if len(l.Attrs) > 0 {
		attrs = append(attrs, slog.Attr{Key: "data", Value: slog.GroupValue(l.Attrs...)})
	}
	return attrs
}

func (l *Line) text() string {
	if len(l.Attrs) == 0 {
		return l.Msg
	}
	var b strings.Builder
	b.WriteString(l.Msg)
	for _, attr := range l.Attrs {
		value := attr.Value.String()
		if value == "" || strings.ContainsAny(value, " \t\r\n=") && !strings.ContainsAny(value[:1], "{[") {
			value = strconv.Quote(value)
		}
		b.WriteString(" " + attr.Key + "=" + value)
	}
	return b.String()
}

// plainLine is a Line without its methods, and lineJSON what is written of it.
type plainLine Line

type lineJSON struct {
	*plainLine
	Data []attrJSON `json:"data,omitempty"`
}

type attrJSON struct {
	Key   string `json:"key"`
	Value any    `json:"value"` // text, a number, true or false
}

// MarshalJSON keeps the kinds of the attributes' values.
func (l Line) MarshalJSON() ([]byte, error) {
	out := lineJSON{plainLine: (*plainLine)(&l)}
	for _, attr := range l.Attrs {
		value := attr.Value.Any()
		if f, ok := value.(float64); ok && (f != f || f-f != 0) { // JSON has no such number
			value = attr.Value.String()
		}
		out.Data = append(out.Data, attrJSON{attr.Key, value})
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON has written.
func (l *Line) UnmarshalJSON(text []byte) error {
	in := lineJSON{plainLine: (*plainLine)(l)}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&in); err != nil {
		return err
	}
	l.Attrs = nil
	for _, attr := range in.Data {
		l.Attrs = append(l.Attrs, slog.Attr{Key: attr.Key, Value: attrOf(attr.Value)})
	}
	return nil
}

func attrOf(value any) slog.Value {
	number, ok := value.(json.Number)
	if !ok {
		return slog.AnyValue(value)
	}
	if n, err := number.Int64(); err == nil {
		return slog.Int64Value(n)
	}
	f, _ := number.Float64() // it was one when it was written
	return slog.Float64Value(f)
}
