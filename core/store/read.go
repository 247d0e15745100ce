package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/pipehook/pipehook/core"
)

// Event is a stored event as the command line and the console read it. Times are unix
// microseconds, 0 for unknown.
type Event struct {
	bun.BaseModel `bun:"table:events"`

	Seq        int64  `bun:"seq,pk"`
	ID         string `bun:"id"`
	Pipeline   string `bun:"pipeline"`
	Source     string `bun:"source"`
	Action     string `bun:"action"`
	Object     string `bun:"object"`
	ObjectID   string `bun:"object_id"`
	OccurredAt int64  `bun:"occurred_at"`
	ReceivedAt int64  `bun:"received_at"`
	DedupeKey  []byte `bun:"dedupe_key"`
	Remote     string `bun:"remote"`
	Header     string `bun:"header"`
	Body       []byte `bun:"body"`
	Trace      string `bun:"trace"`
	Labels     string `bun:"labels"`
	Overlay    string `bun:"overlay"`

	Deliveries []*Delivery `bun:"rel:has-many,join:seq=event_seq"`
}

// Delivery is where one event stands with one listener.
type Delivery struct {
	bun.BaseModel `bun:"table:deliveries"`

	EventSeq   int64      `bun:"event_seq,pk"`
	Listener   string     `bun:"listener,pk"`
	State      core.State `bun:"state"`
	Attempts   int        `bun:"attempts"`
	NextAt     int64      `bun:"next_at"`
	Turn       int64      `bun:"turn"`
	Record     int64      `bun:"record"`
	Crashes    int        `bun:"crashes"`
	Replays    int        `bun:"replays"`
	FinishedAt int64      `bun:"finished_at"`
	DurationUS int64      `bun:"duration_us"`
	LastError  string     `bun:"last_error"`
	Code       string     `bun:"code"`
	Output     string     `bun:"output"`
}

// Attempt is one try of a delivery.
type Attempt struct {
	bun.BaseModel `bun:"table:attempts"`

	EventSeq   int64  `bun:"event_seq,pk"`
	Listener   string `bun:"listener,pk"`
	Run        int    `bun:"run,pk"` // how often the delivery had been replayed before
	Number     int    `bun:"number,pk"`
	StartedAt  int64  `bun:"started_at"`
	DurationUS int64  `bun:"duration_us"`
	Error      string `bun:"error"`
	Code       string `bun:"code"`
	Output     string `bun:"output"`
}

// Filter chooses events; its zero value chooses all.
type Filter struct {
	Match    core.Pattern // zero for all
	State    string       // one of core.States: events with such a delivery
	Listener string       // with State or alone: events with a delivery to it
	Origin   string       // "webhook" for events that a sender sent, else what made them; empty for all
	Since    time.Time
	Limit    int // 0 for 50
}

// Reader reads a database without holding it: beside a running process, and without the right to
// change anything.
type Reader struct{ db *bun.DB }

// OpenReader opens the database for reading. It makes no file and migrates nothing.
func OpenReader(ctx context.Context, url string) (*Reader, error) {
	loc, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	var db *bun.DB
	if loc.SQLite {
		if err := mustExist(loc.Path); err != nil {
			return nil, err
		}
		db, err = readSQLite(loc)
	} else {
		var conn *sql.DB
		if conn, err = loc.Postgres(pgTimeout, map[string]any{"default_transaction_read_only": "on"}); err == nil {
			db = bun.NewDB(conn, pgdialect.New(), bun.WithDiscardUnknownColumns())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", loc.Shown, err)
	}
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", loc.Shown, err), db.Close())
	}
	return &Reader{db: db}, nil
}

// Reader reads through the open store. It must not be closed.
func (s *Store) Reader() *Reader { return &Reader{db: s.read} }

// Close ends the connections.
func (r *Reader) Close() error { return r.db.Close() }

// kindOfOverlay is what an overlay says of the event's origin, and nothing else of it.
const kindOfOverlay = `CASE WHEN overlay LIKE '{"origin":%' THEN overlay ELSE '' END AS overlay`

// Events lists the newest events first, without their bodies and headers, each with its
// deliveries. Overlay is there only of events that have an origin.
func (r *Reader) Events(ctx context.Context, f Filter) ([]Event, error) {
	var events []Event
	q := r.db.NewSelect().Model(&events).ExcludeColumn("body", "header", "dedupe_key", "trace", "overlay").
		ColumnExpr(kindOfOverlay).
		Relation("Deliveries", func(q *bun.SelectQuery) *bun.SelectQuery { return q.Order("listener") }).
		Order("seq DESC")
	switch prefix := core.OriginPrefix(f.Origin); f.Origin {
	case "":
	case "webhook":
		prefix = core.OriginPrefix("")
		q = q.Where("substr(overlay, 1, ?) <> ?", len(prefix), prefix)
	default:
		q = q.Where("substr(overlay, 1, ?) = ?", utf8.RuneCountInString(prefix), prefix)
	}
	if f.Limit <= 0 {
		f.Limit = 50
	}
	q = q.Limit(int64(f.Limit))
	if action, object := f.Match.Action(), f.Match.Object(); action != "" {
		if action != "*" {
			q = q.Where("action = ?", action)
		}
		if object != "*" {
			q = q.Where("object = ?", object)
		}
	}
	if !f.Since.IsZero() {
		q = q.Where("received_at >= ?", f.Since.UnixMicro())
	}
	if f.State != "" || f.Listener != "" {
		sub := r.db.NewSelect().Model((*Delivery)(nil)).ColumnExpr("1").Where("delivery.event_seq = event.seq")
		if f.Listener != "" {
			sub = sub.Where("listener = ?", f.Listener)
		}
		if f.State != "" {
			state, err := parseState(f.State)
			if err != nil {
				return nil, err
			}
			sub = sub.Where("state = ?", state)
		}
		q = q.Where("EXISTS (?)", sub)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	return events, nil
}

// Event returns one event whole with its deliveries and their attempts, or an Error of Kind
// Invalid when there is none with that id.
func (r *Reader) Event(ctx context.Context, id string) (Event, []Attempt, error) {
	var ev Event
	err := r.db.NewSelect().Model(&ev).Where("id = ?", id).
		Relation("Deliveries", func(q *bun.SelectQuery) *bun.SelectQuery { return q.Order("listener") }).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Event{}, nil, invalid("there is no event %q", id)
	}
	if err != nil {
		return Event{}, nil, fmt.Errorf("event %s: %w", id, err)
	}
	var attempts []Attempt
	err = r.db.NewSelect().Model(&attempts).Where("event_seq = ?", ev.Seq).Order("started_at", "listener", "number").Scan(ctx)
	if err != nil {
		return Event{}, nil, fmt.Errorf("attempts of %s: %w", id, err)
	}
	for _, d := range ev.Deliveries {
		if d.State == core.Done { // the attempt that succeeded stands with its delivery
			attempts = append(attempts, Attempt{
				EventSeq: d.EventSeq, Listener: d.Listener, Run: d.Replays, Number: d.Attempts, StartedAt: d.FinishedAt - d.DurationUS, DurationUS: d.DurationUS, Code: d.Code, Output: d.Output,
			})
		}
	}
	return ev, attempts, nil
}

// Waiting is how many deliveries are pending, by listener.
func (r *Reader) Waiting(ctx context.Context) (map[string]int64, error) {
	var rows []struct {
		Listener string
		N        int64
	}
	err := r.db.NewSelect().Model((*Delivery)(nil)).Column("listener").ColumnExpr("count(*) AS n").
		Where("state = 0").Group("listener").Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("deliveries: %w", err)
	}
	waiting := make(map[string]int64, len(rows))
	for _, row := range rows {
		waiting[row.Listener] = row.N
	}
	return waiting, nil
}

// Oldest is when the event was received that stands first among the pending deliveries of each
// listener; a replayed one stands where it was put.
func (r *Reader) Oldest(ctx context.Context, listeners []string) (map[string]time.Time, error) {
	oldest := make(map[string]time.Time, len(listeners))
	for _, name := range listeners {
		var received []int64
		err := r.db.NewSelect().TableExpr("deliveries AS d").Join("JOIN events AS e ON e.seq = d.event_seq").Column("e.received_at").
			Where("d.listener = ?", name).Where("d.state = 0").OrderExpr("d.turn").Limit(1).Scan(ctx, &received)
		if err != nil {
			return nil, fmt.Errorf("deliveries of %s: %w", name, err)
		}
		if len(received) > 0 {
			oldest[name] = time.UnixMicro(received[0])
		}
	}
	return oldest, nil
}

func parseState(s string) (core.State, error) {
	names := core.States()
	if i := slices.Index(names, s); i >= 0 {
		return core.State(i), nil
	}
	return 0, invalid("state %q is not one of %s", s, strings.Join(names, ", "))
}

// Size is how many bytes the database has, which on PostgreSQL others may share.
func (r *Reader) Size(ctx context.Context) (n int64, err error) {
	query := "SELECT c.page_count * p.page_size FROM pragma_page_count() c, pragma_page_size() p"
	if r.db.Dialect().Name() == dialect.PG {
		query = "SELECT pg_database_size(current_database())"
	}
	if err := r.db.QueryRowContext(ctx, query).Scan(&n); err != nil {
		return 0, unavailable("the size of the database can't be asked for", err)
	}
	return n, nil
}
