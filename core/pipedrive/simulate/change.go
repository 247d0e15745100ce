// Package simulate is a stand-in for Pipedrive, for development and tests: a small CRM behind the same API,
// which sends the same webhooks. What is not known of Pipedrive is a guess, and marked as one where it stands.
package simulate

import "time"

// Record is a record as the API's version 2 shows it; of what only version 1 has, its names. Numbers are int64 or
// float64, times text as RFC 3339 in UTC. custom_fields has the bare values of version 2, of leads too.
type Record = map[string]any

// Change is what happened to one record. Whoever gets it must not change its records.
type Change struct {
	Object string
	Action string // create, change or delete
	ID     string
	Before Record // nil for a create
	After  Record // nil for a delete
	At     time.Time
	UserID int64  // who did it
	Source string // app or api
	Bulk   bool

	Correlation string // of the operation
	MergedFrom  string // at the survivor's change of a merge
	MergedTo    string // at the loser's delete
}
