package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// merge is what a merge comes to: loser is a part of survivor now.
type merge struct {
	object, loser, survivor string
	at                      time.Time
	event                   string
}

// merged notes what a change says of a merge. It may be either of its halves, and the other may never come.
func (b *batch) merged(c *Change, p place) Result {
	loser, survivor := p.id, c.MergedTo
	if c.MergedFrom != "" {
		loser, survivor = c.MergedFrom, p.id
	}
	if survivor == "" {
		return Applied
	}
	var errs [2]error
	loser, errs[0] = tables[p.object].idOf(loser)
	survivor, errs[1] = tables[p.object].idOf(survivor)
	if errs[0] != nil || errs[1] != nil || loser == survivor {
		return Applied
	}
	at := c.At
	if at.IsZero() {
		at = b.now
	}
	b.merges = append(b.merges, merge{p.object, loser, survivor, at, c.Event})
	if c.MergedFrom != "" {
		gone := Change{Record: c.Record, Action: core.Deleted, At: at, From: c.From, Event: c.Event, MergedTo: survivor}
		gone.Record.ID, gone.Record.Values, gone.Record.Added, gone.Record.Updated = loser, nil, time.Time{}, time.Time{}
		b.rows[place{p.object, loser}].apply(&gone, gone.tell(b.now), b.now)
	}
	return Applied
}

// merge leaves the trace of a merge, and when it is the first to do so, has all that refers to the loser refer to
// the survivor.
func (b *batch) merge(ctx context.Context, g *merge) error {
	d := b.m.dialect
	done, err := b.tx.ExecContext(ctx, d.bind(`INSERT INTO pipedrive_merges (object, loser, survivor, merged_at, event_id, moved)
		VALUES (?, ?, ?, ?, ?, '{}') ON CONFLICT (object, loser) DO NOTHING`), g.object, g.loser, g.survivor, millis(g.at), g.event)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return err
	}
	found, err := b.references(ctx, g)
	if err != nil {
		return err
	}
	moved := map[string]int{}
	for object, ids := range found {
		if err := b.move(ctx, tables[object], ids); err != nil {
			return err
		}
		moved[object] = len(ids)
	}
	_, err = b.tx.ExecContext(ctx, d.bind("UPDATE pipedrive_merges SET moved = ? WHERE object = ? AND loser = ?"), string(encodeCounts(moved)), g.object, g.loser)
	return err
}

func encodeCounts(moved map[string]int) []byte {
	out, _ := json.Marshal(moved) // numbers can be encoded
	return out
}

// merges are the objects of which two can become one.
var merges = func() map[string]bool {
	all := map[string]bool{}
	for _, o := range shape.Objects() {
		all[o.Name] = o.Merges
	}
	return all
}()

// movedAtOnce is how many rows are moved at a time.
const movedAtOnce = 500

// references are the ids of the rows that refer to the loser, by object. Of all tables it is one question: on PostgreSQL
// each takes its time on the way.
func (b *batch) references(ctx context.Context, g *merge) (_ map[string][]string, err error) {
	d := b.m.dialect
	var parts []string
	var args []any
	for _, o := range shape.Objects() {
		t := tables[o.Name]
		for _, c := range t.columns {
			if c.of != g.object {
				continue
			}
			where, named := c.name+" = ?", any(g.loser)
			if c.kind == list {
				where = [...]string{"EXISTS (SELECT 1 FROM json_each(" + c.name + ") WHERE value = ?)", c.name + " @> ?::jsonb"}[d]
				if d == sqliteDialect {
					named = b.m.idValue(tables[c.of], g.loser) // within JSON a number is no text
				}
			}
			parts, args = append(parts, fmt.Sprintf("SELECT '%s', CAST(id AS TEXT) FROM %s WHERE %s", t.object, t.name, where)), append(args, named)
		}
	}
	found, err := b.tx.QueryContext(ctx, d.bind(strings.Join(parts, " UNION ")), args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	all := map[string][]string{}
	for found.Next() {
		var object, id string
		if err := found.Scan(&object, &id); err != nil {
			return nil, err
		}
		all[object] = append(all[object], id)
	}
	return all, found.Err()
}

// move has rows written again, which has them follow.
func (b *batch) move(ctx context.Context, t *table, ids []string) error {
	slices.SortFunc(ids, compareIDs)
	for some := range slices.Chunk(ids, movedAtOnce) {
		found, err := b.m.rows(ctx, b.tx, t, some)
		if err != nil {
			return err
		}
		var rows []*row
		for _, r := range found {
			r.ChangedAt = b.now
			rows = append(rows, r)
		}
		if err := b.save(ctx, map[string][]*row{t.object: rows}); err != nil {
			return err
		}
	}
	return nil
}

// follow has the rows refer to the survivors of those that they refer to.
func (b *batch) follow(ctx context.Context, changed map[string][]*row) error {
	wanted := map[place]bool{}
	for _, rows := range changed {
		for _, r := range rows {
			r.refers(func(p place) string { wanted[p] = true; return p.id })
		}
	}
	heirs, err := b.heirs(ctx, wanted)
	if err != nil || len(heirs) == 0 {
		return err
	}
	for _, rows := range changed {
		for _, r := range rows {
			r.refers(func(p place) string { return heirs.last(p) })
		}
	}
	return nil
}

// refers shows each reference to what can be merged, and takes what is said in its place.
func (r *row) refers(say func(p place) string) {
	for i := range r.table.columns {
		c := &r.table.columns[i]
		if !merges[c.of] {
			continue
		}
		switch v := r.Values[c.key()].(type) {
		case json.Number:
			if id := say(place{c.of, v.String()}); id != v.String() {
				r.Values[c.key()] = json.Number(id)
			}
		case []any:
			r.Values[c.key()] = others(v, c.of, say)
		}
	}
}

func others(ids []any, object string, say func(p place) string) []any {
	var all []any
	for _, v := range ids {
		if n, ok := v.(json.Number); ok {
			v = json.Number(say(place{object, n.String()}))
		}
		if !slices.ContainsFunc(all, func(have any) bool { return same(have, v) }) {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return ids
	}
	return all
}

// heirs are survivors by those that became part of them.
type heirs map[place]string

// last is the id of the record that this one is part of by now.
func (h heirs) last(p place) string {
	for range len(h) {
		next, ok := h[p]
		if !ok {
			break
		}
		p.id = next
	}
	return p.id
}

// heirs reads the merges of these records, of those that they became part of, and so on; those of this batch too.
func (b *batch) heirs(ctx context.Context, wanted map[place]bool) (heirs, error) {
	all := heirs{}
	for i := len(b.merges) - 1; i >= 0; i-- {
		all[place{b.merges[i].object, b.merges[i].loser}] = b.merges[i].survivor
		wanted[place{b.merges[i].object, b.merges[i].survivor}] = true
	}
	for len(wanted) > 0 {
		found, err := b.survivors(ctx, wanted)
		if err != nil {
			return nil, err
		}
		next := map[place]bool{}
		for p, survivor := range found {
			if all[p] = survivor; !wanted[place{p.object, survivor}] {
				next[place{p.object, survivor}] = true
			}
		}
		wanted = next
		for p := range next {
			if _, known := all[p]; known {
				delete(next, p)
			}
		}
	}
	return all, nil
}

func (b *batch) survivors(ctx context.Context, wanted map[place]bool) (_ heirs, err error) {
	var objects, losers []string
	pairs := make([][2]string, 0, len(wanted))
	for p := range wanted {
		objects, losers, pairs = append(objects, p.object), append(losers, p.id), append(pairs, [2]string{p.object, p.id})
	}
	query, args := `SELECT object, loser, survivor FROM pipedrive_merges
		WHERE (object, loser) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))`, []any{jsonText(pairs)}
	if b.m.dialect == postgresDialect {
		query, args = `SELECT m.object, m.loser, m.survivor FROM pipedrive_merges m JOIN
		ROWS FROM (jsonb_array_elements_text($1::jsonb), jsonb_array_elements_text($2::jsonb)) AS w (object, loser) ON m.object = w.object AND m.loser = w.loser`,
			[]any{jsonText(objects), jsonText(losers)}
	}
	found, err := b.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	all := heirs{}
	for found.Next() {
		var p place
		var survivor string
		if err := found.Scan(&p.object, &p.id, &survivor); err != nil {
			return nil, err
		}
		all[p] = survivor
	}
	return all, found.Err()
}

func jsonText(all any) string {
	out, _ := json.Marshal(all) // texts can be encoded
	return strings.TrimSpace(string(out))
}
