package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"github.com/pipehook/pipehook/core"
)

// StateMaxValue is how long a state may be, in bytes.
const StateMaxValue = 256 << 10

// State is what was kept under the name, nil when nothing was. It is for small things of pipehook's own that must
// outlive the process and that replicas share. While the database is away it fails with Kind Unavailable.
func (s *Store) State(ctx context.Context, name string) ([]byte, error) {
	if !s.ready.Load() {
		return nil, stateAway(name, nil)
	}
	return s.Reader().State(ctx, name)
}

// SetState keeps the value under the name in place of what was there; nil deletes it. It is on disk when SetState
// returns. Of two that set one name at a time either may be the last.
func (s *Store) SetState(ctx context.Context, name string, value []byte) error {
	if !s.ready.Load() {
		return stateAway(name, nil)
	}
	return setState(ctx, s.backend.edit(), name, value, s.opts.Now())
}

// SetState keeps a value beside the processes that serve; see Store.SetState.
func (m *Manager) SetState(ctx context.Context, name string, value []byte) error {
	return setState(ctx, m.db, name, value, time.Now())
}

// State is what was kept under the name; see Store.State.
func (r *Reader) State(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	var value []byte
	var found bool
	// There is always one row: see kvGetSQLite.
	err := r.db.QueryRowContext(ctx, "SELECT s.value, s.name IS NOT NULL FROM (SELECT 1) one LEFT JOIN states s ON s.name = ?", name).Scan(&value, &found)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, stateAway(name, errNoAnswer)
	case err != nil:
		return nil, stateAway(name, err)
	case found && value == nil:
		value = []byte{}
	}
	return value, nil
}

func setState(ctx context.Context, db *bun.DB, name string, value []byte, now time.Time) error {
	if len(value) > StateMaxValue {
		return tooLarge("the state %s has %d bytes and may have %d", name, len(value), StateMaxValue)
	}
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	query, args := "DELETE FROM states WHERE name = ?", []any{name}
	if value != nil {
		clock := "?"
		args = append(args, value)
		if db.Dialect().Name() == dialect.PG {
			clock = "pipehook_now()"
		} else {
			args = append(args, now.UnixMicro())
		}
		query = "INSERT INTO states (name, value, updated_at) VALUES (?, ?, " + clock + `)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at`
	}
	if _, err := db.ExecContext(ctx, query, args...); err != nil {
		return stateAway(name, err)
	}
	return nil
}

func stateAway(name string, err error) error {
	return unavailable("the state "+name+" can't be reached now", err)
}

// LastSeq is the highest number of a stored event, and -1 when there is none: so it may stand in
// core.Plan.After, where 0 asks for nothing.
func (s *Store) LastSeq(ctx context.Context) (int64, error) {
	if !s.ready.Load() {
		return 0, unavailable("the last event can't be asked for now", nil)
	}
	return s.Reader().LastSeq(ctx)
}

// LastSeq is the highest number of a stored event; see Store.LastSeq.
func (r *Reader) LastSeq(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	var last int64
	if err := r.db.QueryRowContext(ctx, "SELECT coalesce(max(seq), -1) FROM events").Scan(&last); err != nil {
		return 0, unavailable("the last event can't be asked for", err)
	}
	return last, nil
}

// PendingFor are those of the ids about whose records a delivery to the listener has not ended: it is still to come,
// or runs. It looks once at all that is pending for the listener, however many ids there are.
func (s *Store) PendingFor(ctx context.Context, listener, source, object string, ids []string) (map[string]bool, error) {
	return s.Reader().PendingFor(ctx, listener, source, object, ids)
}

// PendingFor are the ids for which a delivery is still to come; see Store.PendingFor.
func (r *Reader) PendingFor(ctx context.Context, listener, source, object string, ids []string) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	asked := make(map[string]string, len(ids)) // by the id as it is stored
	var records []int64
	for _, id := range ids {
		about := core.Event{Source: source, Object: object, ObjectID: id}
		if record := about.Record(); record != 0 {
			asked[plainText(id)], records = id, append(records, record)
		}
	}
	pending := make(map[string]bool)
	if len(records) == 0 {
		return pending, nil
	}
	var found []string
	err := r.db.NewSelect().TableExpr("deliveries AS d").Join("JOIN events AS e ON e.seq = d.event_seq").ColumnExpr("DISTINCT e.object_id").
		Where("d.listener = ?", listener).Where("d.state = 0").Where("d.record IN ?", bun.Tuple(records)).
		Where("e.source = ?", source).Where("e.object = ?", plainText(object)). // two records may share a number
		Scan(ctx, &found)
	if err != nil {
		return nil, unavailable("the deliveries of "+listener+" can't be asked for", fmt.Errorf("of %s: %w", object, err))
	}
	for _, text := range found {
		if id, is := asked[text]; is {
			pending[id] = true
		}
	}
	return pending, nil
}

// Unheard calls do with the record and the number of each event about an object's records that the listener has not handled:
// its delivery was given up, cancelled or is still to come, or there was none. It looks at those that were received from one
// time on and before another, zero for no end, and at those that were stored later than the event of a number.
func (s *Store) Unheard(ctx context.Context, listener, source, object string, from, before time.Time, later int64, do func(id string, seq int64)) error {
	return s.Reader().Unheard(ctx, listener, source, object, from, before, later, do)
}

// unheardStep is how many events one statement looks at. There is no index by record, as it would cost every webhook
// more than this costs the few who ask.
const unheardStep = 4096

// Unheard calls do with what the listener has not handled; see Store.Unheard.
func (r *Reader) Unheard(ctx context.Context, listener, source, object string, from, before time.Time, later int64, do func(id string, seq int64)) error {
	u := unheard{r: r, listener: listener, source: source, object: object, do: do}
	end := "ffffffff-ffff-ffff-ffff-ffffffffffff"
	if !before.IsZero() {
		end = firstID(before)
	}
	err := bySteps(ctx, &u, "id", firstID(from), end)
	if err == nil {
		err = bySteps(ctx, &u, "seq", later, math.MaxInt64)
	}
	if err != nil {
		return unavailable("the events that "+listener+" has not handled can't be asked for", fmt.Errorf("of %s: %w", object, err))
	}
	return nil
}

// unheard is a question for what a listener has not handled.
type unheard struct {
	r                        *Reader
	listener, source, object string
	do                       func(id string, seq int64)
}

// bySteps looks at the events between two of a column's values, some at a time.
func bySteps[T string | int64](ctx context.Context, u *unheard, column string, from, before T) error {
	for from < before {
		last, err := step(ctx, u, column, from, before)
		if err != nil || !last.Valid {
			return err
		}
		from = last.V
	}
	return nil
}

// step looks at the events that come next; last is not valid behind the last of them.
func step[T string | int64](ctx context.Context, u *unheard, column string, from, before T) (last sql.Null[T], err error) {
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	err = u.r.db.QueryRowContext(ctx, fmt.Sprintf("SELECT max(%s) FROM (SELECT %[1]s FROM events WHERE %[1]s > ? AND %[1]s < ? ORDER BY %[1]s LIMIT ?) AS step", column),
		from, before, unheardStep).Scan(&last)
	if err != nil || !last.Valid {
		return last, err
	}
	rows, err := u.r.db.QueryContext(ctx, fmt.Sprintf(`SELECT e.object_id, e.seq FROM events AS e WHERE e.%s > ? AND e.%[1]s <= ? AND e.source = ? AND e.object = ?
		AND e.body IS NOT NULL AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.event_seq = e.seq AND d.listener = ? AND d.state = ?)`, column),
		from, last.V, u.source, plainText(u.object), u.listener, core.Done)
	if err != nil {
		return last, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id string
		var seq int64
		if err := rows.Scan(&id, &seq); err != nil {
			return last, err
		}
		u.do(id, seq)
	}
	return last, rows.Err()
}

// Numbered are the events with the numbers, as far as they are there, as they are stored: their source has not named them.
func (s *Store) Numbered(ctx context.Context, seqs []int64) ([]core.Event, error) {
	return s.Reader().Numbered(ctx, seqs)
}

// Numbered are the events with the numbers; see Store.Numbered.
func (r *Reader) Numbered(ctx context.Context, seqs []int64) (events []core.Event, err error) {
	if len(seqs) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	rows, err := r.db.QueryContext(ctx, "SELECT e.seq, 0, 0, 0, 0, 0, 0, 0, "+eventColumns+" FROM events AS e WHERE e.seq IN ? AND e.body IS NOT NULL ORDER BY e.seq", bun.Tuple(seqs))
	var found []row
	if err == nil {
		found, err = wholeRows(rows, time.Time{})
	}
	if err != nil {
		return nil, unavailable("stored events can't be read", err)
	}
	for i := range found {
		events = append(events, restore(&found[i]))
	}
	return events, nil
}

// firstID is below the ids of all events that are received then or later: they begin with the time.
func firstID(t time.Time) string {
	ms := fmt.Sprintf("%012x", max(t.UnixMilli(), 0))
	return ms[:8] + "-" + ms[8:] + "-0000-0000-000000000000"
}
