package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/failpoint"
)

// manageBatch is how many deliveries one transaction changes, so that none stands long in the way
// of an answer.
const manageBatch = 500

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

// set changes the deliveries that are as only says.
func (m *Manager) set(ctx context.Context, tx bun.Tx, keys []core.DeliveryKey, set, only string) (n int64, err error) {
	if !m.sqlite {
		seqs, listeners := arrays(keys)
		return affected(tx.ExecContext(ctx, "UPDATE deliveries d SET "+set+` FROM unnest(?::bigint[], ?::text[]) AS k (seq, name)
			WHERE d.event_seq = k.seq AND d.listener = k.name AND d.`+only, seqs, listeners))
	}
	for _, k := range keys {
		changed, err := affected(tx.ExecContext(ctx, "UPDATE deliveries SET "+set+" WHERE event_seq = ? AND listener = ? AND "+only, k.Seq, k.Listener))
		if err != nil {
			return n, err
		}
		n += changed
	}
	return n, nil
}

func affected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// arrays are the keys as PostgreSQL takes them.
func arrays(keys []core.DeliveryKey) (seqs, listeners string) {
	var s, l array
	for _, k := range keys {
		s.int(k.Seq)
		l.text(k.Listener)
	}
	return s.literal(), l.literal()
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
			if err := m.tell(ctx, tx, keys); err != nil {
				return err
			}
			n, err = change(tx, keys)
			failpoint.Pass(failpoint.Replay)
			return err
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

const anew = "state = 0, attempts = 0, crashes = 0, finished_at = 0, replays = replays + 1, next_at = "

// replayBatch draws the turns and uses them in one statement: those that were drawn long before
// they can be seen would be behind what readers have passed by then. The events are kept from being
// deleted until the commit; those that are gone by then are left out.
const replayBatch = `WITH kept AS MATERIALIZED (
	SELECT seq FROM events WHERE seq = ANY(?0::bigint[]) ORDER BY seq FOR KEY SHARE
), wanted AS MATERIALIZED (
	SELECT k.seq, k.name FROM unnest(?0::bigint[], ?1::text[]) WITH ORDINALITY AS k (seq, name, n)
	JOIN kept ON kept.seq = k.seq ORDER BY k.n
), placed AS MATERIALIZED (
	SELECT seq, name, nextval(pg_get_serial_sequence('events', 'seq')) AS place FROM wanted
) UPDATE deliveries d SET ` + anew + `pipehook_now(), turn = placed.place FROM placed
	WHERE d.event_seq = placed.seq AND d.listener = placed.name AND d.state <> 0`

// keepSuccess writes down the attempt that succeeded, which stands with its delivery as long as that
// is done.
const keepSuccess = `INSERT INTO attempts (event_seq, listener, run, number, started_at, duration_us, error, code, output)
	SELECT event_seq, listener, replays, attempts, finished_at - duration_us, duration_us, '', code, output FROM deliveries
	WHERE state = 1 AND attempts > 0 AND `

// again makes the deliveries pending, each with a turn behind all there are.
func (m *Manager) again(ctx context.Context, tx bun.Tx, keys []core.DeliveryKey) (n int64, err error) {
	if !m.sqlite {
		seqs, listeners := arrays(keys)
		_, err := tx.ExecContext(ctx, keepSuccess+"(event_seq, listener) IN (SELECT * FROM unnest(?::bigint[], ?::text[])) ON CONFLICT DO NOTHING", seqs, listeners)
		if err != nil {
			return 0, err
		}
		return affected(tx.ExecContext(ctx, replayBatch, seqs, listeners))
	}
	// Events are numbered above what is taken here; see sqlite.readTurn.
	if _, err := tx.ExecContext(ctx, "UPDATE turns SET last = max(last, (SELECT COALESCE(max(seq), 0) FROM events))"); err != nil {
		return 0, err
	}
	for i, k := range keys {
		if _, err := tx.ExecContext(ctx, "UPDATE turns SET last = last + 1"); err != nil {
			return n, err
		}
		if _, err := tx.ExecContext(ctx, keepSuccess+"event_seq = ? AND listener = ? ON CONFLICT DO NOTHING", k.Seq, k.Listener); err != nil {
			return n, err
		}
		changed, err := m.set(ctx, tx, keys[i:i+1], anew+m.clock()+", turn = (SELECT last FROM turns)", "state <> 0")
		if err != nil {
			return n, err
		}
		n += changed
	}
	return n, nil
}

// tell lets who serves the deliveries know, with the commit, that they are others now. It comes before
// the change, since it may wait for whoever changes others of a listener; in the order of the names,
// so that two never wait for each other.
func (m *Manager) tell(ctx context.Context, tx bun.Tx, keys []core.DeliveryKey) error {
	var listeners []string
	for _, k := range keys {
		listeners = append(listeners, k.Listener)
	}
	slices.Sort(listeners)
	for _, l := range slices.Compact(listeners) {
		_, err := tx.ExecContext(ctx, `INSERT INTO edits (listener, number) VALUES (?, 1)
			ON CONFLICT (listener) DO UPDATE SET number = edits.number + 1`, l)
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
