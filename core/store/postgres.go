package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/pipehook/pipehook/core"
)

const (
	// aliveClass is the first key of the advisory lock by which a process shows that it lives; the
	// second is its owner number.
	aliveClass = 0x70697065

	pgWriters  = 1
	pgTimeout  = 10 * time.Second // of one statement, as the server and the socket see it
	pgReadPool = 8
)

// postgres writes each batch with one prepared statement on a connection of its own, so that a
// commit is a single round trip.
type postgres struct {
	db      *sql.DB // reads, claims and housekeeping
	writeDB *sql.DB
	free    chan *pgWriter
	alive   *sql.Conn // holds the advisory lock
	aliveMu chan struct{}
	owner   int64
}

func openPostgres(ctx context.Context, loc location, owner int64) (_ backend, _ *bun.DB, err error) {
	p := &postgres{owner: owner, free: make(chan *pgWriter, pgWriters), aliveMu: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if err := migratePostgres(ctx, loc); err != nil {
		return nil, nil, err
	}
	if p.db, err = connectPostgres(loc, pgTimeout, nil); err != nil {
		return nil, nil, err
	}
	p.db.SetMaxOpenConns(pgReadPool)
	p.db.SetMaxIdleConns(pgReadPool)
	// The plan of the one statement is fixed: it is made when the tables are empty, when a scan
	// of everything looks cheap, and must still be right when they are not.
	p.writeDB, err = connectPostgres(loc, pgTimeout, map[string]any{
		"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off",
		"enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off",
	})
	if err != nil {
		return nil, nil, err
	}
	p.writeDB.SetMaxOpenConns(pgWriters)
	p.writeDB.SetMaxIdleConns(pgWriters)
	for range pgWriters {
		p.free <- &pgWriter{db: p.writeDB}
	}
	if err := p.showAlive(ctx); err != nil {
		return nil, nil, err
	}
	return p, bun.NewDB(p.db, pgdialect.New(), bun.WithDiscardUnknownColumns()), nil
}

// migratePostgres uses a connection without a read time-out: it may wait for another process's
// migration, and rebuilding a large table takes its time.
func migratePostgres(ctx context.Context, loc location) error {
	db, err := connectPostgres(loc, 0, nil)
	if err != nil {
		return err
	}
	return errors.Join(migrate(ctx, db, goose.DialectPostgres), db.Close())
}

func (p *postgres) writers() int { return pgWriters }

func (p *postgres) close() error {
	var errs []error
	if p.alive != nil {
		errs = append(errs, p.alive.Close())
	}
	if p.writeDB != nil {
		errs = append(errs, p.writeDB.Close())
	}
	if p.db != nil {
		errs = append(errs, p.db.Close())
	}
	return errors.Join(errs...)
}

// showAlive holds the lock that says this owner lives, and takes it again when its connection is
// gone. The lock goes when the process does, whatever ended it.
func (p *postgres) showAlive(ctx context.Context) error {
	p.aliveMu <- struct{}{}
	defer func() { <-p.aliveMu }()
	if p.alive != nil {
		if p.alive.PingContext(ctx) == nil {
			return nil
		}
		_ = p.alive.Close() // broken already
		p.alive = nil
	}
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1, $2)", aliveClass, p.owner); err != nil {
		return errors.Join(err, conn.Close())
	}
	p.alive = conn
	return nil
}

func (p *postgres) claim(ctx context.Context, listener string, limit int, now time.Time) (_ []row, err error) {
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	found, err := p.db.QueryContext(ctx, `WITH due AS (
			SELECT event_seq, listener FROM deliveries WHERE listener = $1 AND state = 0 AND next_at <= $2
			ORDER BY next_at, event_seq LIMIT $3 FOR UPDATE SKIP LOCKED
		), d AS (
			UPDATE deliveries t SET next_at = $4, owner = $5 FROM due
			WHERE t.event_seq = due.event_seq AND t.listener = due.listener RETURNING t.event_seq, t.attempts
		) SELECT `+columns+` FROM d JOIN events e ON e.seq = d.event_seq ORDER BY d.event_seq`,
		listener, now.UnixMicro(), limit, now.Add(Lease).UnixMicro(), p.owner)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	var rows []row
	for found.Next() {
		var r row
		if err := r.scan(found.Scan); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, found.Err()
}

func (p *postgres) adopt(ctx context.Context, listener string, now time.Time) (int64, error) {
	if err := p.showAlive(ctx); err != nil {
		return 0, err
	}
	return p.exec(ctx, `UPDATE deliveries SET next_at = $1, owner = 0
		WHERE listener = $2 AND state = 0 AND next_at > $1 AND owner NOT IN (0, $3) AND NOT EXISTS (
			SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = $4 AND objid::bigint = deliveries.owner
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`,
		now.UnixMicro(), listener, p.owner, aliveClass)
}

func (p *postgres) renew(ctx context.Context, keys []core.DeliveryKey, until time.Time) error {
	var seqs, listeners array
	for _, k := range keys {
		seqs.int(k.Seq)
		listeners.text(k.Listener)
	}
	_, err := p.exec(ctx, `UPDATE deliveries d SET next_at = $1 FROM unnest($2::bigint[], $3::text[]) AS k (seq, listener)
		WHERE d.event_seq = k.seq AND d.listener = k.listener AND d.owner = $4 AND d.state = 0`,
		until.UnixMicro(), seqs.literal(), listeners.literal(), p.owner)
	return err
}

func (p *postgres) forget(ctx context.Context, before time.Time, after int64, limit int) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	var last sql.NullInt64
	err := p.db.QueryRowContext(ctx, `WITH looked AS MATERIALIZED (
			SELECT seq, received_at FROM events WHERE seq > $1 ORDER BY seq LIMIT $2
		), old AS MATERIALIZED (
			SELECT seq FROM looked WHERE received_at < $3
			AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_seq = seq AND d.state = 0)
		), a AS (DELETE FROM attempts WHERE event_seq IN (SELECT seq FROM old)
		), d AS (DELETE FROM deliveries WHERE event_seq IN (SELECT seq FROM old)
		), e AS (DELETE FROM events WHERE seq IN (SELECT seq FROM old))
		SELECT max(seq) FROM looked HAVING max(received_at) < $3`,
		after, limit, before.UnixMicro()).Scan(&last)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return last.Int64, err
}

func (p *postgres) exec(ctx context.Context, query string, args ...any) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	r, err := p.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// write runs the batch's statement. When the connection broke it is run once more on a new one:
// that is safe even if the first run was committed, because an event that is there already is
// recognised by its id.
func (p *postgres) write(b *batch) error {
	w := <-p.free
	defer func() { p.free <- w }()
	err := w.write(b, p.owner)
	if err != nil && !serverSaid(err) {
		if again := w.write(b, p.owner); again != nil {
			return fmt.Errorf("%w (and before: %w)", again, err)
		}
		return nil
	}
	return err
}
