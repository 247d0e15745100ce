package store

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
)

// row is a pending delivery with its event, as both databases return it.
type row struct {
	seq, turn, record, due   int64 // due in microseconds from now
	attempts, crashes        int64
	replays, newest          int64
	id, pipeline, source     string
	action, object, objectID string
	occurred, received       int64
	remote, header           string
	labels, overlay          string
	body                     []byte
}

// pendingColumns is what row.scanPending expects after the event's seq, for deliveries d.
const pendingColumns = `d.event_seq, d.turn, d.record, d.next_at, d.attempts, d.crashes, d.replays`

// eventColumns is what row.scan expects besides, for events e.
const eventColumns = `e.id, e.pipeline, e.source, e.action, e.object, e.object_id,
	e.occurred_at, e.received_at, e.remote, e.header, e.labels, e.overlay, e.body`

func (r *row) pendingInto() []any {
	return []any{&r.seq, &r.turn, &r.record, &r.due, &r.attempts, &r.crashes, &r.replays}
}

func (r *row) scan(scan func(...any) error) error {
	return scan(append(r.pendingInto(), &r.newest, &r.id, &r.pipeline, &r.source, &r.action, &r.object, &r.objectID,
		&r.occurred, &r.received, &r.remote, &r.header, &r.labels, &r.overlay, &r.body)...)
}

func (r *row) pending() core.Pending {
	return core.Pending{
		Seq: r.seq, Turn: r.turn, Record: r.record, Due: time.Duration(r.due) * time.Microsecond,
		Tried: int(r.attempts), Crashes: int(r.crashes), Replay: r.replays > 0,
	}
}

func (r *row) delivery(listener string) core.Delivery {
	d := core.Delivery{Pending: r.pending(), Listener: listener, Event: restore(r), Newest: fromMicros(r.newest)}
	d.Event.Replayed = d.Replay
	return d
}

// restore rebuilds what is stored of an event. What the source reads out of the body is for the
// source to name again, see core.Event.Restore.
func restore(r *row) core.Event {
	ev := core.Event{
		ID: r.id, Pipeline: r.pipeline, Source: r.source,
		Action: r.action, Object: r.object, ObjectID: r.objectID,
		OccurredAt: fromMicros(r.occurred), ReceivedAt: fromMicros(r.received),
		Header: parseHeader(r.header), Body: r.body, Labels: core.ParseLabels(r.labels), Overlay: r.overlay,
	}
	ev.Remote, _ = netip.ParseAddr(r.remote)
	return ev
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func remoteText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// headerText is the header as JSON, as far as it may be kept.
func headerText(h http.Header) string {
	text, err := json.Marshal(core.KeptHeader(h))
	if err != nil { // strings always encode
		return "{}"
	}
	return string(text)
}

func parseHeader(text string) http.Header {
	var h http.Header
	if json.Unmarshal([]byte(text), &h) != nil {
		return http.Header{}
	}
	return h
}

// overlayText is what is kept of an event beside its body, and like it only with an event that is stored.
func overlayText(ev *core.Event) string {
	if !ev.Plan.Store {
		return ""
	}
	return plainText(ev.Overlay)
}

// plainText keeps names that a stranger chose fit for both databases: PostgreSQL's text takes
// neither NUL nor broken UTF-8.
func plainText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// ended is a delivery's finished_at after the attempt.
func ended(a *core.Attempt) int64 {
	if a.State == core.Waiting {
		return 0
	}
	return a.Started.Add(a.Took).UnixMicro()
}
