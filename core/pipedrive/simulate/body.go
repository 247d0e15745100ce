package simulate

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// Account is what bodies say beside the record. Its functions are called from many goroutines, and never
// while a change is reported; each may be nil.
type Account struct {
	CompanyID int64
	Host      string                                     // company.pipedrive.com
	Fields    func(object string) []shape.Field          // definitions; of these the custom ones are carried
	Users     func() []int64                             // who may see a record: permitted_user_ids
	Lookup    func(object string, id any) (Record, bool) // for the names that version 1 carries of other records
}

func (a *Account) fields(object string) []shape.Field {
	if a.Fields == nil {
		return nil
	}
	if object == "lead" { // a lead has a deal's custom fields
		object = "deal"
	}
	return a.Fields(object)
}

func (a *Account) users() []int64 {
	if a.Users == nil {
		return []int64{}
	}
	return a.Users()
}

// find is another record that id refers to, and an empty one where there is none.
func (a *Account) find(object string, id any) Record {
	if a.Lookup == nil || id == nil {
		return nil
	}
	rec, _ := a.Lookup(object, id)
	return rec
}

// Send is what tells one delivery of a change from another.
type Send struct {
	Event   string // meta.id: the same for each attempt, and, which is a guess, for each webhook
	Attempt int    // 1 to 4
	Loser   Record // the record that a merge took away, if it is known: version 1 calls it previous
}

// BodyV2 is a webhook of version 2: data, previous and meta, as the guide and captured deliveries have them.
func BodyV2(ch Change, w Subscription, a *Account, s Send) []byte {
	data, previous := partsV2(ch, a)
	return envelopeV2(data, previous, ch, w, a, s)
}

// partsV2 are data and previous, which are the same for every webhook and attempt.
func partsV2(ch Change, a *Account) (data, previous json.RawMessage) {
	var after, before object
	if ch.After != nil {
		after = viewV2(ch.Object, ch.After, a, ch.Action == "create")
	}
	if ch.Before != nil {
		before = viewV2(ch.Object, ch.Before, a, false)
	}
	switch ch.Action {
	case "create":
		return appendJSON(nil, after), appendJSON(nil, nil)
	case "delete":
		return appendJSON(nil, nil), appendJSON(nil, before)
	default:
		return appendJSON(nil, after), appendJSON(nil, sparse(ch.Object, before, after))
	}
}

// unreported are keys that change without being named in previous: so in the guide's examples and in a
// captured change of a deal, while those of other objects name update_time.
var unreported = map[string][]string{
	"deal":         {"update_time", "stage_change_time"},
	"person":       {"update_time"},
	"organization": {"update_time"},
	"user":         {"modified"},
}

// sparse are the old values of what is another now. That nothing at all may be left is a guess.
func sparse(name string, before, after object) object {
	out := object{}
	for _, old := range before {
		now, _ := after.find(old.key)
		if fields, ok := old.value.(object); ok && old.key == "custom_fields" {
			newFields, _ := now.(object)
			if changed := sparse("", fields, newFields); len(changed) > 0 {
				out = append(out, member{old.key, changed})
			}
			continue
		}
		if string(appendJSON(nil, old.value)) == string(appendJSON(nil, now)) || hidden(name, old.key) {
			continue
		}
		out = append(out, old)
	}
	return out
}

func hidden(object, key string) bool {
	for _, k := range unreported[object] {
		if k == key {
			return true
		}
	}
	return false
}

func envelopeV2(data, previous json.RawMessage, ch Change, w Subscription, a *Account, s Send) []byte {
	id := s.Event
	if ch.Object == "user" { // so in the guide's examples
		id = ch.ID
	}
	meta := object{
		{"action", ch.Action},
		{"company_id", decimal(a.CompanyID)},
		{"correlation_id", ch.Correlation},
		{"entity_id", ch.ID},
		{"entity", ch.Object},
		{"id", id},
		{"is_bulk_edit", ch.Bulk},
		{"timestamp", ch.At.UTC().Format("2006-01-02T15:04:05.000Z")},
		{"type", w.Type},
		{"user_id", decimal(ch.UserID)},
		{"version", "2.0"},
		{"webhook_id", decimal(w.ID)},
		{"webhook_owner_id", decimal(w.OwnerID)},
		{"change_source", source(ch)},
	}
	if ch.Object != "user" {
		meta = append(meta, member{"permitted_user_ids", decimals(a.users())})
	}
	if ch.MergedFrom != "" {
		meta = append(meta, member{"merged_from_id", ch.MergedFrom})
	}
	if ch.MergedTo != "" {
		meta = append(meta, member{"merged_to_id", ch.MergedTo})
	}
	meta = append(meta, member{"attempt", max(s.Attempt, 1)}, member{"host", a.Host})
	return appendJSON(make([]byte, 0, len(data)+len(previous)+1024), object{{"data", data}, {"previous", previous}, {"meta", meta}})
}

// source is app or api: Pipedrive has no third.
func source(ch Change) string {
	if ch.Source == "api" {
		return "api"
	}
	return "app"
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func decimals(ids []int64) []string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = decimal(id)
	}
	return texts
}

// instant reads a time of a record in any of the forms that Pipedrive has; ok is false for none.
func instant(v any) (t time.Time, ok bool) {
	s, _ := v.(string)
	if s == "" {
		return t, false
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateTime} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return t, false
}

// timeAs writes a record's time in another form, and what is no time as it is.
func timeAs(v any, layout string) any {
	if t, ok := instant(v); ok {
		return t.Format(layout)
	}
	return v
}
