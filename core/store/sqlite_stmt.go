package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"github.com/pipehook/pipehook/core"
)

// sqliteStmts are the statements of the writing connection. They go past database/sql to the
// driver: its locks and conversions cost a quarter of an insert, and one owner needs neither.
type sqliteStmts struct {
	begin, commit, rollback                                           *sqliteStmt
	turns, insert, holder, freeKey, stateHolder, since                *sqliteStmt
	insertDelivery, finish, handled, insertAttempt                    *sqliteStmt
	old, forgetAttempts, forgetDeliveries, forgetEvent, forgetHandled *sqliteStmt
	forgetRefused                                                     *sqliteStmt

	all []*sqliteStmt
}

func prepareSQLite(ctx context.Context, conn *sql.Conn) (*sqliteStmts, error) {
	s := &sqliteStmts{}
	texts := []struct {
		stmt **sqliteStmt
		text string
	}{
		{&s.begin, "BEGIN IMMEDIATE"},
		{&s.commit, "COMMIT"},
		{&s.rollback, "ROLLBACK"},
		{&s.turns, "SELECT (SELECT last FROM turns), (SELECT max(seq) FROM events)"},
		{&s.insert, `INSERT INTO events (seq, id, pipeline, source, action, object, object_id, occurred_at, received_at, dedupe_key, remote, header, body, trace, labels, overlay)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`},
		{&s.holder, `SELECT seq, id, received_at FROM events WHERE id = ?
			UNION ALL SELECT seq, id, received_at FROM events WHERE pipeline = ? AND dedupe_key = ? LIMIT 1`},
		{&s.stateHolder, "SELECT id FROM events WHERE pipeline = ? AND dedupe_key = ? AND received_at >= ?"},
		{&s.since, "SELECT id FROM events WHERE seq > ? AND source = ? AND object = ? AND object_id = ? ORDER BY seq LIMIT 1"},
		{&s.freeKey, "UPDATE events SET dedupe_key = NULL WHERE seq = ?"},
		{&s.insertDelivery, "INSERT INTO deliveries (event_seq, listener, state, attempts, next_at, turn, record) VALUES (?, ?, 0, 0, ?, ?, ?)"},
		{&s.finish, `UPDATE deliveries SET state = ?1, attempts = CASE WHEN ?2 > 0 THEN ?2 ELSE attempts END, next_at = ?3, finished_at = ?4,
			duration_us = ?5, last_error = ?6, code = ?7, crashes = crashes + ?8, output = ?12 WHERE event_seq = ?9 AND listener = ?10
			AND state = 0 AND turn = ?11 AND (?1 <> 0 OR attempts < ?2)`},
		{&s.handled, `INSERT INTO handled (listener, record, occurred_at) VALUES (?, ?, ?)
			ON CONFLICT (listener, record) DO UPDATE SET occurred_at = max(occurred_at, excluded.occurred_at)`},
		{&s.insertAttempt, `INSERT OR REPLACE INTO attempts (event_seq, listener, run, number, started_at, duration_us, error, code, output)
			SELECT event_seq, listener, replays, ?3, ?4, ?5, ?6, ?7, ?8 FROM deliveries WHERE event_seq = ?1 AND listener = ?2`},
		{&s.old, `SELECT seq, received_at, EXISTS (SELECT 1 FROM deliveries d WHERE d.event_seq = seq AND d.state = 0),
			coalesce(length(body), 0) + length(header) + length(trace) + length(labels) + length(overlay) + 500
			FROM events WHERE seq > ? ORDER BY seq LIMIT ?`},
		{&s.forgetAttempts, "DELETE FROM attempts WHERE event_seq = ?"},
		{&s.forgetDeliveries, "DELETE FROM deliveries WHERE event_seq = ?"},
		{&s.forgetEvent, "DELETE FROM events WHERE seq = ?"},
		{&s.forgetHandled, "DELETE FROM handled WHERE occurred_at < ?"},
		{&s.forgetRefused, "DELETE FROM refused WHERE at < ?"},
	}
	err := conn.Raw(func(raw any) error {
		preparer, ok := raw.(driver.ConnPrepareContext)
		if !ok {
			return fmt.Errorf("the SQLite driver's connection is a %T", raw)
		}
		for _, t := range texts {
			prepared, err := preparer.PrepareContext(ctx, t.text)
			if err != nil {
				return fmt.Errorf("prepare %q: %w", t.text, err)
			}
			*t.stmt = &sqliteStmt{exe: prepared.(driver.StmtExecContext), query: prepared.(driver.StmtQueryContext), closer: prepared}
			s.all = append(s.all, *t.stmt)
		}
		return nil
	})
	return s, err
}

func (s *sqliteStmts) close() error {
	var errs []error
	for _, st := range s.all {
		errs = append(errs, st.closer.Close())
	}
	return errors.Join(errs...)
}

// insertEvent reports false when the key or the id is taken.
func (s *sqliteStmts) insertEvent(seq int64, ev *core.Event, key, body []byte) (bool, error) {
	var dedupeKey any
	if key != nil {
		dedupeKey = key
	}
	n, err := s.insert.exec(seq, ev.ID, ev.Pipeline, ev.Source, plainText(ev.Action), plainText(ev.Object), plainText(ev.ObjectID),
		micros(ev.OccurredAt), micros(ev.ReceivedAt), dedupeKey, remoteText(ev.Remote), headerText(ev.Header), body, ev.Trace(),
		ev.LabelsText(), overlayText(ev))
	return n > 0, err
}

// sqliteStmt is one prepared statement. It belongs to whoever holds the writing connection.
type sqliteStmt struct {
	exe    driver.StmtExecContext
	query  driver.StmtQueryContext
	closer driver.Stmt
	args   []driver.NamedValue
}

// bind takes int64, string, []byte and nil; the slice is used again by the next call.
func (s *sqliteStmt) bind(values []any) []driver.NamedValue {
	s.args = s.args[:0]
	for i, v := range values {
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return s.args
}

func (s *sqliteStmt) result(values ...any) (driver.Result, error) {
	return s.exe.ExecContext(context.Background(), s.bind(values))
}

func (s *sqliteStmt) run(values ...any) error {
	_, err := s.result(values...)
	return err
}

// exec returns how many rows changed.
func (s *sqliteStmt) exec(values ...any) (int64, error) {
	r, err := s.result(values...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (s *sqliteStmt) all(values ...any) (_ [][]driver.Value, err error) {
	rows, err := s.query.QueryContext(context.Background(), s.bind(values))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var found [][]driver.Value
	for {
		values := make([]driver.Value, len(rows.Columns()))
		switch err := rows.Next(values); {
		case errors.Is(err, io.EOF):
			return found, nil
		case err != nil:
			return nil, err
		}
		found = append(found, values)
	}
}

// one is the first row; it fails when there is none.
func (s *sqliteStmt) one(values ...any) ([]driver.Value, error) {
	found, err := s.all(values...)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, sql.ErrNoRows
	}
	return found[0], nil
}
