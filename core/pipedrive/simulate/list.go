package simulate

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"slices"
	"sort"
	"strings"
	"time"
)

// query asks for a page of a list.
type query struct {
	object       string
	since, until time.Time // from since on, before until
	ids          map[string]bool
	deleted      bool // deleted ones too; filter may then choose
	filter       func(Record) bool
	sort         string // id when empty
	desc         bool
	limit        int
	start        int     // so many are passed over
	after        *cursor // go on after it
}

// cursor is a place in a sorted list. What Pipedrive's contains is nobody's business, and so is this.
type cursor struct {
	Sort string `json:"s,omitempty"`
	Num  int64  `json:"n"`
	At   int64  `json:"t,omitempty"`
	Text string `json:"v,omitempty"`
}

func (c *cursor) String() string {
	text, _ := json.Marshal(c)
	return base64.RawURLEncoding.EncodeToString(text)
}

func parseCursor(text string) (*cursor, error) {
	plain, err := base64.RawURLEncoding.DecodeString(text)
	c := new(cursor)
	if err != nil || json.Unmarshal(plain, c) != nil {
		return nil, invalidf("cursor: it is not one that was given out")
	}
	return c, nil
}

// page is the records of one page, and where the next one begins; nil at the end.
func (c *CRM) page(q query) ([]Record, *cursor) {
	c.mu.Lock()
	c.purgeOld(c.now())
	c.mu.Unlock()
	t := c.tables[q.object]
	if q.sort == "update_time" {
		c.sorted(t)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	switch {
	case q.ids != nil && (q.sort == "" || q.sort == "id"):
		return q.byIDs(t)
	case q.sort == "" || q.sort == "id":
		return q.byNum(t)
	case q.sort == "update_time" && !t.unsorted:
		return q.byUpdate(t)
	}
	return q.byValue(t)
}

// takes reports whether a row belongs to the list.
func (q *query) takes(r *row) bool {
	switch {
	case r.gone, !q.deleted && !r.deleted.IsZero():
		return false
	case !q.since.IsZero() && r.updated.Before(q.since), !q.until.IsZero() && !r.updated.Before(q.until):
		return false
	case q.ids != nil && !q.ids[r.id]:
		return false
	}
	return q.filter == nil || q.filter(r.rec)
}

// pager gathers the records of a page.
type pager struct {
	q    *query
	skip int
	out  []Record
	last *cursor
}

func (q *query) pager() *pager { return &pager{q: q, skip: q.start, out: []Record{}} }

// add takes a row, and reports that the page is full and there is more.
func (p *pager) add(r *row, at func() *cursor) bool {
	if !p.q.takes(r) {
		return false
	}
	if p.skip > 0 {
		p.skip--
		return false
	}
	if len(p.out) == p.q.limit {
		return true
	}
	p.out = append(p.out, r.rec)
	if len(p.out) == p.q.limit {
		p.last = at()
	}
	return false
}

func (p *pager) done(more bool) ([]Record, *cursor) {
	if !more {
		return p.out, nil
	}
	return p.out, p.last
}

func (q *query) byIDs(t *table) ([]Record, *cursor) {
	var rows []*row
	for id := range q.ids {
		if r := t.byID[id]; r != nil {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b *row) int { return cmp.Compare(a.num, b.num) })
	return q.walk(rows)
}

func (q *query) byNum(t *table) ([]Record, *cursor) { return q.walk(t.rows) }

// walk goes over rows that are sorted by num.
func (q *query) walk(rows []*row) ([]Record, *cursor) {
	p := q.pager()
	at := func(r *row) func() *cursor { return func() *cursor { return &cursor{Num: r.num} } }
	if q.desc {
		from := len(rows)
		if q.after != nil {
			from = sort.Search(len(rows), func(i int) bool { return rows[i].num >= q.after.Num })
		}
		for i := from - 1; i >= 0; i-- {
			if p.add(rows[i], at(rows[i])) {
				return p.done(true)
			}
		}
		return p.done(false)
	}
	from := 0
	if q.after != nil {
		from = sort.Search(len(rows), func(i int) bool { return rows[i].num > q.after.Num })
	}
	for _, r := range rows[from:] {
		if p.add(r, at(r)) {
			return p.done(true)
		}
	}
	return p.done(false)
}

// byUpdate goes over the log. A record that changes meanwhile comes again at the end.
func (q *query) byUpdate(t *table) ([]Record, *cursor) {
	p := q.pager()
	where := entry{at: q.since}
	if q.after != nil {
		where = entry{at: time.Unix(q.after.At, 0), seq: q.after.Num}
	}
	at := func(e entry) func() *cursor {
		return func() *cursor { return &cursor{Sort: q.sort, At: e.at.Unix(), Num: e.seq} }
	}
	from := sort.Search(len(t.log), func(i int) bool { return compareEntries(t.log[i], where) > 0 })
	if !q.desc {
		for _, e := range t.log[from:] {
			if e.good() && p.add(e.row, at(e)) {
				return p.done(true)
			}
		}
		return p.done(false)
	}
	if q.after == nil {
		from = len(t.log)
	}
	for i := from - 1; i >= 0; i-- {
		e := t.log[i]
		if e.good() && (q.after == nil || compareEntries(e, where) < 0) && p.add(e.row, at(e)) {
			return p.done(true)
		}
	}
	return p.done(false)
}

// byValue sorts what is asked for by a key; equal ones by num.
func (q *query) byValue(t *table) ([]Record, *cursor) {
	type sortable struct {
		row  *row
		text string
	}
	var rows []sortable
	for _, r := range t.rows {
		if q.takes(r) {
			rows = append(rows, sortable{r, sortText(r.rec[q.sort])})
		}
	}
	compare := func(a, b sortable) int {
		return cmp.Or(strings.Compare(a.text, b.text), cmp.Compare(a.row.num, b.row.num))
	}
	slices.SortFunc(rows, compare)
	if q.desc {
		slices.Reverse(rows)
	}
	p := q.pager()
	for _, r := range rows {
		if q.after != nil {
			order := compare(r, sortable{&row{num: q.after.Num}, q.after.Text})
			if !q.desc && order <= 0 || q.desc && order >= 0 {
				continue
			}
		}
		if p.add(r.row, func() *cursor { return &cursor{Sort: q.sort, Num: r.row.num, Text: r.text} }) {
			return p.done(true)
		}
	}
	return p.done(false)
}

// sortText is a value in a form that sorts as the value does.
func sortText(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case int64, float64:
		text, _ := json.Marshal(number(v) + 1e15) // as many digits for all that are no smaller than 0
		return string(text)
	}
	return ""
}
