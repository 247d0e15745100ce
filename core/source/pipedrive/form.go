package pipedrive

import (
	"encoding/json"
	"reflect"

	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

func (s Source) definitions() *shape.Fields {
	if s.Fields == nil {
		return nil
	}
	return s.Fields()
}

// modernize brings the values of version 1 into the form of version 2: names, times and custom fields, and
// as previous only what was another. What it can't read stays as it came; it is for validate to judge.
//
// The old record of a merge is another record, the one that was merged away. It stays whole.
func modernize(ev *core.Event, f *shape.Fields) {
	is, errIs := recordOf(ev, ev.Current, f)
	was, errWas := recordOf(ev, ev.Previous, f)
	if errIs == nil && errWas == nil && sameID(&is, &was) {
		was = was.Before(is)
	}
	if errIs == nil {
		ev.Current = is.Data()
	}
	if errWas == nil {
		ev.Previous = was.Data()
	}
}

func recordOf(ev *core.Event, raw json.RawMessage, f *shape.Fields) (shape.Record, error) {
	return shape.FromWebhook(&core.Event{Object: ev.Object, ObjectID: ev.ObjectID, Current: raw}, f)
}

func sameID(a, b *shape.Record) bool {
	x, y := a.Values["id"], b.Values["id"]
	return x == nil || y == nil || reflect.DeepEqual(x, y) // they may be anything that was sent
}

// nameFields sets the by-name view of the custom fields, of which most events have none.
func (s Source) nameFields(ev *core.Event) {
	f := s.definitions()
	if f == nil {
		return
	}
	var is, was []string
	ev.Fields, is = f.View(ev.Object, customFields(ev.Current))
	ev.PreviousFields, was = f.View(ev.Object, customFields(ev.Previous))
	if unknown := append(is, was...); len(unknown) > 0 && s.Unknown != nil {
		s.Unknown(ev.Object, unknown)
	}
}

func customFields(record json.RawMessage) json.RawMessage {
	if len(record) == 0 {
		return nil
	}
	custom := gjson.GetBytes(record, "custom_fields")
	if !custom.IsObject() {
		return nil
	}
	return json.RawMessage(custom.Raw)
}

// stateOf is the state that an event tells of. A merge tells more than the states of its two records, so that
// it has none: who has learned of those has not learned of it.
func stateOf(ev *core.Event) []byte {
	if ev.ObjectID == "" || ev.Object == core.Unknown || ev.Action == core.Merged || present(gjson.GetBytes(ev.Meta, "merged_to_id")) {
		return nil
	}
	last, gone := ev.Current, ev.Action == core.Deleted
	if gone {
		last = ev.Previous
	}
	return shape.State(ev.Facts.CompanyID, ev.Object, ev.ObjectID, shape.LastChange(ev.Object, last), gone)
}
