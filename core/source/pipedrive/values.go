package pipedrive

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// part is a value as a part of the body itself, nil when it is absent or null.
func part(body []byte, r gjson.Result) json.RawMessage {
	if !present(r) {
		return nil
	}
	if from, to, ok := span(body, r); ok {
		return json.RawMessage(body[from:to:to])
	}
	return json.RawMessage(r.Raw)
}

// span is where in the body a value stands. It looks, as gjson does not know for every value.
func span(body []byte, r gjson.Result) (from, to int, ok bool) {
	from, to = r.Index, r.Index+len(r.Raw)
	return from, to, from > 0 && to <= len(body) && string(body[from:to]) == r.Raw
}

func present(r gjson.Result) bool { return r.Exists() && r.Type != gjson.Null }

// scalar is a value as the sender wrote it: an id keeps every digit, whether it is a number or text.
func scalar(r gjson.Result) string {
	if r.Type == gjson.String {
		return r.Str
	}
	return r.Raw
}

// maxText is longer than any name or id that Pipedrive sends.
const maxText = 255

// text is a name or an id, empty when it is neither text nor a number or could not be stored:
// PostgreSQL refuses NUL and broken UTF-8, and with them everything in the same transaction.
func text(r gjson.Result) string {
	if s := scalar(r); (r.Type == gjson.String || r.Type == gjson.Number) && storable(s) {
		return s
	}
	return ""
}

// word is text that is not a number.
func word(r gjson.Result) string {
	if r.Type != gjson.String {
		return ""
	}
	return text(r)
}

func storable(s string) bool {
	if len(s) > maxText {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}

// firstID is the id in meta, or else that of the first object that has one.
func firstID(inMeta gjson.Result, objects ...gjson.Result) gjson.Result {
	if text(inMeta) != "" {
		return inMeta
	}
	for _, object := range objects {
		if id := object.Get("id"); text(id) != "" {
			return id
		}
	}
	return inMeta
}

// single is the object itself; for users, version 1 sends it as the only element of an array.
func single(r gjson.Result) gjson.Result {
	if !r.IsArray() {
		return r
	}
	var first gjson.Result
	r.ForEach(func(_, v gjson.Result) bool {
		first = v
		return false
	})
	return first
}

// count is a small number of attempts; what is no such number is 0 or the largest.
func count(r gjson.Result) int { return int(min(max(r.Int(), 0), 1_000_000)) }

// occurred reads the time of an event. It has been RFC 3339 with milliseconds, unix seconds (user
// events until June 2025) and "2006-01-02 15:04:05" in UTC (product events until April 2026);
// version 1 also has microseconds, and once had milliseconds.
func occurred(m *meta) time.Time {
	if us := m.timestampMicro.Int(); us > 0 {
		return sane(time.UnixMicro(us))
	}
	if ms := m.timestampMilli.Int(); ms > 0 {
		return sane(time.UnixMilli(ms))
	}
	s := text(m.timestamp)
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return sane(t)
	}
	if t, err := time.Parse(time.DateTime, s); err == nil {
		return sane(t)
	}
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && seconds > 0 && seconds < 1<<40 {
		return sane(time.UnixMicro(int64(seconds * 1e6)))
	}
	return time.Time{}
}

// sane is no time at all for one that JSON or a database could not hold.
func sane(t time.Time) time.Time {
	if year := t.UTC().Year(); year < 1970 || year > 9999 {
		return time.Time{}
	}
	return t.UTC()
}
