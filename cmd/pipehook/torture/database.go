package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
	"github.com/pipehook/pipehook/core/coretest/pgcluster"
)

// ownDatabase moves the round to a PostgreSQL of its own, which can be broken without anybody else
// noticing.
func (r *round) ownDatabase(ctx context.Context) (_ *pgcluster.Cluster, err error) {
	c, err := pgcluster.New(ctx)
	if err != nil {
		return nil, err
	}
	if err := program.Drop(r.server, r.storeURL); err != nil {
		return c, err
	}
	r.server, r.storeURL = c.URL, ""
	r.storeURL, err = program.Database(ctx, c.URL)
	return c, err
}

// answers waits until the row's server takes connections.
func (r *round) answers(ctx context.Context) error {
	db, err := r.open()
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return until(ctx, "PostgreSQL answers", 30*time.Second, func() bool { return db.PingContext(ctx) == nil })
}

// databaseRestarts is F12: the database goes away and comes back. With the spool nobody notices.
func databaseRestarts(ctx context.Context, r *round) error {
	least, most, times := time.Second, 60*time.Second, 20
	if r.short {
		least, most, times = 500*time.Millisecond, time.Second, 2
	}
	c, err := r.ownDatabase(ctx)
	if c != nil {
		defer func() { _ = c.Close() }()
	}
	if err != nil {
		return err
	}
	p, err := r.newProject()
	if err != nil {
		return err
	}
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	r.load.begin(ctx, p)
	for n := range times {
		if err := r.load.more(ctx, 20, 30*time.Second); err != nil {
			return err
		}
		if err := c.Stop(ctx, []string{"fast", "immediate"}[n%2]); err != nil {
			return err
		}
		if err := pause(ctx, r.between(least, most)); err != nil {
			return err
		}
		if err := c.Start(ctx); err != nil {
			return err
		}
	}
	r.load.finish(20 * time.Second)
	r.nobodyDropped()
	r.count("%d restarts", times)
	return r.end(ctx, v)
}

// backendsDie is F13: the database ends connections, by hand and because one of its processes was
// killed, which makes it end all and recover.
func backendsDie(ctx context.Context, r *round) error {
	c, err := r.ownDatabase(ctx)
	if c != nil {
		defer func() { _ = c.Close() }()
	}
	if err != nil {
		return err
	}
	p, err := r.newProject()
	if err != nil {
		return err
	}
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	r.load.begin(ctx, p)
	db, err := program.Open(c.URL)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	ended, killed := 0, 0
	for n := range max(6, r.kills/5) {
		if err := r.load.more(ctx, 5, 30*time.Second); err != nil {
			return err
		}
		var pids []int
		rows, err := db.QueryContext(ctx, "SELECT pid FROM pg_stat_activity WHERE application_name = 'pipehook' ORDER BY pid")
		err = each(rows, err, scanInto(&pids))
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			continue
		}
		pid := pids[r.rng.IntN(len(pids))]
		if n%6 == 5 {
			killed++
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				return err
			}
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return err
			}
			if err := r.answers(ctx); err != nil {
				return err
			}
			continue
		}
		ended++
		if _, err := db.ExecContext(ctx, fmt.Sprintf("SELECT pg_terminate_backend(%d)", pid)); err != nil {
			return err
		}
	}
	r.load.finish(20 * time.Second)
	r.nobodyDropped()
	r.count("%d connections ended, %d backends killed", ended, killed)
	return r.end(ctx, v)
}

// throughProxy starts a process that reaches its database through a proxy.
func (r *round) throughProxy(ctx context.Context) (*proxy, *victim, error) {
	u, err := url.Parse(r.storeURL)
	if err != nil {
		return nil, nil, err
	}
	px, err := newProxy(u.Host)
	if err != nil {
		return nil, nil, err
	}
	u.Host = px.ln.Addr().String()
	p, err := r.newProject()
	if err == nil {
		p.storeURL = u.String()
		err = p.write()
	}
	if err != nil {
		return px, nil, err
	}
	v, err := r.start(ctx, p, r.readyWithin())
	return px, v, err
}

// unknownOutcome is F14: the connection ends after the database has the commit and before pipehook
// has its answer.
func unknownOutcome(ctx context.Context, r *round) error {
	px, v, err := r.throughProxy(ctx)
	if px != nil {
		defer px.close()
	}
	if err != nil {
		return err
	}
	r.load.begin(ctx, v.project)
	times := max(6, r.kills/10)
	for range times {
		if err := r.load.more(ctx, 10, 20*time.Second); err != nil {
			return err
		}
		px.set(weather{deaf: true})
		if err := pause(ctx, r.between(5*time.Millisecond, 200*time.Millisecond)); err != nil {
			return err
		}
		px.set(weather{})
	}
	r.load.finish(20 * time.Second)
	r.nobodyDropped()
	r.count("%d times deaf", times)
	return r.end(ctx, v)
}

// badNetwork is F15.
func badNetwork(ctx context.Context, r *round) error {
	px, v, err := r.throughProxy(ctx)
	if px != nil {
		defer px.close()
	}
	if err != nil {
		return err
	}
	r.load.begin(ctx, v.project)
	if err := r.load.more(ctx, 50, 20*time.Second); err != nil {
		return err
	}
	base, err := v.base(ctx)
	if err != nil {
		return err
	}
	type fault struct {
		name   string
		do     func()
		lasts  time.Duration
		within time.Duration // acknowledged again after it is over
	}
	faults := []fault{
		{"slow", func() { px.set(weather{delay: 50 * time.Millisecond}) }, time.Second, 5 * time.Second},
		{"in pieces", func() { px.set(weather{piece: 100}) }, time.Second, 5 * time.Second},
		{"reset", px.reset, 100 * time.Millisecond, 5 * time.Second},
		{"down", func() { px.set(weather{down: true}); px.reset() }, time.Second, 5 * time.Second},
		{"a hole", func() { px.set(weather{hole: true}) }, 2 * time.Second, 5 * time.Second},
	}
	if !r.short {
		faults = append(faults,
			fault{"a long hole", func() { px.set(weather{hole: true}) }, 20 * time.Second, 10 * time.Second},
			fault{"forgotten", px.forget, 100 * time.Millisecond, 20 * time.Second})
		faults = slices.Repeat(faults, 5)
	}
	r.rng.Shuffle(len(faults), func(i, k int) { faults[i], faults[k] = faults[k], faults[i] })
	var words []string
	for _, f := range faults {
		f.do()
		if err := pause(ctx, f.lasts); err != nil {
			return err
		}
		px.set(weather{})
		began := time.Now()
		if err := r.load.more(ctx, 2*workers, 60*time.Second); err != nil {
			return fmt.Errorf("after %s: %w", f.name, err)
		}
		took := time.Since(began)
		if took > f.within {
			r.fail("I7", "after %s it took %s until all were acknowledged again, not %s", f.name, took.Round(time.Millisecond), f.within)
		}
		words = append(words, fmt.Sprintf("%s %s", f.name, took.Round(10*time.Millisecond)))
	}
	if len(words) > len(faults)/5*2 && !r.short {
		words = words[:len(faults)/5*2]
	}
	r.count("well again after %s", strings.Join(words, ", "))
	if err := r.settled(ctx, v, base); err != nil {
		return err
	}
	r.nobodyDropped()
	if r.load.longest > 3*time.Second {
		r.fail("I5", "an answer took %s", r.load.longest)
	}
	return r.end(ctx, v)
}
