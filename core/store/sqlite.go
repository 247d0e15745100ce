package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/database"
	"github.com/pipehook/pipehook/core/failpoint"
)

// sqlite has one writing connection, whose statements stay prepared, and a pool of readers.
type sqlite struct {
	mu    sync.Mutex // one user of conn at a time
	db    *sql.DB
	conn  *sql.Conn
	stmts *sqliteStmts
	lock  *fileLock
	read  *bun.DB
	other *bun.DB // a second writing connection, for what is rare
	now   func() time.Time
	turn  int64 // the highest that is taken

	changes kvQueue
}

func openSQLite(ctx context.Context, loc database.Location, now func() time.Time) (_ backend, _ *bun.DB, err error) {
	if err := os.MkdirAll(filepath.Dir(loc.Path), 0o750); err != nil {
		return nil, nil, err
	}
	s := &sqlite{now: now, changes: kvQueue{turn: make(chan struct{}, 1)}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.lock, err = lockFile(loc.Path + ".lock"); err != nil {
		return nil, nil, err
	}
	if err := database.Own(loc.Path); err != nil {
		return nil, nil, err
	}
	// Larger pages suit bodies of some kB. The WAL is folded back every 1,000 pages (8 MB) and
	// never truncated: overwriting it costs a third of growing it.
	s.db, err = database.SQLite(loc.Path, "page_size(8192)", "journal_mode(WAL)",
		"synchronous(FULL)", "wal_autocheckpoint(1000)", "cache_size(-16384)")
	if err != nil {
		return nil, nil, err
	}
	s.db.SetMaxOpenConns(1)
	if err := migrate(ctx, s.db, goose.DialectSQLite3); err != nil {
		return nil, nil, err
	}
	if err := checkPragmas(ctx, s.db); err != nil {
		return nil, nil, err
	}
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return nil, nil, err
	}
	if s.stmts, err = prepareSQLite(ctx, s.conn); err != nil {
		return nil, nil, err
	}
	if s.read, err = readSQLite(loc); err != nil {
		return nil, nil, err
	}
	if s.other, err = editSQLite(loc); err != nil {
		return nil, nil, err
	}
	return s, s.read, nil
}

// prepare has nothing left to do: the statements could not be prepared before the schema was there.
func (s *sqlite) prepare(context.Context) error { return nil }

func readSQLite(loc database.Location) (*bun.DB, error) {
	db, err := database.SQLite(loc.Path, "query_only(1)", "cache_size(-4096)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	return bun.NewDB(db, sqlitedialect.New(), bun.WithDiscardUnknownColumns()), nil
}

// editSQLite opens the file to change single rows of it, in this process or beside it.
func editSQLite(loc database.Location) (*bun.DB, error) {
	db, err := database.SQLite(loc.Path, "synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return bun.NewDB(db, sqlitedialect.New(), bun.WithDiscardUnknownColumns()), nil
}

func (s *sqlite) blames(error) bool { return true }

func (s *sqlite) edit() *bun.DB { return s.other }

// checkPragmas refuses a file system that silently gives less than was asked for.
func checkPragmas(ctx context.Context, db *sql.DB) error {
	var mode string
	var synchronous int
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil {
		return err
	}
	if mode != "wal" || synchronous != 2 {
		return fmt.Errorf("journal_mode is %s and synchronous is %d instead of wal and 2: the file system can't keep what is acknowledged", mode, synchronous)
	}
	return nil
}

func (s *sqlite) close() error {
	var errs []error
	if s.other != nil {
		errs = append(errs, s.other.Close())
	}
	if s.stmts != nil {
		errs = append(errs, s.stmts.close())
	}
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
}

// inTx runs f in a transaction on the writing connection. Contexts stop at its door: an interrupt
// in the middle of a shared transaction would fail everyone in it.
func (s *sqlite) inTx(f func() error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.stmts.begin.run(); err != nil {
		return err
	}
	if err := f(); err != nil {
		return errors.Join(err, s.stmts.rollback.run())
	}
	failpoint.Pass(failpoint.BeforeEnd)
	if err := s.stmts.commit.run(); err != nil {
		return errors.Join(err, s.stmts.rollback.run())
	}
	return nil
}

func (s *sqlite) write(b *batch) error {
	return s.inTx(func() error {
		for i := range b.attempts {
			if err := s.writeAttempt(&b.attempts[i], b.now); err != nil {
				return err
			}
		}
		if len(b.plans) == 0 {
			return nil
		}
		if err := s.readTurn(); err != nil {
			return err
		}
		for _, p := range b.plans {
			if err := s.writePlan(p, b.now); err != nil {
				return err
			}
		}
		failpoint.Pass(failpoint.AfterInsert)
		return nil
	})
}

// readTurn learns which turns replays have taken since: events are numbered above them, because a
// lane reads only forward.
func (s *sqlite) readTurn() error {
	found, err := s.stmts.turns.one()
	if err != nil {
		return err
	}
	for _, v := range found {
		if n, ok := v.(int64); ok {
			s.turn = max(s.turn, n)
		}
	}
	return nil
}

func (s *sqlite) writeAttempt(a *core.Attempt, now time.Time) error {
	next := int64(0)
	if a.State == core.Waiting {
		next = now.Add(a.Wait).UnixMicro()
	}
	crashed := int64(0)
	if a.Crashed {
		crashed = 1
	}
	changed, err := s.stmts.finish.exec(int64(a.State), int64(a.Number), next, ended(a), a.Took.Microseconds(), a.Err, a.Code,
		crashed, a.Seq, a.Listener, a.Turn, plainText(a.Output))
	if err != nil {
		return err
	}
	if !a.Occurred.IsZero() && a.Record != 0 && a.State == core.Done {
		if err := s.stmts.handled.run(a.Listener, a.Record, a.Occurred.UnixMicro()); err != nil {
			return err
		}
	}
	if changed == 0 || a.State == core.Done || a.Number == 0 { // 0: cancelled or replayed meanwhile, or written before
		return nil
	}
	return s.stmts.insertAttempt.run(a.Seq, a.Listener, int64(a.Number), a.Started.UnixMicro(), a.Took.Microseconds(), a.Err, a.Code, plainText(a.Output))
}

// scan and load use the readers, so they never stand in the way of a commit.
func (s *sqlite) scan(ctx context.Context, q scan) ([]core.Pending, error) {
	query := "SELECT " + pendingColumns + " FROM deliveries d WHERE d.listener = ? AND d.state = 0 AND d.turn > ?"
	args := []any{q.listener, q.after}
	if q.record != 0 {
		query, args = query+" AND d.record = ?", append(args, q.record)
	}
	rows, err := s.read.DB.QueryContext(ctx, query+" ORDER BY d.turn LIMIT ?", append(args, q.limit)...)
	if err != nil {
		return nil, err
	}
	return pendingRows(rows, s.now())
}

// loadFrom keeps SQLite from reading all that is pending of the listener: CROSS JOIN takes the seqs
// first, and the plus hides the index of what is pending.
const loadFrom = `
	FROM json_each(?) k CROSS JOIN deliveries d ON d.event_seq = k.value JOIN events e ON e.seq = d.event_seq
	WHERE d.listener = ? AND +d.state = 0`

func (s *sqlite) load(ctx context.Context, listener string, seqs []int64, newest bool) ([]row, error) {
	newestColumn := "0"
	if newest {
		newestColumn = "COALESCE((SELECT occurred_at FROM handled h WHERE h.listener = d.listener AND h.record = d.record AND d.record <> 0), 0)"
	}
	var list array
	for _, seq := range seqs {
		list.int(seq)
	}
	text := strings.NewReplacer("{", "[", "}", "]").Replace(list.literal())
	rows, err := s.read.DB.QueryContext(ctx, "SELECT "+pendingColumns+", "+newestColumn+", "+eventColumns+loadFrom, text, listener)
	if err != nil {
		return nil, err
	}
	return wholeRows(rows, s.now())
}

// keep has nothing to do: the lock on the file says that nobody else lives.
func (s *sqlite) keep(context.Context, *Store) {}

// size is that of the pages in use: what is deleted leaves pages in the file that are used again.
func (s *sqlite) size(ctx context.Context) (int64, error) {
	var n int64
	err := s.read.QueryRowContext(ctx, `SELECT (c.page_count - f.freelist_count) * p.page_size
		FROM pragma_page_count() c, pragma_freelist_count() f, pragma_page_size() p`).Scan(&n)
	return n, err
}

func (s *sqlite) forget(_ context.Context, age time.Duration, after int64, limit int) (last, freed int64, err error) {
	before := s.now().Add(-age).UnixMicro()
	err = s.inTx(func() error {
		found, err := s.stmts.old.all(after, int64(limit))
		if err != nil {
			return err
		}
		old := false
		for _, values := range found {
			seq, received, pending := values[0].(int64), values[1].(int64), values[2].(int64)
			old = old || received < before
			if last = seq; received >= before || pending != 0 {
				continue
			}
			for _, st := range []*sqliteStmt{s.stmts.forgetAttempts, s.stmts.forgetDeliveries, s.stmts.forgetEvent} {
				if err := st.run(seq); err != nil {
					return err
				}
			}
			failpoint.Pass(failpoint.Retention)
			freed += values[3].(int64)
		}
		if !old { // one alone may have been received by a clock that was wrong
			last = 0
		}
		return nil
	})
	return last, freed, err
}

func (s *sqlite) forgetBeside(_ context.Context, age time.Duration) error {
	before := s.now().Add(-age).UnixMicro()
	return s.inTx(func() error {
		return errors.Join(s.stmts.forgetHandled.run(before), s.stmts.forgetRefused.run(before))
	})
}
