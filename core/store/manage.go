package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/pipehook/pipehook/core"
)

// Manager changes what is stored by hand, beside the processes that serve. They find out by
// themselves within seconds.
type Manager struct {
	Reader
	sqlite bool
}

// OpenManager opens the database to change it. It makes no file and migrates nothing.
func OpenManager(ctx context.Context, url string) (*Manager, error) {
	loc, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	var db *bun.DB
	if loc.SQLite {
		if err := mustExist(loc.Path); err != nil {
			return nil, err
		}
		db, err = editSQLite(loc)
	} else {
		var conn *sql.DB
		if conn, err = loc.Postgres(pgTimeout, nil); err == nil {
			db = bun.NewDB(conn, pgdialect.New(), bun.WithDiscardUnknownColumns())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", loc.Shown, err)
	}
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", loc.Shown, err), db.Close())
	}
	return &Manager{Reader{db}, loc.SQLite}, nil
}

// Choice chooses deliveries; its zero value chooses all.
type Choice struct {
	Events   []string     // by the events' ids
	Match    core.Pattern // zero for all
	State    string       // one of core.States
	Listener string
	Since    time.Time // by when the event was received
	Until    time.Time
	Ended    *bool // only those that have ended, or only those that have not
}

func (c *Choice) apply(q *bun.SelectQuery) (*bun.SelectQuery, error) {
	q = q.TableExpr("deliveries AS d").Join("JOIN events AS e ON e.seq = d.event_seq")
	if len(c.Events) > 0 {
		q = q.Where("e.id IN ?", bun.Tuple(c.Events))
	}
	if action, object := c.Match.Action(), c.Match.Object(); action != "" {
		if action != "*" {
			q = q.Where("e.action = ?", action)
		}
		if object != "*" {
			q = q.Where("e.object = ?", object)
		}
	}
	if c.State != "" {
		state, err := parseState(c.State)
		if err != nil {
			return nil, err
		}
		q = q.Where("d.state = ?", state)
	}
	if c.Ended != nil {
		q = q.Where("(d.state <> 0) = ?", *c.Ended)
	}
	if c.Listener != "" {
		q = q.Where("d.listener = ?", c.Listener)
	}
	if !c.Since.IsZero() {
		q = q.Where("e.received_at >= ?", c.Since.UnixMicro())
	}
	if !c.Until.IsZero() {
		q = q.Where("e.received_at < ?", c.Until.UnixMicro())
	}
	return q, nil
}

// Chosen is a delivery with what people know of its event.
type Chosen struct {
	EventSeq   int64      `bun:"event_seq" json:"-"`
	ID         string     `bun:"id"`
	Action     string     `bun:"action"`
	Object     string     `bun:"object"`
	ObjectID   string     `bun:"object_id"`
	Listener   string     `bun:"listener"`
	State      core.State `bun:"state"`
	Attempts   int        `bun:"attempts"`
	Replays    int        `bun:"replays"`
	NextAt     int64      `bun:"next_at"`
	FinishedAt int64      `bun:"finished_at"`
	LastError  string     `bun:"last_error"`
}

// Deliveries lists what is chosen, the newest first.
func (r *Reader) Deliveries(ctx context.Context, c Choice, limit int) ([]Chosen, error) {
	q, err := c.apply(r.db.NewSelect())
	if err != nil {
		return nil, err
	}
	var found []Chosen
	err = q.Column("d.event_seq", "e.id", "e.action", "e.object", "e.object_id", "d.listener", "d.state", "d.attempts", "d.replays",
		"d.next_at", "d.finished_at", "d.last_error").OrderExpr("d.event_seq DESC, d.listener").Limit(int64(limit)).Scan(ctx, &found)
	if err != nil {
		return nil, fmt.Errorf("deliveries: %w", err)
	}
	return found, nil
}

// Count is how many deliveries are chosen.
func (r *Reader) Count(ctx context.Context, c Choice) (int, error) {
	q, err := c.apply(r.db.NewSelect())
	if err != nil {
		return 0, err
	}
	n, err := q.Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("deliveries: %w", err)
	}
	return int(n), nil
}

// Pause keeps the listener's deliveries from being attempted until Resume.
func (m *Manager) Pause(ctx context.Context, listener, reason string) error {
	_, err := m.db.ExecContext(ctx, "INSERT INTO listeners (name, paused_at, reason) VALUES (?, "+m.clock()+`, ?)
		ON CONFLICT (name) DO UPDATE SET reason = excluded.reason`, listener, reason)
	return errors.Join(err, m.notify(ctx, m.db))
}

// Resume ends a pause. It reports whether there was one.
func (m *Manager) Resume(ctx context.Context, listener string) (bool, error) {
	r, err := m.db.ExecContext(ctx, "DELETE FROM listeners WHERE name = ?", listener)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, errors.Join(err, m.notify(ctx, m.db))
}

// Paused lists the listeners that are paused, with the reason given.
func (r *Reader) Paused(ctx context.Context) (map[string]string, error) {
	var rows []struct{ Name, Reason string }
	if err := r.db.NewSelect().Table("listeners").Column("name", "reason").Scan(ctx, &rows); err != nil {
		return nil, fmt.Errorf("paused listeners: %w", err)
	}
	paused := make(map[string]string, len(rows))
	for _, row := range rows {
		paused[row.Name] = row.Reason
	}
	return paused, nil
}

// Paused lists the listeners that are paused.
func (s *Store) Paused(ctx context.Context) (map[string]string, error) { return s.Reader().Paused(ctx) }

// Edits is how often each listener's deliveries were changed by hand.
func (s *Store) Edits(ctx context.Context) (map[string]int64, error) {
	var rows []struct {
		Listener string
		Number   int64
	}
	if err := s.read.NewSelect().Table("edits").Column("listener", "number").Scan(ctx, &rows); err != nil {
		return nil, fmt.Errorf("changes by hand: %w", err)
	}
	edits := make(map[string]int64, len(rows))
	for _, row := range rows {
		edits[row.Listener] = row.Number
	}
	return edits, nil
}

// Crash is a delivery whose attempt was under way when its process ended.
type Crash struct {
	core.DeliveryKey
	Number int
}

// Crashed counts a crash against each of the deliveries that has not ended since.
func (s *Store) Crashed(ctx context.Context, crashes []Crash) error {
	const text = "the process ended while this attempt ran"
	for _, c := range crashes {
		_, err := s.backend.edit().NewUpdate().Table("deliveries").Set("crashes = crashes + 1").Set("attempts = ?", c.Number).Set("last_error = ?", text).
			Where("event_seq = ?", c.Seq).Where("listener = ?", c.Listener).Where("state = 0").Where("attempts < ?", c.Number).Exec(ctx)
		if err != nil {
			return fmt.Errorf("count a crash: %w", err)
		}
		_, err = s.backend.edit().ExecContext(ctx, `INSERT INTO attempts (event_seq, listener, run, number, started_at, duration_us, error, code)
			SELECT event_seq, listener, replays, ?, ?, 0, ?, '' FROM deliveries WHERE event_seq = ? AND listener = ? ON CONFLICT DO NOTHING`,
			c.Number, s.opts.Now().UnixMicro(), text, c.Seq, c.Listener)
		if err != nil {
			return fmt.Errorf("note a crash: %w", err)
		}
	}
	return nil
}

// Missing are those of the ids that no event has.
func (r *Reader) Missing(ctx context.Context, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var there []string
	if err := r.db.NewSelect().Table("events").Column("id").Where("id IN ?", bun.Tuple(ids)).Scan(ctx, &there); err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(there, id) }), nil
}

// Before is the delivery that stands first among those pending for the listener and the record, if
// its turn is before that of d.
func (r *Reader) Before(ctx context.Context, d *Delivery) (first Chosen, found bool, err error) {
	var rows []Chosen
	err = r.db.NewSelect().TableExpr("deliveries AS d").Join("JOIN events AS e ON e.seq = d.event_seq").
		Column("e.id", "d.attempts", "d.next_at", "d.last_error").
		Where("d.listener = ?", d.Listener).Where("d.state = 0").Where("d.record = ?", d.Record).Where("d.turn < ?", d.Turn).
		OrderExpr("d.turn").Limit(1).Scan(ctx, &rows)
	if err != nil {
		return Chosen{}, false, fmt.Errorf("deliveries of %s: %w", d.Listener, err)
	}
	if len(rows) == 0 {
		return Chosen{}, false, nil
	}
	return rows[0], true, nil
}
