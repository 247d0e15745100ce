package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	driver "modernc.org/sqlite"

	"github.com/pipehook/pipehook/core"
)

// sqlite has one writing connection, whose statements stay prepared, and a pool of readers.
type sqlite struct {
	mu    sync.Mutex // one user of conn at a time
	db    *sql.DB
	conn  *sql.Conn
	stmts *sqliteStmts
	lock  *fileLock
	owner int64
}

// sqliteDSN opens the file so that a commit is on disk when it returns. busy_timeout comes first:
// the other pragmas may have to wait for a lock themselves.
func sqliteDSN(path string, pragmas ...string) string {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{"busy_timeout(5000)"}, pragmas...)}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

func openSQLite(ctx context.Context, loc location, owner int64) (_ backend, _ *bun.DB, err error) {
	if err := os.MkdirAll(filepath.Dir(loc.path), 0o750); err != nil {
		return nil, nil, err
	}
	s := &sqlite{owner: owner}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.lock, err = lockFile(loc.path + ".lock"); err != nil {
		return nil, nil, err
	}
	// As SQLite does where it is built for the system: the time stamp that fsync also writes needs a
	// commit of the file system's journal. Some systems have no fdatasync; then fsync it is.
	if _, err := driver.Fdatasync(true); err != nil && !errors.Is(err, driver.ErrFdatasyncUnavailable) {
		return nil, nil, err
	}
	// Larger pages suit bodies of some kB. The WAL is folded back every 1,000 pages (8 MB) and
	// never truncated: overwriting it costs a third of growing it.
	s.db, err = sql.Open("sqlite", sqliteDSN(loc.path, "page_size(8192)", "journal_mode(WAL)",
		"synchronous(FULL)", "wal_autocheckpoint(1000)", "cache_size(-16384)"))
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
	read, err := readSQLite(loc)
	if err != nil {
		return nil, nil, err
	}
	return s, read, nil
}

func readSQLite(loc location) (*bun.DB, error) {
	db, err := sql.Open("sqlite", sqliteDSN(loc.path, "query_only(1)", "cache_size(-4096)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	return bun.NewDB(db, sqlitedialect.New(), bun.WithDiscardUnknownColumns()), nil
}

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

func (s *sqlite) writers() int { return 1 }

func (s *sqlite) close() error {
	var errs []error
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
	if err := s.stmts.commit.run(); err != nil {
		return errors.Join(err, s.stmts.rollback.run())
	}
	return nil
}

func (s *sqlite) write(b *batch) error {
	return s.inTx(func() error {
		for i := range b.attempts {
			if err := s.writeAttempt(&b.attempts[i]); err != nil {
				return err
			}
		}
		for _, p := range b.plans {
			if err := s.writePlan(p, b.now); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *sqlite) writePlan(p *plan, now time.Time) error {
	p.seq, p.deliver = 0, false
	ev := p.ev
	key, first, err := s.dedupe(p, now)
	if err != nil {
		return err
	}
	duplicate := first != ""
	if duplicate {
		p.receipt = core.Receipt{ID: first, Duplicate: true}
	} else {
		p.receipt = core.Receipt{ID: ev.ID}
	}
	if p.seq == 0 && ev.Plan.Store && (!duplicate || ev.Plan.StoreDuplicate) {
		if p.seq, err = s.stmts.insertEvent(ev, key, ev.Body); err != nil {
			return err
		}
	}
	p.deliver = p.seq != 0 && ev.Plan.Store && (!duplicate || ev.Plan.DeliverDuplicate)
	if !p.deliver {
		return nil
	}
	for i, listener := range ev.Plan.Listeners {
		owner, next := int64(0), now
		if p.held[i] {
			owner, next = s.owner, now.Add(Lease)
		}
		if err := s.stmts.insertDelivery.run(p.seq, listener, next.UnixMicro(), owner); err != nil {
			return err
		}
	}
	return nil
}

// dedupe tries to insert the event under its key. The insert that conflicts is the duplicate: then
// first is the id of the event that holds the key. It returns the key still to be written.
func (s *sqlite) dedupe(p *plan, now time.Time) (key []byte, first string, err error) {
	ev := p.ev
	if ev.Plan.Key == nil {
		return nil, "", nil
	}
	body := ev.Body
	if !ev.Plan.Store {
		body = nil
	}
	if p.seq, err = s.stmts.insertEvent(ev, ev.Plan.Key, body); err != nil || p.seq != 0 {
		return nil, "", err
	}
	found, err := s.stmts.byKey.one(ev.Pipeline, ev.Plan.Key)
	if err != nil {
		return nil, "", err
	}
	seq, id, received := found[0].(int64), found[1].(string), found[2].(int64)
	if ev.Plan.Window == 0 || received >= now.Add(-ev.Plan.Window).UnixMicro() {
		return nil, id, nil
	}
	if err := s.stmts.freeKey.run(seq); err != nil {
		return nil, "", err
	}
	p.seq, err = s.stmts.insertEvent(ev, ev.Plan.Key, body)
	return nil, "", err
}

func (s *sqlite) writeAttempt(a *core.Attempt) error {
	next, finished := attemptTimes(a)
	changed, err := s.stmts.finish.exec(int64(a.State), int64(a.Number), next, finished, a.Took.Microseconds(), a.Err, a.Code,
		a.Seq, a.Listener, s.owner)
	if err != nil || changed == 0 || a.State == core.Done { // 0: another process has taken the delivery over; its result counts
		return err
	}
	return s.stmts.insertAttempt.run(a.Seq, a.Listener, int64(a.Number), a.Started.UnixMicro(), a.Took.Microseconds(), a.Err, a.Code)
}

func (s *sqlite) claim(_ context.Context, listener string, limit int, now time.Time) ([]row, error) {
	var rows []row
	err := s.inTx(func() error {
		found, err := s.stmts.due.all(listener, now.UnixMicro(), int64(limit))
		if err != nil {
			return err
		}
		rows = make([]row, len(found))
		for i, values := range found {
			if err := rows[i].scan(into(values)); err != nil {
				return err
			}
			if err := s.stmts.hold.run(now.Add(Lease).UnixMicro(), s.owner, rows[i].seq, listener); err != nil {
				return err
			}
		}
		return nil
	})
	return rows, err
}

// adopt takes every held delivery that is not ours: the lock on the file says nobody else lives.
func (s *sqlite) adopt(_ context.Context, listener string, now time.Time) (n int64, err error) {
	err = s.inTx(func() error {
		n, err = s.stmts.adopt.exec(now.UnixMicro(), listener, now.UnixMicro(), s.owner)
		return err
	})
	return n, err
}

func (s *sqlite) renew(_ context.Context, keys []core.DeliveryKey, until time.Time) error {
	return s.inTx(func() error {
		for _, k := range keys {
			if err := s.stmts.renew.run(until.UnixMicro(), k.Seq, k.Listener, s.owner); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *sqlite) forget(_ context.Context, before time.Time, after int64, limit int) (last int64, err error) {
	err = s.inTx(func() error {
		found, err := s.stmts.old.all(after, int64(limit))
		if err != nil {
			return err
		}
		for _, values := range found {
			seq, received, pending := values[0].(int64), values[1].(int64), values[2].(int64)
			if received >= before.UnixMicro() {
				last = 0
				return nil
			}
			if last = seq; pending != 0 {
				continue
			}
			for _, st := range []*sqliteStmt{s.stmts.forgetAttempts, s.stmts.forgetDeliveries, s.stmts.forgetEvent} {
				if err := st.run(seq); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return last, err
}
