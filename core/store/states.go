package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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

// PendingFor reports whether a delivery to the listener about the record has not ended: it is still to come, or
// runs.
func (s *Store) PendingFor(ctx context.Context, listener, source, object, id string) (bool, error) {
	return s.Reader().PendingFor(ctx, listener, source, object, id)
}

// PendingFor reports whether a delivery is still to come; see Store.PendingFor.
func (r *Reader) PendingFor(ctx context.Context, listener, source, object, id string) (bool, error) {
	d, found, err := r.Unfinished(ctx, listener, source, object, id)
	return found && d.State == core.Waiting, err
}

// Unfinished is the delivery to the listener about the record that stands first of those that are pending, or, when
// none is, the newest of those that were given up: dead or quarantined. What has ended since about the record is not
// asked for.
func (s *Store) Unfinished(ctx context.Context, listener, source, object, id string) (d Chosen, found bool, err error) {
	return s.Reader().Unfinished(ctx, listener, source, object, id)
}

// Unfinished is a delivery that has not succeeded; see Store.Unfinished.
func (r *Reader) Unfinished(ctx context.Context, listener, source, object, id string) (d Chosen, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	about := core.Event{Source: source, Object: object, ObjectID: id}
	record := about.Record()
	if record == 0 {
		return Chosen{}, false, nil
	}
	for _, among := range []struct{ states, order string }{{"d.state = 0", "d.turn"}, {"d.state IN (2, 4)", "d.event_seq DESC"}} {
		var rows []Chosen
		err := r.db.NewSelect().TableExpr("deliveries AS d").Join("JOIN events AS e ON e.seq = d.event_seq").
			Column("d.event_seq", "e.id", "e.action", "e.object", "e.object_id", "d.listener", "d.state", "d.attempts", "d.replays",
				"d.next_at", "d.finished_at", "d.last_error").
			Where("d.listener = ?", listener).Where("d.record = ?", record).Where(among.states).
			Where("e.source = ?", source).Where("e.object = ?", plainText(object)).Where("e.object_id = ?", plainText(id)). // two records may share a number
			OrderExpr(among.order).Limit(1).Scan(ctx, &rows)
		if err != nil {
			return Chosen{}, false, unavailable("the deliveries of "+listener+" can't be asked for", fmt.Errorf("record %s %s: %w", object, id, err))
		}
		if len(rows) > 0 {
			return rows[0], true, nil
		}
	}
	return Chosen{}, false, nil
}
