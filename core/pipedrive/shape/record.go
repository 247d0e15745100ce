package shape

import "time"

// Record is a record in the normal form: the names and values that the API's version 2 uses, or would.
// Numbers are json.Number, times text as RFC 3339 in UTC, ids of other records numbers (of leads text), and
// custom_fields an object of bare values: text, numbers, an option's id, a list of ids, and for money,
// ranges, times and addresses an object. What the record was read from did not carry is not in Values; what it
// carried as null is nil.
type Record struct {
	Object  string
	ID      string
	Values  map[string]any
	Added   time.Time // zero when not carried
	Updated time.Time // to the second; zero when not carried, as in a webhook about a new deal
	Deleted bool      // it says of itself that it is deleted

	fields *Fields // that it was read with
}

// customFields is where custom fields stand in webhooks and in the API, both of version 2.
const customFields = "custom_fields"

// finish takes out of the values what a record says of itself.
func (r *Record) finish() {
	r.Added = timeOf(r.Values["add_time"])
	r.Updated = timeOf(r.Values["update_time"]).Truncate(time.Second)
	deleted, _ := r.Values["is_deleted"].(bool)
	r.Deleted = r.Deleted || deleted || r.Values["status"] == "deleted"
}
