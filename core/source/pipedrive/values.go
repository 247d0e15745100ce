package pipedrive

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
)

// part is a value as a part of the body itself, nil when it is absent or null.
func part(body []byte, r gjson.Result) json.RawMessage {
	if !present(r) {
		return nil
	}
	if end := r.Index + len(r.Raw); r.Index > 0 && end <= len(body) && string(body[r.Index:end]) == r.Raw {
		return json.RawMessage(body[r.Index:end:end])
	}
	return json.RawMessage(r.Raw)
}

func present(r gjson.Result) bool { return r.Exists() && r.Type != gjson.Null }

// text is a value as the sender wrote it: an id keeps every digit, whether it is a number or text.
func text(r gjson.Result) string {
	switch r.Type {
	case gjson.String:
		return r.Str
	case gjson.Number:
		return r.Raw
	default:
		return ""
	}
}

func firstText(values ...gjson.Result) string {
	for _, v := range values {
		if s := text(v); s != "" {
			return s
		}
	}
	return ""
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

func splitEvent(event string) (action, object string) {
	action, object, _ = strings.Cut(event, ".")
	return action, object
}

// occurred reads the time of an event. It has been RFC 3339 with milliseconds, unix seconds (user
// events until June 2025) and "2006-01-02 15:04:05" in UTC (product events until April 2026);
// version 1 also has microseconds, and once had milliseconds.
func occurred(m *meta) time.Time {
	if us := m.timestampMicro.Int(); us > 0 {
		return time.UnixMicro(us).UTC()
	}
	if ms := m.timestampMilli.Int(); ms > 0 {
		return time.UnixMilli(ms).UTC()
	}
	s := text(m.timestamp)
	for _, layout := range []string{time.RFC3339Nano, time.DateTime} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	if seconds, err := strconv.ParseInt(s, 10, 64); err == nil && seconds > 0 {
		return time.Unix(seconds, 0).UTC()
	}
	return time.Time{}
}

// keyV2 leaves out what differs between a delivery and its repetition, which is the attempt.
// meta.id alone would not do: for users it is the user's id. The correlation id is left out, as it
// is not documented to be one event's.
func keyV2(ev *core.Event, m *meta) []byte {
	if !present(m.id) && !present(m.timestamp) {
		return wholeBody(ev)
	}
	return key(ev, "2", text(m.companyID), text(m.webhookID), text(m.id), text(m.entity), text(m.action), ev.ObjectID, text(m.timestamp))
}

// keyV1 has no id of the event to go by; the time in microseconds stands for it. Creating a deal
// sends added.deal and updated.deal in one second, so the event's name is part of the key.
func keyV1(ev *core.Event, env *envelope) []byte {
	m := &env.m
	stamp := firstText(m.timestampMicro, m.timestampMilli, m.timestamp)
	if stamp == "" {
		return wholeBody(ev)
	}
	return key(ev, "1", text(m.companyID), text(m.webhookID), ev.Action, ev.Object, ev.ObjectID, stamp, text(m.service), text(m.changeSource))
}

// wholeBody tells apart what names neither itself nor its time. A repetition then counts as new if
// it says which attempt it is.
func wholeBody(ev *core.Event) []byte { return key(ev, "body", string(ev.Body)) }

// key is the time, so that keys grow and their index is written at its end, and a hash of the
// parts, each with its length so that no two lists of parts are alike.
func key(ev *core.Event, parts ...string) []byte {
	buf := make([]byte, 0, 256)
	for _, p := range parts {
		buf = binary.AppendUvarint(buf, uint64(len(p)))
		buf = append(buf, p...)
	}
	sum := sha256.Sum256(buf)
	var ms int64
	if !ev.OccurredAt.IsZero() {
		ms = ev.OccurredAt.UnixMilli()
	}
	k := binary.BigEndian.AppendUint64(make([]byte, 0, 24), uint64(ms))
	return append(k, sum[:16]...)
}
