package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"strconv"

	"github.com/pipehook/pipehook/core"
)

// writeBatch stores events, the deliveries of those that were not duplicates, and the results of
// attempts, all in one statement. Bodies come as one value and are cut on the server: an array
// of them would be quoted twice. An event that conflicts, with a key or with itself, is not
// returned, nor one whose state is a key already, or that comes after what it must not; CASE keeps those questions
// from costing anything where they are not asked. A result counts only under the token with which its attempt began; FOR SHARE keeps that
// token from changing until the result is on disk. It counts once, and not after a replay, which changes
// the turn. The last row says how many other processes live,
// which are told, and that the answer is whole: a connection that ends in the middle looks like the
// end of the rows to database/sql.
const writeBatch = `WITH clock AS MATERIALIZED (SELECT pipehook_now() AS now
), stored AS (
	INSERT INTO events (id, pipeline, source, action, object, object_id, occurred_at, received_at, dedupe_key, remote, header, trace, labels, overlay, body)
	SELECT id, pipeline, source, action, object, object_id, occurred_at, received_at, dedupe_key, remote, header, trace, labels, overlay,
		CASE WHEN body_len >= 0 THEN substring($15::bytea FROM body_at FOR body_len) END
	FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
		$9::bytea[], $10::text[], $11::text[], $12::int[], $13::int[], $14::text[],
		$38::text[], $39::text[], $40::bytea[], $41::bigint[], $42::bigint[])
		AS e (id, pipeline, source, action, object, object_id, occurred_at, received_at, dedupe_key, remote, header, body_at, body_len, trace, labels, overlay,
			state, since_age, after)
	WHERE NOT CASE WHEN e.state IS NULL THEN false ELSE EXISTS (SELECT 1 FROM events s
			WHERE s.pipeline = e.pipeline AND s.dedupe_key = e.state AND (SELECT now FROM clock) - s.received_at <= e.since_age) END
		AND NOT CASE WHEN e.after IS NULL THEN false ELSE EXISTS (SELECT 1 FROM events s
			WHERE s.seq > e.after AND s.source = e.source AND s.object = e.object AND s.object_id = e.object_id) END
	ON CONFLICT DO NOTHING RETURNING seq, id
), delivered AS (
	INSERT INTO deliveries (event_seq, listener, state, attempts, next_at, turn, record)
	SELECT stored.seq, d.listener, 0, 0, clock.now, stored.seq, d.record
	FROM unnest($16::text[], $17::text[], $18::bigint[]) AS d (id, listener, record)
	JOIN stored ON stored.id = d.id, clock
), held AS MATERIALIZED (
	SELECT shard, epoch FROM shards WHERE holder = $19 AND shard = ANY($20::int[]) FOR SHARE
), results AS MATERIALIZED (
	SELECT r.* FROM unnest($20::int[], $21::bigint[], $22::bigint[], $23::text[], $24::int[], $25::int[], $26::bigint[], $27::bigint[], $28::bigint[],
		$29::bigint[], $30::text[], $31::text[], $32::int[], $33::bigint[], $34::bigint[], $35::bigint[], $36::text[])
		AS r (shard, epoch, seq, listener, state, number, wait, started_at, finished_at, duration_us, error, code, crashed, record, occurred, turn, output)
	JOIN held ON held.shard = r.shard AND held.epoch = r.epoch
), finished AS (
	UPDATE deliveries d SET state = r.state, attempts = CASE WHEN r.number > 0 THEN r.number ELSE d.attempts END,
		next_at = CASE WHEN r.state = 0 THEN clock.now + r.wait ELSE 0 END, crashes = d.crashes + r.crashed,
		finished_at = r.finished_at, duration_us = r.duration_us, last_error = r.error, code = r.code, output = r.output
	FROM results r, clock WHERE d.event_seq = r.seq AND d.listener = r.listener
		AND d.state = 0 AND d.turn = r.turn AND (r.state <> 0 OR d.attempts < r.number)
	RETURNING r.state, r.seq, r.listener, d.replays AS run, r.number, r.started_at, r.duration_us, r.error, r.code, r.output
), tried AS (
	INSERT INTO attempts (event_seq, listener, run, number, started_at, duration_us, error, code, output)
	SELECT seq, listener, run, number, started_at, duration_us, error, code, output FROM finished WHERE state <> 1 AND number > 0
	ON CONFLICT DO NOTHING
), marked AS (
	INSERT INTO handled (listener, record, occurred_at)
	SELECT listener, record, max(occurred) FROM results WHERE occurred > 0 AND record <> 0 AND state = 1 GROUP BY listener, record
	ON CONFLICT (listener, record) DO UPDATE SET occurred_at = greatest(handled.occurred_at, excluded.occurred_at)
), others AS MATERIALIZED (
	SELECT count(*) AS n FROM replicas, clock WHERE id <> $19 AND lease_until > clock.now
) SELECT 0, seq, id FROM stored
UNION ALL SELECT 1, epoch, shard::text FROM held
UNION ALL SELECT 2, n, CASE WHEN n > 0 AND $37::bool THEN pg_notify('pipehook', '')::text ELSE '' END FROM others`

// What a row of the answer to writeBatch says.
const (
	rowStored = iota // the event with that id has that number
	rowHeld          // of the attempts' shards this one is held, under that token
	rowOthers        // so many other processes live
)

// pgWriter is one writing connection with the statement prepared on it.
type pgWriter struct {
	db   *sql.DB
	conn *sql.Conn
	stmt *sql.Stmt
}

func (w *pgWriter) prepare(ctx context.Context) (err error) {
	if w.stmt != nil {
		return nil
	}
	if w.conn, err = w.db.Conn(ctx); err != nil {
		return err
	}
	if w.stmt, err = w.conn.PrepareContext(ctx, writeBatch); err != nil {
		w.drop()
	}
	return err
}

// drop gives the connection up for good. The pool would hand it out again, for the driver does not
// tell it about errors of prepared statements; what the server still says to the last question would
// then be taken for the answer to the next.
func (w *pgWriter) drop() {
	_ = w.conn.Raw(func(c any) error { // the connection is given up, whatever it says
		if c, ok := c.(driver.Conn); ok {
			_ = c.Close()
		}
		return driver.ErrBadConn
	})
	if w.stmt != nil {
		_ = w.stmt.Close()
	}
	_ = w.conn.Close()
	w.stmt, w.conn = nil, nil
}

func (w *pgWriter) write(b *batch, replica int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), pgTimeout)
	defer cancel()
	if err := w.prepare(ctx); err != nil {
		return err
	}
	plans, repeats := splitRepeats(b.plans)
	b.others = false
	if err := w.freeKeys(ctx, plans); err != nil {
		w.drop()
		return err
	}
	seqs, err := w.run(ctx, plans, b, replica, keyed)
	if err != nil {
		w.drop()
		return err
	}
	var lost []*plan
	for _, p := range plans {
		if seq, ok := seqs[p.ev.ID]; ok || p.ev.Plan.Empty() {
			p.accept(seq)
		} else {
			lost = append(lost, p)
		}
	}
	for _, p := range append(lost, repeats...) {
		if err := w.duplicate(ctx, p, b, replica); err != nil {
			w.drop()
			return err
		}
	}
	return nil
}

// freeKeys takes the keys whose window is over from the events that hold them, where events come in
// an order: an insert that conflicts is made again behind the rest of its batch.
func (w *pgWriter) freeKeys(ctx context.Context, plans []*plan) error {
	var pipeline, key, window array
	n := 0
	for _, p := range plans {
		if p.failed == nil || p.ev.Plan.Key == nil || p.ev.Plan.Window == 0 {
			continue
		}
		pipeline.text(p.ev.Pipeline)
		key.bytes(p.ev.Plan.Key)
		window.int(p.ev.Plan.Window.Microseconds())
		n++
	}
	if n == 0 {
		return nil
	}
	_, err := w.conn.ExecContext(ctx, `UPDATE events e SET dedupe_key = NULL FROM unnest($1::text[], $2::bytea[], $3::bigint[]) AS k (pipeline, key, age)
		WHERE e.pipeline = k.pipeline AND e.dedupe_key = k.key AND pipehook_now() - e.received_at > k.age`,
		pipeline.literal(), key.literal(), window.literal())
	return err
}

// splitRepeats takes out the plans that something before them in the batch may make duplicates of: it holds
// their key or their state, or is about their record. One statement can't see its own rows. Of events that
// come in an order those behind are taken out too: a repeat whose first is too old is stored after all. So is
// one whose key is asked for by an event before it, since freeKeys would take it away too soon.
func splitRepeats(plans []*plan) (first, repeats []*plan) {
	type key struct{ pipeline, key string }
	held := make(map[key]bool, len(plans))
	asked := map[key]bool{}
	about := map[int64]bool{} // only when somebody asks for it
	compares := slices.ContainsFunc(plans, func(p *plan) bool { return p.ev.Plan.After != 0 })
	first = make([]*plan, 0, len(plans))
	behind := false
	for _, p := range plans {
		want, ordered := &p.ev.Plan, p.failed != nil
		again := ordered && behind
		if want.Key != nil {
			k := key{p.ev.Pipeline, string(want.Key)}
			again = again || held[k] || ordered && asked[k]
			held[k] = true
		}
		if want.State != nil {
			k := key{p.ev.Pipeline, string(want.State)}
			again = again || held[k]
			asked[k] = true
		}
		if compares && !want.Empty() {
			record := p.ev.Record()
			again = again || want.After != 0 && about[record]
			about[record] = record != 0
		}
		if again {
			behind = behind || ordered
			repeats = append(repeats, p)
		} else {
			first = append(first, p)
		}
	}
	return first, repeats
}

// holders are what may have kept an event from being stored, in the order in which they count: itself, what
// forestalled it, and what holds its key.
const holders = `SELECT 0, seq, id, pipehook_now() - received_at FROM events WHERE id = $1
	UNION ALL SELECT 1, seq, id, 0 FROM events WHERE pipeline = $2 AND dedupe_key = $4::bytea AND pipehook_now() - received_at <= $5::bigint
	UNION ALL (SELECT 1, seq, id, 0 FROM events WHERE seq > $6::bigint AND source = $7 AND object = $8 AND object_id = $9 ORDER BY seq LIMIT 1)
	UNION ALL SELECT 2, seq, id, pipehook_now() - received_at FROM events WHERE pipeline = $2 AND dedupe_key = $3::bytea LIMIT 1`

// duplicate settles a plan whose insert conflicted: with an event that forestalled it, with one that holds
// the key, with one whose window is over, or with itself when an earlier run was committed after all.
func (w *pgWriter) duplicate(ctx context.Context, p *plan, b *batch, replica int64) error {
	p.reset()
	ev := p.ev
	var why, seq, age int64
	var id string
	err := w.conn.QueryRowContext(ctx, holders, ev.ID, ev.Pipeline, ev.Plan.Key, ev.Plan.State, windowMicros(ev), afterSeq(ev),
		ev.Source, plainText(ev.Object), plainText(ev.ObjectID)).Scan(&why, &seq, &id, &age)
	switch {
	case errors.Is(err, sql.ErrNoRows): // deleted in between
	case err != nil:
		return err
	case id == ev.ID:
		p.known()
		return nil
	case why == 1 || age <= windowMicros(ev):
		return w.keepDuplicate(ctx, p, id, b, replica)
	default:
		if _, err := w.conn.ExecContext(ctx, "UPDATE events SET dedupe_key = NULL WHERE seq = $1", seq); err != nil {
			return err
		}
	}
	seqs, err := w.alone(ctx, p, b, replica, keyed)
	if err != nil {
		return err
	}
	if seq, ok := seqs[ev.ID]; ok {
		p.accept(seq)
		return nil
	}
	return errors.New("the dedupe key was taken by another process at the same time")
}

func (w *pgWriter) keepDuplicate(ctx context.Context, p *plan, first string, b *batch, replica int64) error {
	p.receipt = core.Receipt{ID: first, Duplicate: true}
	if !p.ev.Plan.StoreDuplicate {
		return nil
	}
	seqs, err := w.alone(ctx, p, b, replica, keyless)
	p.seq, p.deliver = seqs[p.ev.ID], p.ev.Plan.DeliverDuplicate
	return err
}

type keying bool

const (
	keyed   keying = true
	keyless keying = false // a duplicate that is kept all the same
)

// alone runs the statement for one plan of the batch.
func (w *pgWriter) alone(ctx context.Context, p *plan, b *batch, replica int64, k keying) (map[string]int64, error) {
	one := &batch{}
	seqs, err := w.run(ctx, []*plan{p}, one, replica, k)
	b.others = b.others || one.others
	return seqs, err
}

func (w *pgWriter) run(ctx context.Context, plans []*plan, b *batch, replica int64, k keying) (_ map[string]int64, err error) {
	args, news := encodePlans(plans, k)
	labels, overlays := encodeOverlays(plans)
	args = append(args, replica)
	args = append(args, encodeAttempts(b.attempts)...)
	args = append(args, news, labels, overlays)
	rows, err := w.stmt.QueryContext(ctx, append(args, encodeStates(plans, k)...)...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	seqs, whole := make(map[string]int64, len(plans)), false
	b.held = map[int]int64{}
	for rows.Next() {
		var kind int
		var n int64
		var text string
		if err := rows.Scan(&kind, &n, &text); err != nil {
			return nil, err
		}
		switch kind {
		case rowStored:
			seqs[text] = n
		case rowHeld:
			shard, err := strconv.Atoi(text)
			if err != nil {
				return nil, err
			}
			b.held[shard] = n
		case rowOthers:
			whole = true
			b.others = b.others || n > 0
		}
	}
	if !whole && rows.Err() == nil {
		return nil, io.ErrUnexpectedEOF
	}
	return seqs, rows.Err()
}
