package simulate

import (
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"strconv"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// ErrNotFound is that there is no such record, or no longer.
var ErrNotFound = errors.New("not found")

// invalidError is a record or a request that Pipedrive would not take.
type invalidError struct{ msg string }

func (e *invalidError) Error() string { return e.msg }

func invalidf(format string, args ...any) error { return &invalidError{fmt.Sprintf(format, args...)} }

// By says who makes a change, and how. The zero By is the account's first user at the screen.
type By struct {
	UserID int64
	Source string // app or api; app when empty
	Bulk   bool
	Quiet  bool // nobody hears of it, as of a webhook that was lost
}

// purgeAfter is how long a deleted record can still be seen.
const purgeAfter = 30 * 24 * time.Hour

// CRM is the records of one account. It is safe for many goroutines. A record that it hands out or takes is
// changed by nobody afterwards.
type CRM struct {
	now   func() time.Time
	purge time.Duration

	write sync.Mutex // held for a whole operation, so that changes are told in the order in which they happen
	mu    sync.RWMutex

	rand       *rand.Rand
	tables     map[string]*table
	fields     map[string][]shape.Field
	customKeys map[string]map[string]shape.Field
	noCustom   map[string]map[string]any
	refs       map[refKey][]*row // who refers to a record that may be merged; some no longer do
	deleted    []*row            // in the order of deletion
	seq        int64
	watchers   []func(Change)
}

// refKey is a record that others refer to.
type refKey struct{ object, id string }

func newCRM(now func() time.Time, scale float64, seed int64) *CRM {
	c := &CRM{
		now: now, purge: time.Duration(float64(purgeAfter) / scale), rand: rand.New(rand.NewSource(seed)),
		tables: map[string]*table{}, fields: map[string][]shape.Field{}, refs: map[refKey][]*row{},
		customKeys: map[string]map[string]shape.Field{}, noCustom: map[string]map[string]any{},
	}
	for object, s := range schemas {
		c.tables[object] = &table{object: object, schema: s, byID: map[string]*row{}}
	}
	c.tables["user"].last = 1000
	c.defineFields()
	c.found()
	return c
}

// found makes what an account has from the start.
func (c *CRM) found() {
	quiet := By{Quiet: true}
	must := func(object string, values Record) Record {
		rec, err := c.Create(object, values, quiet)
		if err != nil {
			panic(err) // the values stand in this function
		}
		return rec
	}
	for i, name := range []string{"Ada Admin", "Sam Sales", "Toni Trainee"} {
		first, _ := splitName(name)
		must("user", Record{"name": name, "email": fmt.Sprintf("%v@example.com", first), "is_you": i == 0, "is_admin": b2i(i == 0)})
	}
	for _, name := range []string{"Sales", "Renewals"} {
		pipeline := must("pipeline", Record{"name": name})
		for _, stage := range []string{"Qualified", "Contact made", "Demo scheduled", "Proposal made", "Negotiations started"} {
			must("stage", Record{"name": stage, "pipeline_id": pipeline["id"]})
		}
	}
	board := must("board", Record{"name": "Onboarding"})
	for _, name := range []string{"Kick-off", "Setup", "Handover"} {
		must("phase", Record{"name": name, "board_id": board["id"]})
	}
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// OnChange has every change told to f, one at a time and in order, before the operation returns. f may read
// the CRM and must not change it.
func (c *CRM) OnChange(f func(Change)) {
	c.write.Lock()
	defer c.write.Unlock()
	c.watchers = append(c.watchers, f)
}

func (c *CRM) tell(by By, changes []Change) {
	if by.Quiet {
		return
	}
	for _, ch := range changes {
		for _, f := range c.watchers {
			f(ch)
		}
	}
}

// operation is one change by somebody, which may touch several records.
type operation struct {
	c           *CRM
	by          By
	at          time.Time
	correlation string
	changes     []Change
}

// do runs an operation and tells what it changed, unless it failed.
func (c *CRM) do(by By, f func(*operation) error) error {
	c.write.Lock()
	defer c.write.Unlock()
	op := &operation{c: c, by: by, at: c.now().UTC().Truncate(time.Millisecond)}
	if op.by.UserID == 0 {
		op.by.UserID = 1001
	}
	if op.by.Source == "" {
		op.by.Source = "app"
	}
	c.mu.Lock()
	op.correlation = c.uuid()
	c.purgeOld(op.at)
	err := f(op)
	c.mu.Unlock()
	if err == nil {
		c.tell(by, op.changes)
	}
	return err
}

func (op *operation) changed(ch Change) {
	ch.At, ch.UserID, ch.Source, ch.Bulk, ch.Correlation = op.at, op.by.UserID, op.by.Source, op.by.Bulk, op.correlation
	op.changes = append(op.changes, ch)
}

// Create makes a record. Values in it may be of any Go type that JSON has; what Pipedrive itself writes, such as
// add_time, may be given too.
func (c *CRM) Create(object string, values Record, by By) (Record, error) {
	var made Record
	err := c.do(by, func(op *operation) error {
		rec, err := op.create(object, values)
		made = rec
		return err
	})
	return made, err
}

func (op *operation) create(object string, values Record) (Record, error) {
	c := op.c
	t := c.tables[object]
	if t == nil {
		return nil, invalidf("there is no object %s", object)
	}
	rec := maps.Clone(t.schema.defaults)
	if t.schema.custom {
		rec["custom_fields"] = c.noCustom[fieldsOf(object)]
	}
	if err := c.apply(t, rec, values); err != nil {
		return nil, err
	}
	r := &row{num: t.last + 1}
	if id, is := rec["id"].(int64); is && t.byID[strconv.FormatInt(id, 10)] == nil && id > t.last {
		r.num = id
	}
	r.id = strconv.FormatInt(r.num, 10)
	rec["id"] = r.num
	if object == "lead" || object == "goal" {
		r.id = c.uuid()
		rec["id"] = r.id
	}
	if err := op.fill(t, rec); err != nil {
		return nil, err
	}
	for _, k := range t.schema.keys {
		if k.need && rec[k.name] == nil {
			return nil, invalidf("%s: required", k.name)
		}
	}
	t.last = r.num
	r.rec = rec
	r.updated = updatedOf(rec, op.at)
	t.byID[r.id] = r
	t.rows = append(t.rows, r)
	t.live++
	c.touched(t, r, nil)
	op.changed(Change{Object: object, Action: "create", ID: r.id, After: rec})
	return rec, nil
}

// apply sets values in a record that nobody else has yet.
func (c *CRM) apply(t *table, rec, values Record) error {
	for name, value := range values {
		k := t.schema.byName[name]
		if k == nil {
			return invalidf("%s: there is no such key", name)
		}
		value, err := k.check(value)
		if err != nil {
			return invalidf("%s", err)
		}
		if name == "custom_fields" {
			given, _ := value.(map[string]any)
			old, _ := rec[name].(map[string]any)
			if value, err = c.withCustom(t.object, old, given); err != nil {
				return err
			}
		}
		if k.ref != "" && value != nil && !c.exists(k.ref, idText(value)) {
			// A guess: a reference to what is not there is refused.
			return invalidf("%s: there is no %s %v", name, k.ref, value)
		}
		rec[name] = value
	}
	return nil
}

func (c *CRM) exists(object, id string) bool {
	r := c.tables[object].byID[id]
	return r != nil && r.deleted.IsZero()
}

// Update changes some values of a record. When nothing is another, nothing happens.
func (c *CRM) Update(object, id string, values Record, by By) (Record, error) {
	var made Record
	err := c.do(by, func(op *operation) error {
		t, r, err := c.find(object, id)
		if err != nil {
			return err
		}
		made, err = op.update(t, r, values, "")
		return err
	})
	return made, err
}

// find is a record that is not deleted.
func (c *CRM) find(object, id string) (*table, *row, error) {
	t := c.tables[object]
	if t == nil {
		return nil, nil, invalidf("there is no object %s", object)
	}
	r := t.byID[id]
	if r == nil || !r.deleted.IsZero() {
		return nil, nil, fmt.Errorf("%s %s: %w", object, id, ErrNotFound)
	}
	return t, r, nil
}

func (op *operation) update(t *table, r *row, values Record, mergedFrom string) (Record, error) {
	before, rec := r.rec, maps.Clone(r.rec)
	if err := op.c.apply(t, rec, values); err != nil {
		return nil, err
	}
	if same(before, rec) && mergedFrom == "" {
		// A guess: what changes nothing leaves update_time alone, and no webhook is sent.
		return before, nil
	}
	if err := op.derive(t.object, before, rec); err != nil {
		return nil, err
	}
	if _, given := values["update_time"]; !given {
		op.setUpdated(t, rec)
	}
	r.rec = rec
	r.updated = updatedOf(rec, op.at)
	op.c.touched(t, r, before)
	op.changed(Change{Object: t.object, Action: "change", ID: r.id, Before: before, After: rec, MergedFrom: mergedFrom})
	return rec, nil
}

// Delete deletes a record. Of most objects it can be seen for another 30 days, marked as deleted.
func (c *CRM) Delete(object, id string, by By) error {
	return c.do(by, func(op *operation) error {
		t, r, err := c.find(object, id)
		if err != nil {
			return err
		}
		op.delete(t, r, "")
		op.deleteParts(object, id)
		return nil
	})
}

// deleteParts deletes what can't be without a deal, and would be in no list any more. That each has a webhook of its own
// is a guess, as the children of a project have.
func (op *operation) deleteParts(object, id string) {
	for _, r := range op.c.refs[refKey{object, id}] {
		if part, _ := shape.Find(r.object); part.Parent == object && !r.gone && r.deleted.IsZero() && idText(r.rec[object+"_id"]) == id {
			op.delete(op.c.tables[r.object], r, "")
		}
	}
}

func (op *operation) delete(t *table, r *row, mergedTo string) {
	before := r.rec
	r.deleted = op.at
	t.live--
	rec := maps.Clone(before)
	_, marked := rec["is_deleted"]
	if marked {
		rec["is_deleted"] = true
	}
	if _, has := rec["active_flag"]; has {
		rec["active_flag"], marked = false, true
	}
	if t.object == "deal" || t.object == "project" {
		rec["status"], marked = "deleted", true
	}
	if marked {
		op.setUpdated(t, rec)
		r.rec, r.updated = rec, op.at.Truncate(time.Second)
		op.c.deleted = append(op.c.deleted, r)
		op.c.touched(t, r, before)
	} else {
		// A guess: what has no mark for it is gone at once.
		t.remove(r)
	}
	op.changed(Change{Object: t.object, Action: "delete", ID: r.id, Before: before, MergedTo: mergedTo})
}

// purgeOld drops what was deleted long ago.
func (c *CRM) purgeOld(now time.Time) {
	n := 0
	for n < len(c.deleted) && now.Sub(c.deleted[n].deleted) > c.purge {
		c.tables[c.deleted[n].object].remove(c.deleted[n])
		n++
	}
	c.deleted = c.deleted[n:]
}

// Get is a record, also a deleted one that can still be seen.
func (c *CRM) Get(object, id string) (Record, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	t := c.tables[object]
	if t == nil || t.byID[id] == nil {
		return nil, false
	}
	return t.byID[id].rec, true
}

// List is all records of an object that are not deleted, the oldest first.
func (c *CRM) List(object string) []Record {
	c.mu.RLock()
	defer c.mu.RUnlock()
	t := c.tables[object]
	if t == nil {
		return nil
	}
	all := make([]Record, 0, t.live)
	for _, r := range t.rows {
		if r.deleted.IsZero() && !r.gone {
			all = append(all, r.rec)
		}
	}
	return all
}

// Count is how many records of an object there are, without deleted ones.
func (c *CRM) Count(object string) int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if t := c.tables[object]; t != nil {
		return t.live
	}
	return 0
}

// userIDs are who may see every record.
func (c *CRM) userIDs() []int64 {
	var ids []int64
	for _, rec := range c.List("user") {
		if rec["active_flag"] == true {
			ids = append(ids, rec["id"].(int64))
		}
	}
	return ids
}

func (c *CRM) lookup(object string, id any) (Record, bool) { return c.Get(object, idText(id)) }

// uuid is made of the seed, so that it is the same in every run.
func (c *CRM) uuid() string {
	a, b := c.rand.Uint64(), c.rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", uint32(a>>32), uint16(a>>16), a&0xfff, b>>48&0x3fff|0x8000, b&0xffffffffffff)
}

// idText is an id as text.
func idText(id any) string {
	if n, is := id.(int64); is {
		return strconv.FormatInt(n, 10)
	}
	text, _ := id.(string)
	return text
}
