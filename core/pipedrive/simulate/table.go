package simulate

import (
	"cmp"
	"reflect"
	"slices"
	"time"
)

// row is a record and what the API does not show of it.
type row struct {
	object  string
	id      string
	num     int64 // the order in which records were made
	rec     Record
	updated time.Time // to the second; when it was made, as long as nothing changed
	deleted time.Time
	seq     int64 // of its newest entry in the log
	gone    bool
}

// table is the records of one object.
type table struct {
	object string
	schema *schema
	byID   map[string]*row
	rows   []*row // by num; some are gone
	last   int64
	live   int // not deleted

	log      []entry // by the time of change; an entry is good as long as its row has its seq
	unsorted bool
	dead     int // rows that are gone
}

// entry says when a row changed.
type entry struct {
	row *row
	at  time.Time
	seq int64
}

func (e entry) good() bool { return e.seq == e.row.seq && !e.row.gone }

func compareEntries(a, b entry) int {
	return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.seq, b.seq))
}

// touched notes that a row was made or changed. before is nil for one that was made.
func (c *CRM) touched(t *table, r *row, before Record) {
	r.object = t.object
	c.seq++
	r.seq = c.seq
	e := entry{r, r.updated, r.seq}
	if n := len(t.log); n > 0 && compareEntries(t.log[n-1], e) > 0 {
		t.unsorted = true
	}
	t.log = append(t.log, e)
	if len(t.log) > 2*len(t.byID)+1024 {
		t.log = slices.DeleteFunc(t.log, func(e entry) bool { return !e.good() })
	}
	for _, k := range t.schema.keys {
		if mergeable(k.ref) && r.rec[k.name] != nil && (before == nil || before[k.name] != r.rec[k.name]) {
			to := refKey{k.ref, idText(r.rec[k.name])}
			c.refs[to] = append(c.refs[to], r)
		}
	}
}

// remove drops a row for good.
func (t *table) remove(r *row) {
	if r.gone {
		return
	}
	r.gone = true
	delete(t.byID, r.id)
	t.dead++
	if t.dead > len(t.rows)/2+64 {
		t.rows = slices.DeleteFunc(t.rows, func(r *row) bool { return r.gone })
		t.dead = 0
	}
}

// sorted makes sure that the log can be searched.
func (c *CRM) sorted(t *table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.unsorted {
		t.log = slices.DeleteFunc(t.log, func(e entry) bool { return !e.good() })
		slices.SortFunc(t.log, compareEntries)
		t.unsorted = false
	}
}

// same reports whether two records say the same.
func same(a, b Record) bool {
	if len(a) != len(b) {
		return false
	}
	for name, value := range a {
		if other := b[name]; !sameValue(value, other) {
			return false
		}
	}
	return true
}

func sameValue(a, b any) bool {
	switch a.(type) {
	case nil, int64, float64, string, bool:
		switch b.(type) {
		case nil, int64, float64, string, bool:
			return a == b
		}
		return false
	}
	return reflect.DeepEqual(a, b)
}

// updatedOf is when a record last changed, or was made.
func updatedOf(rec Record, otherwise time.Time) time.Time {
	for _, name := range []string{"update_time", "modified", "add_time", "created"} {
		if text, is := rec[name].(string); is {
			if t, err := time.Parse(time.RFC3339, text); err == nil {
				return t.Truncate(time.Second)
			}
		}
	}
	return otherwise.Truncate(time.Second)
}
