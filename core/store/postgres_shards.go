package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/pipehook/pipehook/core"
)

const (
	// lease is for how long a process holds its shards without renewing. It is longer than a stalled
	// disk or a slow database usually takes, and bounds how long a dead one's work waits.
	lease      = 15 * time.Second
	renewEvery = 5 * time.Second

	// leavingEvery is how often a process that has too many shards looks whether some are idle.
	leavingEvery = 100 * time.Millisecond

	// editedPayload says that something was changed by hand.
	editedPayload = "edited"

	// lostEvery is how often a database is tried that does not answer.
	lostEvery = 500 * time.Millisecond
)

// keep renews the lease, takes free shards and hands surplus ones back until ctx ends; then it
// gives all back, so that others need not wait for the lease.
func (p *postgres) keep(ctx context.Context, s *Store) {
	if !p.awaitReady(ctx, s) {
		return
	}
	heard := p.listen(ctx, s)
	var failing bool
	first := true // what this process held before it was started again is under an old token
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			continue
		case n := <-heard:
			if n.Payload == "" || n.Payload == editedPayload {
				s.intake.Look(n.Payload == editedPayload)
				continue
			} // shards have become free
		case <-timer.C:
		}
		began := time.Now()
		done, err := p.balance(ctx, s, began, first)
		if err != nil && ctx.Err() == nil && !failing {
			s.opts.Log.Error("the lease could not be renewed; others take over when it ends", "err", err)
		}
		if err == nil && failing {
			s.opts.Log.Info("the lease is renewed again")
		}
		failing = err != nil
		first = first && err != nil
		switch {
		case err != nil:
			timer.Reset(lostEvery)
		case done.surplus:
			timer.Reset(leavingEvery)
		default:
			timer.Reset(renewEvery)
		}
		if done.gained || done.others {
			s.intake.Look(done.gained)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pgTimeout)
	defer cancel()
	if err := p.handBack(ctx); err != nil {
		s.opts.Log.Warn("the shards could not be handed back; others take them when the lease ends", "err", err)
	}
	s.holds.set(nil, time.Time{})
}

// awaitReady waits for a database that could not be reached when the process started; false means
// that ctx has ended before.
func (p *postgres) awaitReady(ctx context.Context, s *Store) bool {
	var said string
	for !s.ready.Load() {
		select {
		case <-time.After(lostEvery):
		case <-ctx.Done():
			return false
		}
		err := s.prepare(ctx)
		switch {
		case err == nil:
			s.opts.Log.Info("the database is reached")
		case err.Error() != said && ctx.Err() == nil:
			said = err.Error()
			s.opts.Log.Error("the database can't be used yet", "err", err)
		}
	}
	return true
}

// listen wakes this process when another has stored something. A lost wake-up costs a few seconds.
func (p *postgres) listen(ctx context.Context, s *Store) <-chan pgdriver.Notification {
	ln := pgdriver.NewListener(p.bun)
	if err := ln.Listen(ctx, "pipehook"); err != nil && ctx.Err() == nil {
		s.opts.Log.Warn("not woken by other processes yet; looking every few seconds", "err", err)
	}
	context.AfterFunc(ctx, func() { _ = ln.Close() })
	return ln.Channel()
}

// round is what a look at the shards came to.
type round struct {
	surplus bool // there are more than our share, some perhaps still busy
	gained  bool // there are new ones
	others  bool // another process lives
}

// balance runs one round in a transaction: renew, count who lives, take or leave.
func (p *postgres) balance(ctx context.Context, s *Store, began time.Time, first bool) (done round, err error) {
	ctx, cancel := context.WithTimeout(ctx, renewEvery)
	defer cancel()
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return round{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	var live int
	err = tx.QueryRowContext(ctx, `WITH me AS (
			INSERT INTO replicas (id, name, lease_until) VALUES ($1, $2, pipehook_now() + $3)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, lease_until = excluded.lease_until RETURNING id
		), gone AS (DELETE FROM replicas WHERE lease_until < pipehook_now() - 3600000000
		) SELECT (SELECT count(*) FROM me) + (SELECT count(*) FROM replicas WHERE id <> $1 AND lease_until > pipehook_now())`,
		p.replica, s.opts.Name, lease.Microseconds()).Scan(&live)
	if err != nil {
		return round{}, err
	}
	if first {
		if _, err := tx.ExecContext(ctx, "UPDATE shards SET epoch = epoch + 1 WHERE holder = $1", p.replica); err != nil {
			return round{}, err
		}
	}
	mine, err := p.held(ctx, tx)
	if err != nil {
		return round{}, err
	}
	fair := (core.Shards + live - 1) / live
	var idle []int
	if n := fair - len(mine); n > 0 {
		s.holds.leave(0)
		if err := p.take(ctx, tx, n, mine); err != nil {
			return round{}, err
		}
	} else if n < 0 {
		done.surplus = true
		if idle = s.holds.leave(-n); len(idle) > 0 {
			if err := p.giveBack(ctx, tx, idle); err != nil {
				return round{}, err
			}
			for _, shard := range idle {
				delete(mine, shard)
			}
		}
	}
	if err := tx.Commit(); err != nil {
		return round{}, err
	}
	done.gained, done.others = s.holds.set(mine, began.Add(lease)), live > 1
	return done, nil
}

func (p *postgres) held(ctx context.Context, tx *sql.Tx) (map[int]int64, error) {
	rows, err := tx.QueryContext(ctx, "SELECT shard, epoch FROM shards WHERE holder = $1", p.replica)
	if err != nil {
		return nil, err
	}
	mine := map[int]int64{}
	return mine, intoShards(rows, mine)
}

// take claims up to n shards that nobody holds whose lease still runs.
func (p *postgres) take(ctx context.Context, tx *sql.Tx, n int, mine map[int]int64) error {
	rows, err := tx.QueryContext(ctx, `WITH free AS (
			SELECT shard FROM shards WHERE holder <> $1
			AND NOT EXISTS (SELECT 1 FROM replicas r WHERE r.id = shards.holder AND r.lease_until > pipehook_now())
			ORDER BY shard LIMIT $2 FOR UPDATE SKIP LOCKED
		) UPDATE shards s SET holder = $1, epoch = epoch + 1 FROM free WHERE s.shard = free.shard RETURNING s.shard, s.epoch`, p.replica, n)
	if err != nil {
		return err
	}
	return intoShards(rows, mine)
}

func (p *postgres) giveBack(ctx context.Context, tx *sql.Tx, shards []int) error {
	var list array
	for _, shard := range shards {
		list.int(int64(shard))
	}
	_, err := tx.ExecContext(ctx, "UPDATE shards SET holder = 0 WHERE holder = $1 AND shard = ANY($2::int[])", p.replica, list.literal())
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "SELECT pg_notify('pipehook', 'free')")
	return err
}

func (p *postgres) handBack(ctx context.Context) error {
	_, err := p.db.ExecContext(ctx, `WITH gone AS (DELETE FROM replicas WHERE id = $1
		), free AS (UPDATE shards SET holder = 0 WHERE holder = $1)
		SELECT pg_notify('pipehook', 'free')`, p.replica)
	return err
}

func intoShards(rows *sql.Rows, into map[int]int64) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var shard int
		var epoch int64
		if err := rows.Scan(&shard, &epoch); err != nil {
			return err
		}
		into[shard] = epoch
	}
	return rows.Err()
}
