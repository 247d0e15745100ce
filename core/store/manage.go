package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/failpoint"
)

// manageBatch is how many deliveries one transaction changes, so that none stands long in the way
// of an answer.
const manageBatch = 500

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
	if loc.sqlite {
		if err := mustExist(loc.path); err != nil {
			return nil, err
		}
		db, err = editSQLite(loc)
	} else {
		var conn *sql.DB
		if conn, err = connectPostgres(loc, pgTimeout, nil); err == nil {
			db = bun.NewDB(conn, pgdialect.New(), bun.WithDiscardUnknownColumns())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", loc.shown, err)
	}
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", loc.shown, err), db.Close())
	}
	return &Manager{Reader{db}, loc.sqlite}, nil
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

// Replay makes the chosen deliveries pending again, whatever became of them, and returns how many
// are. Each takes its place behind what is pending, in the order of the events, with a fresh count
// of attempts; it keeps its event's id. Those that are pending already are left alone. told, which
// may be nil, hears of the progress.
func (m *Manager) Replay(ctx context.Context, c Choice, told func(done int)) (int, error) {
	return m.each(ctx, c, true, told, func(tx bun.Tx, keys []core.DeliveryKey) (int64, error) {
		return m.again(ctx, tx, keys)
	})
}

// Retry makes pending deliveries due now instead of at their time. They keep their place in the order.
func (m *Manager) Retry(ctx context.Context, c Choice, told func(done int)) (int, error) {
	return m.each(ctx, c, false, told, func(tx bun.Tx, keys []core.DeliveryKey) (int64, error) {
		return m.set(ctx, tx, keys, "next_at = "+m.clock(), "state = 0")
	})
}

// Cancel ends pending deliveries. An attempt that runs ends, but its result no longer counts.
func (m *Manager) Cancel(ctx context.Context, c Choice, told func(done int)) (int, error) {
	return m.each(ctx, c, false, told, func(tx bun.Tx, keys []core.DeliveryKey) (int64, error) {
		return m.set(ctx, tx, keys, fmt.Sprintf("state = %d, next_at = 0, finished_at = %s, last_error = 'cancelled by hand'", core.Cancelled, m.clock()), "state = 0")
	})
}

// set changes each of the deliveries.
func (m *Manager) set(ctx context.Context, tx bun.Tx, keys []core.DeliveryKey, set, only string) (n int64, err error) {
	for _, k := range keys {
		r, err := tx.ExecContext(ctx, "UPDATE deliveries SET "+set+" WHERE event_seq = ? AND listener = ? AND "+only, k.Seq, k.Listener)
		if err != nil {
			return n, err
		}
		changed, err := r.RowsAffected()
		if err != nil {
			return n, err
		}
		n += changed
	}
	return n, nil
}

// each walks the chosen deliveries in the order of their events, some in a transaction.
func (m *Manager) each(ctx context.Context, c Choice, ended bool, told func(int), change func(bun.Tx, []core.DeliveryKey) (int64, error)) (done int, err error) {
	c.Ended = &ended
	var after core.DeliveryKey
	for {
		q, err := c.apply(m.db.NewSelect())
		if err != nil {
			return done, err
		}
		var found []Chosen
		err = q.Column("d.event_seq", "d.listener").Where("(d.event_seq, d.listener) > (?, ?)", after.Seq, after.Listener).
			OrderExpr("d.event_seq, d.listener").Limit(manageBatch).Scan(ctx, &found)
		if err != nil || len(found) == 0 {
			return done, err
		}
		keys := make([]core.DeliveryKey, len(found))
		for i, f := range found {
			keys[i] = core.DeliveryKey{Seq: f.EventSeq, Listener: f.Listener}
		}
		after = keys[len(keys)-1]
		var n int64
		err = m.db.RunInTx(ctx, nil, func(_ context.Context, tx bun.Tx) (err error) {
			n, err = change(tx, keys)
			failpoint.Pass(failpoint.Replay)
			return errors.Join(err, m.tell(ctx, tx, keys))
		})
		if err != nil {
			return done, fmt.Errorf("change deliveries: %w", err)
		}
		done += int(n)
		if told != nil {
			told(done)
		}
	}
}

// again makes each of the deliveries pending, with a turn behind all there are.
func (m *Manager) again(ctx context.Context, tx bun.Tx, keys []core.DeliveryKey) (n int64, err error) {
	turn := "nextval(pg_get_serial_sequence('events', 'seq'))"
	if m.sqlite {
		// Events are numbered above what is taken here; see sqlite.readTurn.
		if _, err := tx.ExecContext(ctx, "UPDATE turns SET last = max(last, (SELECT COALESCE(max(seq), 0) FROM events))"); err != nil {
			return 0, err
		}
		turn = "(SELECT last FROM turns)"
	}
	set := "state = 0, attempts = 0, crashes = 0, finished_at = 0, replays = replays + 1, next_at = " + m.clock() + ", turn = " + turn
	for i := range keys {
		if m.sqlite {
			if _, err := tx.ExecContext(ctx, "UPDATE turns SET last = last + 1"); err != nil {
				return n, err
			}
		}
		changed, err := m.set(ctx, tx, keys[i:i+1], set, "state <> 0")
		if err != nil {
			return n, err
		}
		n += changed
	}
	return n, nil
}

// tell lets who serves the deliveries know that they are others now.
func (m *Manager) tell(ctx context.Context, tx bun.Tx, keys []core.DeliveryKey) error {
	told := map[string]bool{}
	for _, k := range keys {
		if told[k.Listener] {
			continue
		}
		told[k.Listener] = true
		_, err := tx.ExecContext(ctx, `INSERT INTO edits (listener, number) VALUES (?, 1)
			ON CONFLICT (listener) DO UPDATE SET number = edits.number + 1`, k.Listener)
		if err != nil {
			return err
		}
	}
	return m.notify(ctx, tx)
}

// notify wakes the processes on PostgreSQL. Those on SQLite look every few seconds.
func (m *Manager) notify(ctx context.Context, db bun.IDB) error {
	if m.sqlite {
		return nil
	}
	_, err := db.ExecContext(ctx, "SELECT pg_notify('pipehook', '"+editedPayload+"')")
	return err
}

// clock is the expression for the time now, in microseconds.
func (m *Manager) clock() string {
	if m.sqlite {
		return "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
	}
	return "pipehook_now()"
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
		_, err = s.backend.edit().NewInsert().Model(&Attempt{
			EventSeq: c.Seq, Listener: c.Listener, Number: c.Number, StartedAt: s.opts.Now().UnixMicro(), Error: text,
		}).On("CONFLICT DO NOTHING").Exec(ctx)
		if err != nil {
			return fmt.Errorf("note a crash: %w", err)
		}
	}
	return nil
}
