package simulate

import (
	"encoding/json"
	"time"
)

// actionsV1 are version 1's names of the actions.
var actionsV1 = map[string]string{"create": "added", "change": "updated", "delete": "deleted"}

// actionV1 is what version 1 calls a change. The survivor of a merge is merged, its loser deleted.
func actionV1(ch Change) string {
	if ch.MergedFrom != "" {
		return "merged"
	}
	return actionsV1[ch.Action]
}

// BodyV1 is a webhook of version 1: whole records in the shape of the API's version 1, as captured deliveries
// of 2023 have them, and of 2017 for the objects of which there are no later ones.
func BodyV1(ch Change, w Subscription, a *Account, s Send) []byte {
	current, previous := partsV1(ch, a, s.Loser)
	return envelopeV1(current, previous, ch, w, a, s)
}

func partsV1(ch Change, a *Account, loser Record) (current, previous json.RawMessage) {
	before := ch.Before
	if ch.MergedFrom != "" && loser != nil { // so in a captured merge
		before = loser
	}
	return partV1(ch, ch.After, a, ch.MergedFrom), partV1(ch, before, a, "")
}

func partV1(ch Change, rec Record, a *Account, mergedFrom string) json.RawMessage {
	if rec == nil {
		return appendJSON(nil, nil)
	}
	view := viewV1(ch.Object, rec, a)
	if mergedFrom != "" {
		view = append(view, member{"merge_what_id", idNumber(mergedFrom)})
	}
	if ch.Object == "user" { // the guide: users come as arrays
		return appendJSON(nil, []any{view})
	}
	return appendJSON(nil, view)
}

// idNumber is an id as a record has it: a number, but for what has an UUID.
func idNumber(id string) any {
	var n int64
	for _, c := range id {
		if c < '0' || c > '9' {
			return id
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// publishing is how long after its change an event of version 1 says it was published; captures have 30 to 900 ms.
const publishing = 150 * time.Millisecond

func envelopeV1(current, previous json.RawMessage, ch Change, w Subscription, a *Account, s Send) []byte {
	filters := object{{"current", []any{}}}
	action := actionV1(ch)
	meta := object{
		{"action", action},
		{"change_source", source(ch)},
		{"company_id", a.CompanyID},
		{"host", a.Host},
		{"id", idNumber(ch.ID)},
		{"is_bulk_update", ch.Bulk},
		{"matches_filters", filters},
		{"object", ch.Object},
		{"permitted_user_ids", permittedV1(ch.Object, a)},
		{"pipedrive_service_name", false},
		{"timestamp", ch.At.Unix()},
		{"timestamp_micro", ch.At.UnixMicro()},
		{"prepublish_timestamp", ch.At.Add(publishing).UnixMilli()},
		{"trans_pending", false},
		{"user_id", ch.UserID},
		{"v", 1},
	}
	if ch.Object == "activity" {
		meta = append(meta, member{"activity_notifications_language", nil}, member{"send_activity_notifications", false})
	}
	meta = append(meta, member{"webhook_id", decimal(w.ID)})
	return appendJSON(make([]byte, 0, len(current)+len(previous)+1024), object{
		{"v", 1},
		{"matches_filters", filters},
		{"meta", meta},
		{"current", current},
		{"previous", previous},
		{"event", action + "." + ch.Object},
		{"retry", max(s.Attempt, 1) - 1},
	})
}

// permittedV1 is a star for what everybody sees, as captures have it for notes, stages and pipelines; for
// users it is a guess.
func permittedV1(object string, a *Account) any {
	switch object {
	case "note", "stage", "pipeline", "user":
		return []string{"*"}
	}
	return a.users()
}
