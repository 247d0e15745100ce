package mirror

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// place is a record's.
type place struct{ object, id string }

// batch is what one transaction writes.
type batch struct {
	m      *Mirror
	tx     *sql.Tx
	now    time.Time
	rows   map[place]*row
	merges []merge
}

// Apply writes the changes in one transaction and says what came of each, in their order. In whatever order changes come,
// and however often, the rows end as if each had come once and in its time. It fails as a whole, with Kind Permanent
// when one of them can never be written, or else Unavailable.
func (m *Mirror) Apply(ctx context.Context, changes []Change) ([]Result, error) {
	results := make([]Result, len(changes))
	places := make([]place, len(changes))
	for i := range changes {
		var err error
		if places[i], err = m.placeOf(&changes[i]); err != nil {
			return nil, err
		}
	}
	err := m.inTx(ctx, func(tx *sql.Tx) error {
		b := &batch{m: m, tx: tx, now: m.opts.Now().UTC().Truncate(time.Millisecond), rows: map[place]*row{}}
		if err := b.load(ctx, changes, places); err != nil {
			return err
		}
		for i := range changes {
			if results[i] = Ignored; places[i].id != "" {
				results[i] = b.apply(&changes[i], places[i])
			}
		}
		return b.write(ctx)
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// placeOf is where a change belongs; an empty id when its object is not kept.
func (m *Mirror) placeOf(c *Change) (place, error) {
	t := tables[c.Record.Object]
	if t == nil || !m.kept[c.Record.Object] {
		return place{}, nil
	}
	id, err := t.idOf(c.Record.ID)
	return place{t.object, id}, err
}

// idOf is an id as the table writes it.
func (t *table) idOf(id string) (string, error) {
	if t.id == text {
		if id = plain(id); id != "" {
			return id, nil
		}
		return "", &core.Error{Kind: core.Permanent, Msg: "the " + t.object + " has no id"}
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return "", &core.Error{Kind: core.Permanent, Msg: fmt.Sprintf("the id of the %s is %q and not a number", t.object, clip(id))}
	}
	return strconv.FormatInt(n, 10), nil
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// inTx runs f in a transaction that no other of these tables runs beside: a merge moves what others refer to.
func (m *Mirror) inTx(ctx context.Context, f func(tx *sql.Tx) error) error {
	if err := m.prepared(ctx); err != nil {
		return m.refusal(err)
	}
	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return m.refusal(err)
	}
	if m.dialect == postgresDialect {
		_, err = tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(applyLock))
	}
	if err == nil {
		err = f(tx)
	}
	if err != nil {
		return m.refusal(errors.Join(err, rollback(tx)))
	}
	return m.refusal(tx.Commit())
}

func rollback(tx *sql.Tx) error {
	if err := tx.Rollback(); !errors.Is(err, sql.ErrTxDone) {
		return err
	}
	return nil
}

// load reads the rows that the changes are about.
func (b *batch) load(ctx context.Context, changes []Change, places []place) error {
	ids := map[string][]string{}
	add := func(p place) {
		if _, there := b.rows[p]; p.id == "" || there {
			return
		}
		b.rows[p] = &row{table: tables[p.object], Row: Row{Record: shape.Record{Object: p.object, ID: p.id}}}
		ids[p.object] = append(ids[p.object], p.id)
	}
	for i := range changes {
		add(places[i])
		if from := changes[i].MergedFrom; places[i].id != "" && from != "" {
			if id, err := tables[places[i].object].idOf(from); err == nil {
				add(place{places[i].object, id})
			}
		}
	}
	for object, list := range ids {
		found, err := b.m.rows(ctx, b.tx, tables[object], list)
		if err != nil {
			return err
		}
		for id, r := range found {
			b.rows[place{object, id}] = r
		}
	}
	return nil
}

func (b *batch) apply(c *Change, p place) Result {
	result := b.rows[p].apply(c, c.tell(b.now), b.now)
	return max(result, b.merged(c, p))
}

// write writes the rows that are others now, and then does what merges ask for.
func (b *batch) write(ctx context.Context) error {
	changed := map[string][]*row{}
	for _, r := range b.rows {
		if r.changed {
			changed[r.table.object] = append(changed[r.table.object], r)
		}
	}
	if err := b.save(ctx, changed); err != nil {
		return err
	}
	for i := range b.merges {
		if err := b.merge(ctx, &b.merges[i]); err != nil {
			return err
		}
	}
	return nil
}

// save writes rows, by object, with what they refer to as it is after all merges.
func (b *batch) save(ctx context.Context, changed map[string][]*row) error {
	if err := b.follow(ctx, changed); err != nil {
		return err
	}
	for object, rows := range changed {
		slices.SortFunc(rows, func(x, y *row) int { return compareIDs(x.ID, y.ID) })
		if err := b.m.write(ctx, b.tx, tables[object], rows); err != nil {
			return fmt.Errorf("%s: %w", tables[object].name, err)
		}
	}
	return nil
}

func compareIDs(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	if a < b {
		return -1
	}
	return 1
}
