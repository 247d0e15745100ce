package wire

import (
	"hash/maphash"
	"maps"
	"net/http"
	"reflect"
	"slices"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// seen is an event as it was, for telling what an author's code has changed of it. That may be in place,
// so its parts are known by their hashes.
type seen struct {
	ev                            core.Event
	labels                        map[string]string
	body, current, previous, meta uint64
	key, header                   uint64
	fields, previousFields        uint64
}

var seed = maphash.MakeSeed()

func look(ev *core.Event) seen {
	return seen{
		ev: *ev, labels: maps.Clone(ev.Labels), body: maphash.Bytes(seed, ev.Body), current: maphash.Bytes(seed, ev.Current),
		previous: maphash.Bytes(seed, ev.Previous), meta: maphash.Bytes(seed, ev.Meta), key: maphash.Bytes(seed, ev.Key), header: hashOf(ev.Header),
		fields: maphash.Bytes(seed, ev.Fields), previousFields: maphash.Bytes(seed, ev.PreviousFields),
	}
}

// hashOf does not depend on the order of a map.
func hashOf(header http.Header) (sum uint64) {
	var h maphash.Hash
	for name, values := range header {
		h.SetSeed(seed)
		writeText(&h, name)
		for _, v := range values {
			writeText(&h, v)
		}
		sum += h.Sum64()
	}
	return sum
}

func writeText(h *maphash.Hash, s string) {
	_, _ = h.WriteString(s) // it never fails
	_ = h.WriteByte(0xff)   // which is in no UTF-8
}

// given names what was changed of that which only pipehook says; empty for nothing.
func (s *seen) given(ev *core.Event) string {
	was := &s.ev
	for _, part := range []struct {
		name string
		same bool
	}{
		{"id", ev.ID == was.ID}, {"pipeline", ev.Pipeline == was.Pipeline}, {"source", ev.Source == was.Source},
		{"time of receipt", ev.ReceivedAt.Equal(was.ReceivedAt)}, {"sender's address", ev.Remote == was.Remote},
		{"header", hashOf(ev.Header) == s.header}, {"body", maphash.Bytes(seed, ev.Body) == s.body},
		{"plan", reflect.ValueOf(&ev.Plan).Elem().IsZero()}, {"replayed", ev.Replayed == was.Replayed}, {"gathered", slices.Equal(ev.Gathered, was.Gathered)},
		{"origin", ev.Origin == was.Origin}, {"fields", maphash.Bytes(seed, ev.Fields) == s.fields},
		{"previous fields", maphash.Bytes(seed, ev.PreviousFields) == s.previousFields},
	} {
		if !part.same {
			return part.name
		}
	}
	return ""
}

// changed names what was changed of that which no stage says.
func (s *seen) changed(ev *core.Event) string {
	was := &s.ev
	if name := s.given(ev); name != "" {
		return name
	}
	for _, part := range []struct {
		name string
		same bool
	}{
		{"meta", maphash.Bytes(seed, ev.Meta) == s.meta}, {"version", ev.Version == was.Version}, {"attempt", ev.Attempt == was.Attempt},
		{"time", ev.OccurredAt.Equal(was.OccurredAt)}, {"facts", ev.Facts == was.Facts}, {"flaw", ev.Flaw == was.Flaw},
		{"key", maphash.Bytes(seed, ev.Key) == s.key},
		{"second action", ev.AlsoAction == was.AlsoAction || ev.AlsoAction == "" && ev.Action != was.Action}, // as Amend does
	} {
		if !part.same {
			return part.name
		}
	}
	return ""
}

// amendment is what a stage has changed of an event.
func (s *seen) amendment(is *core.Event) *pluginv1.Amendment {
	a, was := &pluginv1.Amendment{}, &s.ev
	if !maps.Equal(s.labels, is.Labels) {
		a.Labels = make(map[string]string, len(s.labels)+len(is.Labels))
		for key := range s.labels {
			a.Labels[text(key)] = ""
		}
		for key, value := range is.Labels {
			a.Labels[text(key)] = text(value)
		}
	}
	a.Action, a.Object, a.ObjectId = another(was.Action, is.Action), another(was.Object, is.Object), another(was.ObjectID, is.ObjectID)
	if maphash.Bytes(seed, is.Current) != s.current {
		a.Current = orNull(is.Current)
	}
	if maphash.Bytes(seed, is.Previous) != s.previous {
		a.Previous = orNull(is.Previous)
	}
	return a
}

func another(was, is string) *string {
	if was == is {
		return nil
	}
	said := text(is)
	return &said
}

func orNull(doc []byte) []byte {
	if len(doc) == 0 {
		return []byte("null")
	}
	return doc
}
