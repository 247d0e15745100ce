package shape

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/tidwall/gjson"
)

// Envelope is what a webhook says around a record.
type Envelope struct {
	Action      string // in either vocabulary: create or added
	Object      string
	ID          string
	CompanyID   string
	UserID      string          // who made the change; empty when nobody knows
	Data        json.RawMessage // as a webhook of version 2 carries it; nil for null
	Previous    json.RawMessage
	At          time.Time // when it happened
	Host        string
	Correlation string // of the operation; a new one when empty
	MergedFrom  string
	MergedTo    string
}

// wordsV2 are the actions of version 2.
var wordsV2 = map[string]string{"added": "create", "updated": "change", "merged": "change", "deleted": "delete"}

// Body is a webhook of version 2 with a new id, made by pipehook and not by Pipedrive. It does not say by what way the
// change was made, as nobody who compares records knows.
func Body(b Envelope) []byte {
	meta := map[string]any{
		"action": cmp.Or(wordsV2[b.Action], b.Action), "entity": b.Object, "entity_id": b.ID, "id": uuid.NewString(),
		"company_id": b.CompanyID, "correlation_id": cmp.Or(b.Correlation, uuid.NewString()),
		"timestamp": b.At.UTC().Format("2006-01-02T15:04:05.000Z"), "version": "2.0", "type": "general",
		"is_bulk_edit": false, "attempt": json.Number("1"), "host": b.Host,
	}
	if b.UserID != "" {
		meta["user_id"] = b.UserID
	}
	if b.MergedFrom != "" {
		meta["merged_from_id"] = b.MergedFrom
	}
	if b.MergedTo != "" {
		meta["merged_to_id"] = b.MergedTo
	}
	body := append([]byte(`{"data":`), orNull(b.Data)...)
	body = append(append(body, `,"previous":`...), orNull(b.Previous)...)
	body = append(body, `,"meta":`...)
	return append(appendValue(body, meta), '}')
}

func orNull(raw json.RawMessage) []byte {
	if len(raw) == 0 {
		return []byte("null")
	}
	return raw
}

// State names one state of a record, whichever way it was learned: the second in which it was changed last,
// and whether it is deleted. updated is when it was changed, or added if that is not said; of one that is deleted
// when it was changed before that, as nobody but the webhook knows when it was deleted, and it may be restored and deleted
// again. It is a time in milliseconds, so that states grow, and then a hash; nil when there is nothing to go by.
func State(company, object, id string, updated time.Time, deleted bool) []byte {
	if updated.IsZero() && !deleted {
		return nil
	}
	var ms int64
	if !updated.IsZero() {
		ms = updated.Truncate(time.Second).UnixMilli()
	}
	word := ""
	if deleted {
		word = "deleted"
	}
	text := make([]byte, 0, 128)
	for _, part := range [...]string{"state", company, object, id, word} {
		text = binary.AppendUvarint(text, uint64(len(part)))
		text = append(text, part...)
	}
	text = binary.BigEndian.AppendUint64(text, uint64(ms))
	sum := sha256.Sum256(text)
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 24), uint64(ms)), sum[:16]...)
}

// LastChange is when a record of a webhook of version 2 was changed, or else added; zero when it does not say.
func LastChange(object string, data json.RawMessage) time.Time {
	changed, added := "update_time", "add_time"
	if object == "user" {
		changed, added = "modified", "created"
	}
	if t := timeOf(instant(gjson.GetBytes(data, changed))); !t.IsZero() {
		return t
	}
	return timeOf(instant(gjson.GetBytes(data, added)))
}
