package mirror

import (
	"maps"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// Where a change was learned from.
const (
	FromWebhook   = "webhook"
	FromReconcile = core.OriginReconcile
	FromSync      = "sync"
)

// Change is one thing to be written: a record as it was seen, or that it was deleted or merged.
type Change struct {
	Record shape.Record
	Action string    // as an event's
	At     time.Time // when it happened, at Pipedrive; of a record that was read, when it was asked for
	From   string    // FromWebhook, FromReconcile or FromSync
	Event  string    // its id

	MergedFrom string // the id of the record that became part of this one
	MergedTo   string // the id of the record that this one, which is deleted, became part of
}

// Result is what came of a change.
type Result uint8

// What can come of a change.
const (
	Applied Result = iota // the row is another now
	Same                  // it says what was known
	Older                 // something newer was known. What only the older one told was added to it
	Deleted               // the record was deleted later than this
	Ignored               // its object is not kept, or its company is another
)

var resultNames = [...]string{"applied", "same", "older", "deleted", "ignored"}

func (r Result) String() string { return resultNames[r] }

// Row is a record as the tables have it.
type Row struct {
	shape.Record           // Deleted is whether DeletedAt is set
	At           time.Time // of what last changed it
	From         string
	Event        string
	SeenAt       time.Time // when it was last known not to be deleted
	DeletedAt    time.Time
	MergedInto   string
	StoredAt     time.Time // when the row was first written
	ChangedAt    time.Time // and last changed
}

// row is a Row on its way.
type row struct {
	Row
	table   *table
	known   bool // it is in the database
	changed bool
}

// told is what a change says, with each part's place in time.
type told struct {
	values map[string]any
	when   version

	seen       time.Time // the record was not deleted then
	deleted    time.Time // it was deleted then
	mergedInto string
}

// version is a place in the history of a record: the second in which it was last updated, and within that when that was told.
// Two updates in one second have the same update_time.
type version struct{ updated, at time.Time }

func (v version) compare(other version) int {
	if c := v.updated.Compare(other.updated); c != 0 {
		return c
	}
	return v.at.Compare(other.at)
}

// clockMargin is how far our clock may be from Pipedrive's, and what it lists behind what it does, before a record that
// was read after its deletion counts as one that was restored.
const clockMargin = time.Minute

// tell reads a change.
//
// A change that was sent is of its update_time and then of its own time. One that is newly added may have no
// update_time and is then of its add_time. What was read from the API holds all of its last second, unless it was read
// within it. A deletion is of its own time: what comes with it is the state before.
func (c *Change) tell(now time.Time) told {
	r := &c.Record
	at, api := c.At.UTC().Truncate(time.Millisecond), c.From != FromWebhook
	if at.Year() < 1 || c.At.IsZero() {
		at = time.Time{}
	}
	updated := r.Updated.UTC().Truncate(time.Second)
	if r.Updated.IsZero() {
		updated = time.Time{}
	}
	t := told{values: r.Values}
	if c.Action == core.Deleted || r.Deleted || c.MergedTo != "" {
		t.mergedInto = c.MergedTo
		switch {
		case c.Action != core.Deleted && !updated.IsZero(): // it says so of itself, and was last updated by that
			t.deleted = endOf(updated)
			if !api && !at.IsZero() {
				t.deleted = at
			}
		case !at.IsZero():
			t.deleted = at
		default:
			t.deleted = now.UTC().Truncate(time.Millisecond)
		}
		if updated.IsZero() {
			updated = r.Added.UTC().Truncate(time.Second)
		}
		if updated.IsZero() || r.Added.IsZero() && r.Updated.IsZero() || updated.After(t.deleted) {
			updated = t.deleted.Truncate(time.Second)
		}
		t.when = version{updated, earlier(t.deleted, endOf(updated))}
		return t
	}
	if at.IsZero() && updated.IsZero() && r.Added.IsZero() {
		at = now.UTC().Truncate(time.Millisecond)
	}
	timed := !updated.IsZero()
	if !timed {
		_, carried := r.Values["update_time"]
		if !r.Added.IsZero() && (c.Action == core.Added || carried || at.IsZero()) {
			updated, timed = r.Added.UTC().Truncate(time.Second), true
		} else {
			updated = at.Truncate(time.Second)
		}
	}
	t.seen = updated
	if !timed {
		t.seen = at
	}
	if api {
		if before := at.Add(-clockMargin); before.After(t.seen) {
			t.seen = before
		}
		if !at.After(updated) || at.After(endOf(updated)) {
			at = endOf(updated)
		}
	} else if at.IsZero() {
		at = updated
	}
	t.when = version{updated, at}
	return t
}

// endOf is the last millisecond of a second.
func endOf(second time.Time) time.Time { return second.Add(time.Second - time.Millisecond) }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// apply changes the row by what was told. The order in which changes come does not matter: values are those of the newest
// that carried them, and whether it is deleted is said by the later of its last deletion and the last sign of life.
func (r *row) apply(c *Change, t told, now time.Time) Result {
	dataless := len(r.Values) == 0
	order := 1
	if r.known && !dataless {
		order = t.when.compare(r.version())
	}
	wasDeleted, changed, moved := !r.DeletedAt.IsZero(), !r.known, false
	if len(t.values) > 0 {
		changed = r.take(t.values, order) || changed
		if order > 0 {
			moved = r.version().compare(t.when) != 0
			r.Updated, r.At = t.when.updated, t.when.at
		}
		if added := c.Record.Added.UTC().Truncate(time.Second); !c.Record.Added.IsZero() && (r.Added.IsZero() || added.Before(r.Added)) {
			r.Added, changed = added, true
		}
	}
	lived := t.seen.After(r.SeenAt)
	if lived {
		r.SeenAt = t.seen
	}
	switch {
	case !t.deleted.IsZero():
		if t.mergedInto != "" && r.MergedInto != t.mergedInto {
			r.MergedInto, changed = t.mergedInto, true
		}
		if t.deleted.After(r.DeletedAt) && (!t.deleted.Before(r.SeenAt) || r.MergedInto != "") {
			r.DeletedAt, changed = t.deleted, true
		}
	case wasDeleted && lived && r.MergedInto == "" && r.SeenAt.After(r.DeletedAt):
		r.DeletedAt, changed = time.Time{}, true
	}
	r.Deleted = !r.DeletedAt.IsZero()
	if !changed {
		r.changed = r.changed || moved // so that what comes late is known to be older
		return r.unchanged(t, order)
	}
	r.changed, r.ChangedAt = true, now
	if !r.known {
		r.known, r.StoredAt = true, now
	}
	if order >= 0 || !t.deleted.IsZero() || r.From == "" {
		r.From, r.Event = c.From, c.Event
	}
	switch {
	case t.deleted.IsZero() && r.Deleted:
		return Deleted
	case order < 0 && t.deleted.IsZero() && wasDeleted == r.Deleted:
		return Older
	}
	return Applied
}

// learns reports whether a change would have the row written. What is written meanwhile only comes over what it says
// already.
func (r Row) learns(c *Change, now time.Time) bool {
	own := row{Row: r, known: true}
	own.Values = maps.Clone(r.Values)
	own.apply(c, c.tell(now), now)
	return own.changed
}

func (r *row) unchanged(t told, order int) Result {
	switch {
	case t.deleted.IsZero() && r.Deleted:
		return Deleted
	case !t.deleted.IsZero() && t.deleted.Before(r.SeenAt), t.deleted.IsZero() && order < 0:
		return Older
	}
	return Same
}

func (r *row) version() version { return version{r.Updated, r.At} }

// take takes values over: those of something older only where there are none yet. Custom fields are taken one by one.
func (r *row) take(values map[string]any, order int) (changed bool) {
	if r.Values == nil {
		r.Values = make(map[string]any, len(values))
	}
	for key, v := range values {
		have, there := r.Values[key]
		custom, nested := v.(map[string]any)
		mine, _ := have.(map[string]any)
		if key == "custom_fields" && nested && mine != nil {
			own := maps.Clone(mine)
			if overlay(own, custom, order) {
				r.Values[key], changed = own, true
			}
			continue
		}
		if there && (order < 0 || same(have, v)) {
			continue
		}
		r.Values[key], changed = v, true
	}
	return changed
}

func overlay(own, values map[string]any, order int) (changed bool) {
	for key, v := range values {
		if have, there := own[key]; there && (order < 0 || same(have, v)) {
			continue
		}
		own[key], changed = v, true
	}
	return changed
}
