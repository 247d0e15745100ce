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
	begin, commit, rollback                            *sqliteStmt
	insert, byKey, freeKey                             *sqliteStmt
	insertDelivery, finish, insertAttempt              *sqliteStmt
	due, hold, adopt, renew                            *sqliteStmt
	old, forgetAttempts, forgetDeliveries, forgetEvent *sqliteStmt

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
		{&s.insert, `INSERT INTO events (id, pipeline, source, action, object, object_id, occurred_at, received_at, dedupe_key, remote, header, body)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (pipeline, dedupe_key) WHERE dedupe_key IS NOT NULL DO NOTHING`},
		{&s.byKey, "SELECT seq, id, received_at FROM events WHERE pipeline = ? AND dedupe_key = ?"},
		{&s.freeKey, "UPDATE events SET dedupe_key = NULL WHERE seq = ?"},
		{&s.insertDelivery, "INSERT INTO deliveries (event_seq, listener, state, attempts, next_at, owner) VALUES (?, ?, 0, 0, ?, ?)"},
		{&s.finish, `UPDATE deliveries SET state = ?, attempts = ?, next_at = ?, owner = 0, finished_at = ?, duration_us = ?, last_error = ?, code = ?
			WHERE event_seq = ? AND listener = ? AND owner = ? AND state = 0`},
		{&s.insertAttempt, "INSERT INTO attempts (event_seq, listener, number, started_at, duration_us, error, code) VALUES (?, ?, ?, ?, ?, ?, ?)"},
		{&s.due, "SELECT " + columns + ` FROM deliveries d JOIN events e ON e.seq = d.event_seq
			WHERE d.listener = ? AND d.state = 0 AND d.next_at <= ? ORDER BY d.next_at, d.event_seq LIMIT ?`},
		{&s.hold, "UPDATE deliveries SET next_at = ?, owner = ? WHERE event_seq = ? AND listener = ?"},
		{&s.adopt, "UPDATE deliveries SET next_at = ?, owner = 0 WHERE listener = ? AND state = 0 AND next_at > ? AND owner NOT IN (0, ?)"},
		{&s.renew, "UPDATE deliveries SET next_at = ? WHERE event_seq = ? AND listener = ? AND owner = ? AND state = 0"},
		{&s.old, `SELECT seq, received_at, EXISTS (SELECT 1 FROM deliveries d WHERE d.event_seq = seq AND d.state = 0)
			FROM events WHERE seq > ? ORDER BY seq LIMIT ?`},
		{&s.forgetAttempts, "DELETE FROM attempts WHERE event_seq = ?"},
		{&s.forgetDeliveries, "DELETE FROM deliveries WHERE event_seq = ?"},
		{&s.forgetEvent, "DELETE FROM events WHERE seq = ?"},
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

// insertEvent returns the new row's seq, 0 when the key is taken.
func (s *sqliteStmts) insertEvent(ev *core.Event, key, body []byte) (int64, error) {
	var dedupeKey any
	if key != nil {
		dedupeKey = key
	}
	r, err := s.insert.result(ev.ID, ev.Pipeline, ev.Source, plainText(ev.Action), plainText(ev.Object), plainText(ev.ObjectID),
		micros(ev.OccurredAt), micros(ev.ReceivedAt), dedupeKey, remoteText(ev.Remote), headerText(ev.Header), body)
	if err != nil {
		return 0, err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return 0, err
	}
	return r.LastInsertId()
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

// into makes a scan function over a driver's row, whose values have the columns' own types.
func into(values []driver.Value) func(...any) error {
	return func(dest ...any) error {
		for i, d := range dest {
			switch d := d.(type) {
			case *int64:
				*d, _ = values[i].(int64)
			case *string:
				*d, _ = values[i].(string)
			case *[]byte:
				*d, _ = values[i].([]byte)
			default:
				return fmt.Errorf("column %d: no scan into %T", i, d)
			}
		}
		return nil
	}
}
