package pipedrive

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
)

// keyV2 leaves out what differs between a delivery and its repetition, which is the attempt. The
// correlation id is left out too: it belongs to an operation, which may cause several events, and
// is not documented to be the same in a repetition.
//
// meta.id alone would not do: for users it is the user's id. Then the time must tell two changes
// apart, and where it counts in seconds, or is missing, it can't: what changed must.
func keyV2(ev *core.Event, m *meta, id gjson.Result) []byte {
	if !present(m.id) && !present(m.timestamp) {
		return wholeBody(ev)
	}
	parts := [...]string{
		"2", scalar(m.companyID), scalar(m.webhookID), scalar(m.id), scalar(m.entity), scalar(m.action),
		scalar(m.entityID), scalar(id), scalar(m.timestamp), "",
	}
	if unnamed := !present(m.id) || scalar(m.id) == scalar(id); unnamed && coarse(m.timestamp) {
		parts[len(parts)-1] = without(ev.Body, m.attempt)
	}
	return key(ev, parts[:]...)
}

// coarse reports whether a time has no fraction of a second.
func coarse(timestamp gjson.Result) bool { return strings.IndexByte(scalar(timestamp), '.') < 0 }

// keyV1 has no id of the event to go by; the time in microseconds stands for it. Creating a deal
// sends added.deal and updated.deal in one second, so the event's name is part of the key.
func keyV1(ev *core.Event, env *envelope, id gjson.Result) []byte {
	m := &env.m
	if !present(m.timestampMicro) && !present(m.timestampMilli) && !present(m.timestamp) {
		return wholeBody(ev)
	}
	parts := [...]string{
		"1", scalar(m.companyID), scalar(m.webhookID), scalar(env.event), scalar(m.action), scalar(m.object), scalar(id),
		scalar(m.timestampMicro), scalar(m.timestampMilli), scalar(m.timestamp), scalar(m.service), scalar(m.changeSource), "",
	}
	if !present(m.timestampMicro) && !present(m.timestampMilli) {
		parts[len(parts)-1] = without(ev.Body, env.retry)
	}
	return key(ev, parts[:]...)
}

// wholeBody tells apart what names neither itself nor its time. A repetition then counts as new if
// it says which attempt it is: better twice than never.
func wholeBody(ev *core.Event) []byte { return key(ev, "body", string(ev.Body)) }

// without is the body but for one value.
func without(body []byte, r gjson.Result) string {
	from, to, ok := span(body, r)
	if !ok {
		return string(body)
	}
	return string(body[:from]) + string(body[to:])
}

// key is the time, so that keys grow and their index is written at its end, and a hash of the
// parts, each with its length so that no two lists of parts are alike.
func key(ev *core.Event, parts ...string) []byte {
	buf := make([]byte, 0, 512)
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
