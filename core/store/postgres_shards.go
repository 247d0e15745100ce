package store

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
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

// keeper is what keep remembers between its rounds.
type keeper struct {
	*postgres
	s           *Store
	incarnation int64 // tells this process from another that has its number, as a copied machine does
	first       bool  // what this process held before it was started again is under an old token
	failing     bool  // the last round failed
	trouble     core.Trouble
	patient     time.Time // until then nothing is taken from others that look dead
}

// keep renews the lease, takes free shards and hands surplus ones back until ctx ends; then it
// gives all back, so that others need not wait for the lease.
func (p *postgres) keep(ctx context.Context, s *Store) {
	k := &keeper{postgres: p, s: s, incarnation: rand.Int64(), first: true}
	away := !s.ready.Load()
	if !p.awaitReady(ctx, s) {
		return
	}
	if away {
		k.patient = time.Now().Add(renewEvery)
	}
	heard := p.listen(ctx, s)
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
		timer.Reset(k.round(ctx))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pgTimeout)
	defer cancel()
	if err := k.handBack(ctx); err != nil {
		s.opts.Log.Warn("the shards could not be handed back; others take them when the lease ends", "err", err)
	}
	s.holds.set(nil, moment{})
}

// round looks at the shards and says when to do so again.
func (k *keeper) round(ctx context.Context) (next time.Duration) {
	done, err := k.balance(ctx, clocks())
	if errors.Is(err, errTaken) {
		k.renumber()
		return 0
	}
	if ctx.Err() == nil {
		k.trouble.Note(k.s.opts.Log, time.Now(), err, "the lease could not be renewed; others take over when it ends", "the lease is renewed again")
	}
	k.failing = err != nil
	if err != nil {
		return lostEvery
	}
	k.first = false
	if done.others {
		k.s.shared.Store(true)
	}
	if done.gained || done.others {
		k.s.intake.Look(done.gained)
	}
	if done.surplus {
		return leavingEvery
	}
	return renewEvery
}

// errTaken means that another process has this one's number.
var errTaken = errors.New("another process has the number of this one")

// renumber goes on as a process that serves nothing yet. What it served is the other's.
func (k *keeper) renumber() {
	before, now := k.replica.Load(), 1+rand.Int64N(1<<62)
	k.s.holds.set(nil, moment{})
	k.replica.Store(now)
	k.first = true
	k.s.opts.Log.Error("another process has this one's number, so this one goes on under a new one; was the machine or its spool.dir copied?",
		"number", before, "new", now)
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
func (k *keeper) balance(ctx context.Context, began moment) (done round, err error) {
	ctx, cancel := context.WithTimeout(ctx, renewEvery)
	defer cancel()
	tx, err := k.db.BeginTx(ctx, nil)
	if err != nil {
		return round{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	live, err := k.renew(ctx, tx, began)
	if err != nil {
		return round{}, err
	}
	if k.first {
		if _, err := tx.ExecContext(ctx, "UPDATE shards SET epoch = epoch + 1 WHERE holder = $1", k.replica.Load()); err != nil {
			return round{}, err
		}
	}
	mine, err := k.held(ctx, tx)
	if err != nil {
		return round{}, err
	}
	fair := (core.Shards + live - 1) / live
	surplus := max(len(mine)-fair, 0)
	idle, stays := k.s.holds.leave(surplus)
	if len(idle) > 0 {
		if err := k.giveBack(ctx, tx, idle); err != nil {
			return round{}, err
		}
		for _, shard := range idle {
			delete(mine, shard)
		}
	}
	if n := fair - len(mine); n > 0 && surplus == 0 {
		if err := k.take(ctx, tx, n, mine, began.steady.Before(k.patient)); err != nil {
			return round{}, err
		}
	}
	if err := tx.Commit(); err != nil {
		return round{}, err
	}
	gained := k.s.holds.set(mine, began.add(lease))
	return round{surplus: surplus > 0, gained: gained || stays, others: live > 1}, nil
}

// renew says that this process lives, and counts those that do. One whose own lease was over, or could
// not be renewed, takes nothing from others at first: they look dead because the database was away
// from them too, and what they run would run twice.
func (k *keeper) renew(ctx context.Context, tx *sql.Tx, began moment) (live int, err error) {
	var me, others int
	var known, over bool
	err = tx.QueryRowContext(ctx, `WITH before AS MATERIALIZED (
			SELECT lease_until FROM replicas WHERE id = $1
		), me AS (
			INSERT INTO replicas (id, name, lease_until, incarnation) VALUES ($1, $2, pipehook_now() + $3, $4)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, lease_until = excluded.lease_until, incarnation = excluded.incarnation
			WHERE $5 OR replicas.incarnation = excluded.incarnation RETURNING id
		), gone AS (DELETE FROM replicas WHERE id <> $1 AND lease_until < pipehook_now() - 3600000000
		) SELECT (SELECT count(*) FROM me), (SELECT count(*) FROM replicas WHERE id <> $1 AND lease_until > pipehook_now()),
			EXISTS (SELECT 1 FROM before), EXISTS (SELECT 1 FROM before WHERE lease_until < pipehook_now())`,
		k.replica.Load(), k.s.opts.Name, lease.Microseconds(), k.incarnation, k.first).Scan(&me, &others, &known, &over)
	if err != nil {
		return 0, err
	}
	if me == 0 {
		return 0, errTaken
	}
	if over || k.failing || !known && !k.first {
		k.patient = began.steady.Add(renewEvery)
	}
	return me + others, nil
}

func (p *postgres) held(ctx context.Context, tx *sql.Tx) (map[int]int64, error) {
	rows, err := tx.QueryContext(ctx, "SELECT shard, epoch FROM shards WHERE holder = $1", p.replica.Load())
	if err != nil {
		return nil, err
	}
	mine := map[int]int64{}
	return mine, intoShards(rows, mine)
}

// take claims up to n shards that nobody holds whose lease still runs; with patience only those that
// were handed back.
func (p *postgres) take(ctx context.Context, tx *sql.Tx, n int, mine map[int]int64, patience bool) error {
	rows, err := tx.QueryContext(ctx, `WITH free AS (
			SELECT shard FROM shards WHERE holder <> $1 AND (holder = 0 OR NOT $3
			AND NOT EXISTS (SELECT 1 FROM replicas r WHERE r.id = shards.holder AND r.lease_until > pipehook_now()))
			ORDER BY shard LIMIT $2 FOR UPDATE SKIP LOCKED
		) UPDATE shards s SET holder = $1, epoch = epoch + 1 FROM free WHERE s.shard = free.shard RETURNING s.shard, s.epoch`,
		p.replica.Load(), n, patience)
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
	_, err := tx.ExecContext(ctx, "UPDATE shards SET holder = 0 WHERE holder = $1 AND shard = ANY($2::int[])", p.replica.Load(), list.literal())
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "SELECT pg_notify('pipehook', 'free')")
	return err
}

// handBack leaves alone what another process holds under this one's number.
func (k *keeper) handBack(ctx context.Context) error {
	_, err := k.db.ExecContext(ctx, `WITH gone AS (DELETE FROM replicas WHERE id = $1 AND incarnation = $2 RETURNING id
		), free AS (UPDATE shards SET holder = 0 WHERE holder IN (SELECT id FROM gone))
		SELECT pg_notify('pipehook', 'free')`, k.replica.Load(), k.incarnation)
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
