package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"
)

// kvConn is a connection, a transaction or a pool.
type kvConn interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// kvQueue lets changes share a transaction: whoever has the turn writes all that wait, as the write
// loop does with plans. They wait here and not for the file's lock, which would make commits of
// events wait for SQLite's clock.
type kvQueue struct {
	turn chan struct{} // holds one: whose turn it is

	mu      sync.Mutex
	waiting []*kvWrite
}

const kvBatch = 128 // changes of one transaction

func (q *kvQueue) add(w *kvWrite) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, w)
}

func (q *kvQueue) take() []*kvWrite {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), kvBatch)
	batch := slices.Clone(q.waiting[:n])
	q.waiting = append(q.waiting[:0], q.waiting[n:]...)
	return batch
}

// leave takes a change back that nobody has begun to write. It reports false when somebody has.
func (q *kvQueue) leave(w *kvWrite) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, w)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	return i >= 0
}

// kv writes the change, with others that wait.
func (s *sqlite) kv(ctx context.Context, w *kvWrite) error {
	s.changes.add(w)
	for {
		select {
		case s.changes.turn <- struct{}{}:
		case <-ctx.Done():
			s.changes.leave(w) // when it is too late for that, it is not known what came of it
			return context.Cause(ctx)
		}
		if w.done {
			<-s.changes.turn
			return w.err
		}
		s.writeKV(s.changes.take())
		<-s.changes.turn
	}
}

func (s *sqlite) writeKV(batch []*kvWrite) {
	err := s.inTx(func() error {
		now := s.now()
		for _, w := range batch {
			if err := applySQLite(context.Background(), s.conn, w, now); err != nil {
				return err
			}
		}
		return nil
	})
	for _, w := range batch {
		w.done, w.err = true, err
	}
}

// applySQLite makes the change inside a transaction that nobody else writes beside.
func applySQLite(ctx context.Context, db kvConn, w *kvWrite, now time.Time) error {
	w.ok = false
	var version, expires int64
	err := db.QueryRowContext(ctx, "SELECT version, expires_at FROM kv WHERE script = ? AND key = ?", w.script, w.key).Scan(&version, &expires)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	found := err == nil
	live := found && (expires == 0 || expires > now.UnixMicro())
	if !w.only.holds(live, version) {
		return nil
	}
	if w.value == nil {
		w.ok = live
		if !found {
			return nil
		}
		_, err := db.ExecContext(ctx, "DELETE FROM kv WHERE script = ? AND key = ?", w.script, w.key)
		return err
	}
	if err := db.QueryRowContext(ctx, "UPDATE kv_versions SET last = last + 1 RETURNING last").Scan(&w.version); err != nil {
		return err
	}
	if w.expires = 0; w.ttl > 0 {
		w.expires = now.Add(w.ttl).UnixMicro()
	}
	_, err = db.ExecContext(ctx, `INSERT INTO kv (script, key, value, version, expires_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (script, key) DO UPDATE SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at`,
		w.script, w.key, w.value, w.version, w.expires)
	w.ok = err == nil
	return err
}

func (s *sqlite) forgetKV(_ context.Context, limit int) (n int64, err error) {
	err = s.inTx(func() error {
		n, err = affected(s.conn.ExecContext(context.Background(), `DELETE FROM kv WHERE rowid IN
			(SELECT rowid FROM kv WHERE expires_at > 0 AND expires_at <= ? ORDER BY expires_at LIMIT ?)`, s.now().UnixMicro(), limit))
		return err
	})
	return n, err
}

// The version of an entry that is there is drawn when its row is locked, so that it grows with every
// change. There is always one row: see kvGetSQLite.
const (
	kvUpsert = `WITH w AS (INSERT INTO kv AS k (script, key, value, version, expires_at)
		VALUES ($1, $2, $3, nextval('kv_versions'), CASE WHEN $4 > 0 THEN pipehook_now() + $4 ELSE 0 END)
		ON CONFLICT (script, key) DO UPDATE SET value = excluded.value, version = nextval('kv_versions'), expires_at = excluded.expires_at`
	kvIfAbsent = ` WHERE k.expires_at > 0 AND k.expires_at <= pipehook_now()`
	kvUpdate   = `WITH w AS (UPDATE kv SET value = $3, version = nextval('kv_versions'),
		expires_at = CASE WHEN $4 > 0 THEN pipehook_now() + $4 ELSE 0 END
		WHERE script = $1 AND key = $2 AND version = $5 AND (expires_at = 0 OR expires_at > pipehook_now())`
	kvDelete  = `WITH w AS (DELETE FROM kv WHERE script = $1 AND key = $2 AND (expires_at = 0 OR expires_at > pipehook_now())`
	kvIfSame  = ` AND version = $3`
	kvOutcome = ` RETURNING version, expires_at) SELECT count(*), coalesce(max(version), 0), coalesce(max(expires_at), 0) FROM w`
)

func (p *postgres) kv(ctx context.Context, w *kvWrite) error {
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	return applyPostgres(ctx, p.db, w)
}

// applyPostgres makes the change in a transaction of its own.
func applyPostgres(ctx context.Context, db kvConn, w *kvWrite) error {
	query, args := kvDelete, []any{w.script, w.key}
	switch {
	case w.value == nil && w.only.on:
		query, args = query+kvIfSame, append(args, w.only.version)
	case w.value == nil:
	case w.only.on && w.only.version != 0:
		query, args = kvUpdate, append(args, w.value, w.ttl.Microseconds(), w.only.version)
	case w.only.on:
		query, args = kvUpsert+kvIfAbsent, append(args, w.value, w.ttl.Microseconds())
	default:
		query, args = kvUpsert, append(args, w.value, w.ttl.Microseconds())
	}
	var n int
	err := db.QueryRowContext(ctx, query+kvOutcome, args...).Scan(&n, &w.version, &w.expires)
	if errors.Is(err, sql.ErrNoRows) {
		err = errNoAnswer
	}
	w.ok = err == nil && n > 0
	return err
}

func (p *postgres) forgetKV(ctx context.Context, limit int) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	return affected(p.db.ExecContext(ctx, `DELETE FROM kv USING (
			SELECT script, key FROM kv WHERE expires_at > 0 AND expires_at <= pipehook_now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
		) old WHERE kv.script = old.script AND kv.key = old.key AND kv.expires_at > 0 AND kv.expires_at <= pipehook_now()`, limit))
}

// KVSet sets a value beside the processes that serve; see Store.KVSet. It does not count entries.
func (m *Manager) KVSet(ctx context.Context, script, key string, value []byte, o KVSetting) (KVEntry, bool, error) {
	w, err := newKVSet(script, key, value, o)
	if err != nil {
		return KVEntry{}, false, err
	}
	if err := m.kv(ctx, w); err != nil || !w.ok {
		return KVEntry{}, false, err
	}
	return w.entry(), true, nil
}

// KVDelete deletes an entry beside the processes that serve; see Store.KVDelete.
func (m *Manager) KVDelete(ctx context.Context, script, key string, ifVersion *string) (bool, error) {
	w, err := newKVDelete(script, key, ifVersion)
	if err != nil {
		return false, err
	}
	err = m.kv(ctx, w)
	return w.ok && err == nil, err
}

func (m *Manager) kv(ctx context.Context, w *kvWrite) (err error) {
	if !m.sqlite {
		if err := applyPostgres(ctx, m.db.DB, w); err != nil {
			return kvAway(err)
		}
		return nil
	}
	tx, err := m.db.DB.BeginTx(ctx, nil)
	if err != nil {
		return kvAway(err)
	}
	if err := applySQLite(ctx, tx, w, time.Now()); err != nil {
		return kvAway(errors.Join(err, tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return kvAway(err)
	}
	return nil
}
