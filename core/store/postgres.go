package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/database"
	"github.com/pipehook/pipehook/core/failpoint"
)

const (
	pgTimeout  = 10 * time.Second // of one statement, as the server and the socket see it
	pgReadPool = 8
)

// postgres writes each batch with one prepared statement on a connection of its own, so that a
// commit is a single round trip. One such connection is enough: a second gained nothing, and one
// keeps the order in which events arrived.
type postgres struct {
	db      *sql.DB // reads and housekeeping
	bun     *bun.DB
	writeDB *sql.DB
	writer  pgWriter     // belongs to the write loop
	replica atomic.Int64 // its number among the processes; keep changes it when another has it too
	loc     database.Location
}

// openPostgres does not connect yet.
func openPostgres(loc database.Location, replica int64) (_ backend, _ *bun.DB, err error) {
	p := &postgres{loc: loc}
	p.replica.Store(replica)
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.db, err = loc.Postgres(pgTimeout, nil); err != nil {
		return nil, nil, err
	}
	p.db.SetMaxOpenConns(pgReadPool)
	p.db.SetMaxIdleConns(pgReadPool)
	p.bun = bun.NewDB(p.db, pgdialect.New(), bun.WithDiscardUnknownColumns())
	// The plan of the one statement is fixed: it is made when the tables are empty, when a scan
	// of everything looks cheap, and must still be right when they are not.
	p.writeDB, err = loc.Postgres(pgTimeout, map[string]any{
		"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off",
		"enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off",
	})
	if err != nil {
		return nil, nil, err
	}
	p.writeDB.SetMaxOpenConns(1)
	p.writeDB.SetMaxIdleConns(1)
	p.writer.db = p.writeDB
	return p, p.bun, nil
}

// prepare uses a connection without a read time-out: it may wait for another process's migration,
// and rebuilding a large table takes its time.
func (p *postgres) prepare(ctx context.Context) error {
	db, err := p.loc.Postgres(0, nil)
	if err != nil {
		return err
	}
	return errors.Join(migrate(ctx, db, goose.DialectPostgres), db.Close())
}

func (p *postgres) edit() *bun.DB { return p.bun }

func (p *postgres) close() error {
	var errs []error
	if p.writeDB != nil {
		errs = append(errs, p.writeDB.Close())
	}
	if p.db != nil {
		errs = append(errs, p.db.Close())
	}
	return errors.Join(errs...)
}

// inShards chooses the deliveries of some shards.
const inShards = "((CASE WHEN d.record = 0 THEN d.event_seq ELSE d.record END) & 63)::int = ANY(?::int[])"

func (p *postgres) scan(ctx context.Context, q scan) ([]core.Pending, error) {
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	query := "SELECT " + pgPending + " FROM deliveries d WHERE d.listener = ? AND d.state = 0 AND d.turn > ?"
	args := []any{q.listener, q.after}
	if q.record != 0 {
		query, args = query+" AND d.record = ?", append(args, q.record)
	}
	if len(q.shards) < core.Shards {
		var shards array
		for _, shard := range q.shards {
			shards.int(int64(shard))
		}
		query, args = query+" AND "+inShards, append(args, shards.literal())
	}
	rows, err := p.bun.QueryContext(ctx, query+" ORDER BY d.turn LIMIT ?", append(args, q.limit)...)
	if err != nil {
		return nil, err
	}
	return pendingRows(rows, time.UnixMicro(0))
}

// pgPending is pendingColumns with the time that is left by the server's clock.
var pgPending = strings.Replace(pendingColumns, "d.next_at", "d.next_at - pipehook_now()", 1)

func (p *postgres) load(ctx context.Context, listener string, seqs []int64, newest bool) ([]row, error) {
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	newestColumn := "0"
	if newest {
		newestColumn = "COALESCE((SELECT occurred_at FROM handled h WHERE h.listener = d.listener AND h.record = d.record AND d.record <> 0), 0)"
	}
	var list array
	for _, seq := range seqs {
		list.int(seq)
	}
	rows, err := p.bun.QueryContext(ctx, "SELECT "+pgPending+", "+newestColumn+", "+eventColumns+`
		FROM deliveries d JOIN events e ON e.seq = d.event_seq
		WHERE d.event_seq = ANY(?::bigint[]) AND d.listener = ? AND d.state = 0`, list.literal(), listener)
	if err != nil {
		return nil, err
	}
	return wholeRows(rows, time.UnixMicro(0))
}

// eventSize is about what an event e takes, without its deliveries.
const eventSize = "coalesce(octet_length(body), 0)::bigint + octet_length(header) + octet_length(trace) + octet_length(labels) + octet_length(overlay) + 500"

// sizePage is how many events are added up by one statement, which so stays well inside its limit:
// the driver can't end one early.
const sizePage = 20_000

func (p *postgres) size(ctx context.Context) (int64, error) { return p.sum(ctx, sizePage) }

func (p *postgres) sum(ctx context.Context, page int) (total int64, err error) {
	for after := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, last, bytes, err := p.sumPage(ctx, after, page)
		if err != nil {
			return 0, err
		}
		if total += bytes; n < page {
			return total, nil
		}
		after = last
	}
}

func (p *postgres) sumPage(ctx context.Context, after int64, page int) (n int, last, bytes int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	err = p.db.QueryRowContext(ctx, `SELECT count(*), coalesce(max(seq), 0), coalesce(sum(bytes), 0)::bigint
		FROM (SELECT seq, `+eventSize+` AS bytes FROM events WHERE seq > $1 ORDER BY seq LIMIT $2) e`, after, page).Scan(&n, &last, &bytes)
	return n, last, bytes, err
}

// lockOld looks at a page of events and locks those of them that may be deleted. It leaves out what
// somebody else has locked, for that is being replayed.
const lockOld = `WITH clock AS MATERIALIZED (SELECT pipehook_now() - $3::bigint AS oldest
), looked AS MATERIALIZED (
	SELECT seq, received_at FROM events WHERE seq > $1 ORDER BY seq LIMIT $2
), locked AS MATERIALIZED (
	SELECT seq FROM events WHERE seq IN (SELECT seq FROM looked, clock WHERE received_at < oldest)
	AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_seq = seq AND d.state = 0) FOR UPDATE SKIP LOCKED
) SELECT max(seq), (SELECT coalesce(array_agg(seq), '{}')::text FROM locked)
	FROM looked HAVING min(received_at) < (SELECT oldest FROM clock)`

// forgetLocked deletes what is locked unless it has become pending in between: a statement sees only
// what was committed before it began, and not what a lock has waited for.
const forgetLocked = `WITH old AS MATERIALIZED (
	SELECT seq, ` + eventSize + ` AS bytes FROM events WHERE seq = ANY($1::bigint[])
	AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_seq = seq AND d.state = 0)
), a AS (DELETE FROM attempts WHERE event_seq IN (SELECT seq FROM old)
), d AS (DELETE FROM deliveries WHERE event_seq IN (SELECT seq FROM old)
), e AS (DELETE FROM events WHERE seq IN (SELECT seq FROM old)
) SELECT coalesce(sum(bytes), 0)::bigint FROM old`

func (p *postgres) forget(ctx context.Context, age time.Duration, after int64, limit int) (last, freed int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	var locked string
	err = tx.QueryRowContext(ctx, lockOld, after, limit, age.Microseconds()).Scan(&last, &locked)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, tx.Rollback()
	}
	if err != nil {
		return 0, 0, err
	}
	if err := tx.QueryRowContext(ctx, forgetLocked, locked).Scan(&freed); err != nil {
		return 0, 0, err
	}
	failpoint.Pass(failpoint.Retention)
	return last, freed, tx.Commit()
}

func (p *postgres) forgetBeside(ctx context.Context, age time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, pgTimeout)
	defer cancel()
	_, err := p.db.ExecContext(ctx, `WITH clock AS MATERIALIZED (SELECT pipehook_now() - $1::bigint AS oldest
		), h AS (DELETE FROM handled USING clock WHERE occurred_at < oldest)
		DELETE FROM refused USING clock WHERE at < oldest`, age.Microseconds())
	return err
}

// blames is false for a connection that broke and a server that is away: the next row would only
// wait for them too.
func (p *postgres) blames(err error) bool {
	return database.ServerSaid(err) && !database.Unreachable(err)
}

// write runs the batch's statement. When the connection broke it is run once more on a new one:
// that is safe even if the first run was committed, because an event that is there already is
// recognised by its id, and a result that was saved finds nothing pending.
func (p *postgres) write(b *batch) error {
	err := p.writer.write(b, p.replica.Load())
	if err != nil && !database.ServerSaid(err) {
		if again := p.writer.write(b, p.replica.Load()); again != nil {
			return fmt.Errorf("%w (and before: %w)", again, err)
		}
		return nil
	}
	return err
}
