package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// takeoverWithin is how soon what a dead process held must be in other hands.
const takeoverWithin = 30 * time.Second

// replicas are processes that share a PostgreSQL, each in a folder of its own as on a machine of
// its own.
type replicas struct {
	r        *round
	db       *sql.DB
	projects []*project
	victims  []*victim // who serves there, or did last
}

func (r *round) newReplicas(ctx context.Context, change func(p *project)) (_ *replicas, err error) {
	if r.options.replicas < 2 {
		return nil, errSkipped("-replicas is less than 2")
	}
	rs := &replicas{r: r}
	if rs.db, err = r.open(); err != nil {
		return nil, err
	}
	for range r.options.replicas {
		p, err := r.newProject()
		if err != nil {
			return rs, err
		}
		p.spoolAfter = "10s" // while one process spools, the order over several is not promised
		if change != nil {
			change(p)
		}
		if err := p.write(); err != nil {
			return rs, err
		}
		v, err := r.launch(ctx, p, "")
		if err != nil {
			return rs, err
		}
		rs.projects, rs.victims = append(rs.projects, p), append(rs.victims, v)
	}
	for _, v := range rs.victims {
		if err := r.await(ctx, v, 2*r.readyWithin()); err != nil { // one makes the schema, the others wait for it
			return rs, err
		}
	}
	return rs, nil
}

func (rs *replicas) close() {
	if rs != nil {
		_ = rs.db.Close() // it was read only
	}
}

// awaitShares waits until every process serves something.
func (rs *replicas) awaitShares(ctx context.Context) error {
	var failed error
	err := until(ctx, "every process has shards", takeoverWithin, func() bool {
		for _, p := range rs.projects {
			n, err := rs.shards(ctx, p.replica())
			if failed = err; err != nil || n == 0 {
				return err != nil
			}
		}
		return true
	})
	return cmp.Or(failed, err)
}

// shards is how many the process with the number holds, alive or not.
func (rs *replicas) shards(ctx context.Context, number string) (n int, err error) {
	err = rs.db.QueryRowContext(ctx, "SELECT count(*) FROM shards WHERE holder::text = $1", number).Scan(&n)
	return n, err
}

// replica is the number under which other processes know the one of the folder.
func (p *project) replica() string {
	text, _ := os.ReadFile(p.numberFile()) // without, nobody has been there
	return strings.TrimSpace(string(text))
}

func (p *project) numberFile() string { return filepath.Join(p.dir, "spool", "1", "number") }

// takeover waits until others have all shards of a process that died.
type takeover struct {
	number string
	since  time.Time
	seat   int // who may be started again afterwards; -1 for nobody
}

// fleet is the state of F16.
type fleet struct {
	*replicas
	back    []time.Time // when a dead process is started again
	pending []takeover
	slowest time.Duration
	kills   int
	taken   int
}

// replicasDie is F16: of several processes one after the other is killed. Most are started again
// soon and go on with their shards, some stay dead until others have taken over, and some come back
// under another number, as on a new machine, so that others must take over from the old one.
func replicasDie(ctx context.Context, r *round) error {
	rs, err := r.newReplicas(ctx, nil)
	defer rs.close()
	if err != nil {
		return err
	}
	f := &fleet{replicas: rs, back: make([]time.Time, len(rs.projects))}
	every := 5 * time.Second
	if r.short {
		every, r.load.rate = 1100*time.Millisecond, 100
	}
	r.load.shared, r.rules.several = true, true
	r.load.begin(ctx, rs.projects...)
	began, last := time.Now(), time.Time{}
	for time.Since(began) < r.duration || f.waiting() {
		if time.Since(began) < r.duration && time.Since(last) >= every && f.alive() > 1 {
			last = time.Now()
			if err := f.kill(ctx); err != nil {
				return err
			}
		}
		if err := f.look(ctx); err != nil {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	r.count("%d kills of %d processes, %d takeovers in %s at most", f.kills, len(f.victims), f.taken, f.slowest.Round(100*time.Millisecond))
	if err := r.end(ctx, f.victims...); err != nil {
		return err
	}
	r.checkWaste(f.kills)
	r.count("%s the longest from an answer to its run", r.longestWait("ordered").Round(100*time.Millisecond))
	return nil
}

func (f *fleet) waiting() bool { return len(f.pending) > 0 || f.alive() < len(f.victims) }

func (f *fleet) alive() (n int) {
	for _, v := range f.victims {
		if v.alive() {
			n++
		}
	}
	return n
}

// kill kills one that lives and decides how it comes back.
func (f *fleet) kill(ctx context.Context) error {
	i := f.r.rng.IntN(len(f.victims))
	if f.kills == 0 { // one that holds something, so soon
		first, err := f.holderOf(ctx, 0)
		if err != nil {
			return err
		}
		i = max(0, first)
	}
	for !f.victims[i].alive() {
		i = (i + 1) % len(f.victims)
	}
	p := f.projects[i]
	dead := takeover{number: p.replica(), since: time.Now(), seat: -1}
	f.victims[i].kill()
	f.kills++
	soon := 2 * time.Second
	if f.r.short {
		soon /= 4
	}
	f.back[i] = time.Now().Add(f.r.between(0, soon))
	if len(f.pending) > 0 || f.kills%5 != 1 { // a process that is gone counts until its lease ends: one at a time
		return nil
	}
	f.pending = append(f.pending, dead)
	if f.kills%10 == 6 { // nobody comes back under its number
		return os.Remove(p.numberFile())
	}
	f.pending[0].seat, f.back[i] = i, time.Now().Add(time.Hour) // it stays dead
	return nil
}

// look starts again whom it is time for, and notes what has been taken over.
func (f *fleet) look(ctx context.Context) (err error) {
	for i, v := range f.victims {
		if !v.alive() && !time.Now().Before(f.back[i]) {
			if f.victims[i], err = f.r.start(ctx, f.projects[i], f.r.readyWithin()); err != nil {
				return err
			}
		}
	}
	for i, dead := range f.pending {
		left, err := f.shards(ctx, dead.number)
		if err != nil {
			return err
		}
		took := time.Since(dead.since)
		if left > 0 && took < 2*takeoverWithin {
			continue
		}
		if took > takeoverWithin {
			f.r.fail("I7", "%s after a process was killed %d of its shards were still its own", took.Round(time.Millisecond), left)
		}
		f.slowest = max(f.slowest, took)
		f.taken++
		if dead.seat >= 0 {
			f.back[dead.seat] = time.Now()
		}
		f.pending = slices.Delete(f.pending, i, i+1)
		return nil
	}
	return nil
}

// checkWaste bounds what kills made run again: what was running, and what had ended in the moment
// that a commit takes.
func (r *round) checkWaste(kills int) {
	const running = 4 + 4 + 1 // what the listeners do at a time
	commit := 100 * time.Millisecond
	if r.short {
		commit = 500 * time.Millisecond // the short form shares the disk with other tests
	}
	perKill := running + int(float64(r.load.rate*len(r.rules.listeners))*commit.Seconds())
	if r.again > kills*perKill {
		r.fail("I3", "%d runs were made again after %d kills, more than %d for each", r.again, kills, perKill)
	}
}

// longestWait is how long an event was answered before the listener had it.
func (r *round) longestWait(listener string) (longest time.Duration) {
	begun := map[string]time.Time{}
	for _, line := range r.runs.said() {
		if first, ok := begun[line.event]; line.listener == listener && line.kind == '>' && (!ok || line.at.Before(first)) {
			begun[line.event] = line.at
		}
	}
	for _, e := range r.load.entries {
		if at, ok := begun[e.id]; ok {
			longest = max(longest, at.Sub(e.acked))
		}
	}
	return longest
}

func (rs *replicas) others(i int) []*project {
	others := slices.Clone(rs.projects)
	return slices.Delete(others, i, i+1)
}

// holderOf is the index of the process that holds a shard; -1 for one that is unknown or gone.
func (rs *replicas) holderOf(ctx context.Context, shard int) (int, error) {
	var number string
	if err := rs.db.QueryRowContext(ctx, fmt.Sprintf("SELECT holder::text FROM shards WHERE shard = %d", shard)).Scan(&number); err != nil {
		return -1, err
	}
	return slices.IndexFunc(rs.projects, func(p *project) bool { return p.replica() == number }), nil
}
