// Package core is pipehook's vocabulary: an Event walks the Stages of a Pipeline, is made durable
// once, and is handed to Listeners. It defines the contracts between the parts and knows none of
// them; it imports the standard library only.
package core

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"time"
)

// The actions every source translates its own words into. Other words are kept as they came.
const (
	Added   = "added"
	Updated = "updated"
	Deleted = "deleted"
	Merged  = "merged"
)

// OriginReconcile is the Origin of an event that no webhook brought: a comparison with the sender found what it
// tells of.
const OriginReconcile = "reconcile"

// Unknown stands for an action or object that the sender did not name.
const Unknown = "unknown"

// Event is one webhook. The receiver fills the first block before any stage runs and nobody
// changes it afterwards; the Source fills the second from Body, and stages may amend it; stages add to
// Plan.
type Event struct {
	ID         string // UUIDv7, given on receipt; a duplicate is answered with the first one's
	Pipeline   string
	Source     string
	ReceivedAt time.Time
	Origin     string     // empty when a sender sent it; else what made it, such as OriginReconcile
	Remote     netip.Addr // the sender's address, as far as trusted proxies vouch for it
	Header     http.Header
	Body       []byte // exactly as received

	Action         string // canonical where one of the four fits, else the sender's word
	AlsoAction     string // a second action that patterns may match; "updated" for a merge sent as a change
	Object         string
	ObjectID       string          // decimal or UUID text; every digit as sent
	Current        json.RawMessage // parts of Body; nil when absent or null
	Previous       json.RawMessage
	Meta           json.RawMessage
	Version        string    // of the sender's format, for example "2.0"
	Attempt        int       // the sender's delivery attempt, from 1; 0 when it does not say
	OccurredAt     time.Time // zero when the sender does not say
	Facts          Facts
	Key            []byte          // equal for redeliveries of one occurrence and only for those; nil when the source can't tell
	State          []byte          // equal for all that tells of one state of a record, however it was learned; nil when the source can't tell
	Fields         json.RawMessage // what Current holds under keys that say nothing, by the names people gave; nil when the source knows none
	PreviousFields json.RawMessage // the same of Previous
	Flaw           string          // the first way in which the body is not as its sender documents it; validate refuses it

	Labels  map[string]string // what stages have said of it; not changed but replaced, see Amend
	Overlay string            // what else was changed of it since, as it is kept; see Amend and Restore

	Plan Plan

	Replayed bool     // this delivery had ended before and was asked for again
	Gathered []string // the ids of the events that this attempt settles, in order, when it settles several

	Steps   []StepTrace // what the stages did
	Refused []Refusal   // listeners whose pattern fits, but another rule does not

	receipt *Receipt
	remark  string // of the step that runs
}

// Facts are what a source knows about who caused an event. Empty means the sender did not say.
type Facts struct {
	UserID       string
	CompanyID    string
	ChangeSource string // "app", "api" or the sender's own word
	Bulk         bool   // part of a bulk operation
}

// Plan is what the stages decided should become durable. The Pipeline commits it in one
// transaction after the last stage, or a stage does so earlier when it must (see Event.Commit).
type Plan struct {
	Store     bool     // persist was passed
	Listeners []string // durable deliveries to create; only with Store
	Withheld  bool     // only listeners that keep records hear of it

	Key    []byte        // dedupe was passed: at most one event with this key within Window
	Window time.Duration // zero means for as long as the first event is kept
	State  []byte        // with Key: the event is a duplicate too when one is kept under this key
	After  int64         // not 0: it is a duplicate of any event about the same record that was stored with a higher seq; costs a look at all that were

	// What stood before dedupe in the chain is kept for a duplicate too.
	StoreDuplicate   bool
	DeliverDuplicate bool
}

// Empty reports whether there is nothing to commit.
func (p *Plan) Empty() bool { return !p.Store && p.Key == nil }

// Receipt is what the sender is told about an event that was taken.
type Receipt struct {
	ID        string // the event's, or the first event's for a duplicate
	Duplicate bool
	Dropped   bool // a stage ended it
}

// Committer makes Plans durable. Commit returns only after the plan is on disk (fsynced), or with
// an Error of Kind Unavailable when that is not certain; it is called from many requests at once.
type Committer interface {
	Commit(ctx context.Context, ev *Event) (Receipt, error)
}

// Commit makes the event's Plan durable now. Only the first call that succeeds does anything: a
// later one returns its receipt, so a stage that needs the event on disk before it goes on may
// commit ahead of the Pipeline.
func (ev *Event) Commit(ctx context.Context, c Committer) (Receipt, error) {
	if ev.receipt != nil {
		return *ev.receipt, nil
	}
	r := Receipt{ID: ev.ID}
	if !ev.Plan.Empty() {
		var err error
		if r, err = c.Commit(ctx, ev); err != nil {
			return Receipt{}, err
		}
	}
	ev.receipt = &r
	return r, nil
}

// Settle records that the event is a duplicate of first, so nothing of it is committed.
func (ev *Event) Settle(first string) {
	ev.receipt = &Receipt{ID: first, Duplicate: true}
}

// Type is "action.object", the text that patterns are matched against.
func (ev *Event) Type() string { return ev.Action + "." + ev.Object }

// IsCreate reports whether the action is "added".
func (ev *Event) IsCreate() bool { return ev.Action == Added }

// IsUpdate reports whether the action is "updated".
func (ev *Event) IsUpdate() bool { return ev.Action == Updated }

// IsDelete reports whether the action is "deleted".
func (ev *Event) IsDelete() bool { return ev.Action == Deleted }

// IsMerge reports whether the action is "merged".
func (ev *Event) IsMerge() bool { return ev.Action == Merged }

// IsObjectType reports whether the event is about an object of type t.
func (ev *Event) IsObjectType(t string) bool { return ev.Object == t }

// IsFromApp reports whether a person using the sender's application caused the event.
func (ev *Event) IsFromApp() bool { return ev.Facts.ChangeSource == "app" }

// IsFromAPI reports whether a call of the sender's API caused the event.
func (ev *Event) IsFromAPI() bool { return ev.Facts.ChangeSource == "api" }

// RetryCount is how often the sender had tried before this delivery; 0 for a first attempt.
func (ev *Event) RetryCount() int { return max(ev.Attempt-1, 0) }

// IsRetry reports whether the sender says it had tried before.
func (ev *Event) IsRetry() bool { return ev.RetryCount() > 0 }
