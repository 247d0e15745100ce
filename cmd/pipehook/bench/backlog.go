package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"
)

const (
	backlogRecords = 10_000
	slowRate       = 300 // requests a second beside a slow listener
)

// backlogs measures how fast deliveries that wait on disk are made.
func (b *bench) backlogs(ctx context.Context, stores []string) error {
	fmt.Printf("\n%-44s %14s %9s %9s\n", fmt.Sprintf("a backlog of %d, listener in Go, 4 at a time", b.backlog), "deliveries/s", "CPU µs", "RSS MB")
	for _, store := range stores {
		replicas := []int{1, 1}
		names := []string{"unordered", "record"}
		if store == "postgres" {
			replicas, names = append(replicas, 2), append(names, "both")
		}
		url, db, err := b.filled(ctx, store, b.backlog, names)
		if err != nil {
			return err
		}
		var rates []float64
		for i, name := range names {
			c := contest{listener: name, order: "record", what: "0s", processes: replicas[i]}
			if name == "unordered" {
				c.order = "none"
			}
			rate, cpu, rss, err := b.drain(ctx, url, db, c)
			if err != nil {
				return err
			}
			rates = append(rates, rate)
			what := map[string]string{"unordered": "order off", "record": "order on", "both": "order on, two processes"}[name]
			fmt.Printf("%-44s %14.0f %9.0f %9.0f\n", label(store)+", "+what, rate, float64(cpu.Microseconds()), float64(rss)/1e6)
		}
		fmt.Printf("%-44s %13.0f%%   (aim: at least 75 %%)\n", label(store)+", on against off", 100*rates[1]/rates[0])
		if err := db.Close(); err != nil {
			return err
		}
	}
	return nil
}

// empty is a new database.
func (b *bench) empty(store string) (string, *sql.DB, error) {
	b.serial++
	dir := filepath.Join(b.dir, fmt.Sprint(b.serial))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	return b.database(dir, store)
}

// filled is a new store with n events, and deliveries of each to the listeners.
func (b *bench) filled(ctx context.Context, store string, n int, listeners []string) (string, *sql.DB, error) {
	url, db, err := b.empty(store)
	if err != nil {
		return "", nil, err
	}
	return url, db, fill(ctx, b, url, store, n, backlogRecords, listeners)
}

func (b *bench) writable(storeURL, store string) (*sql.DB, error) {
	if store == "sqlite" {
		return sql.Open("sqlite", "file:"+strings.TrimPrefix(storeURL, "sqlite:")+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	}
	return sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(storeURL), pgdriver.WithReadTimeout(5*time.Minute))), nil
}

// engine starts a process with listeners.
func (b *bench) engine(ctx context.Context, storeURL string, listeners ...string) (*process, error) {
	return b.engineOn(ctx, 0, storeURL, listeners...)
}

// engineOn starts it on so many cores, 0 for all.
func (b *bench) engineOn(ctx context.Context, cores int, storeURL string, listeners ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "engine", "-cores", fmt.Sprint(cores), "-url", storeURL, "-listeners", strings.Join(listeners, ","), "-api", b.api)
	if b.profile != "" {
		b.profiles++
		cmd.Args = append(cmd.Args, "-cpu-profile", fmt.Sprintf("%s-engine-%d", b.profile, b.profiles))
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd}
	address, err := bufio.NewReader(out).ReadString('\n')
	p.address = strings.TrimSpace(address)
	return p, err
}

// contest is who works a backlog off.
type contest struct {
	listener, order, what string
	processes, cores      int
}

// drain lets processes deliver what waits for the listener and measures until nothing does.
func (b *bench) drain(ctx context.Context, storeURL string, db *sql.DB, c contest) (rate float64, cpu time.Duration, rss int64, err error) {
	name := c.listener
	start := time.Now()
	var all []*process
	for range c.processes {
		p, err := b.engineOn(ctx, c.cores, storeURL, name+":"+c.order+":"+c.what)
		if err != nil {
			return 0, 0, 0, err
		}
		defer p.stop()
		all = append(all, p)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, 0, 0, ctx.Err()
		}
		err := db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM deliveries WHERE listener = '"+name+"' AND state = 0)").Scan(&waiting)
		if err != nil {
			return 0, 0, 0, err
		}
		if time.Since(start) > 5*time.Minute {
			return 0, 0, 0, fmt.Errorf("%s: not delivered within 5 minutes", name)
		}
	}
	took := time.Since(start)
	for _, p := range all {
		cpu += p.cpu()
		rss = max(rss, p.peakRSS())
	}
	return float64(b.backlog) / took.Seconds(), cpu / time.Duration(b.backlog), rss, nil
}

// besideSlow measures answers while a listener has less and less of what comes: its backlog grows
// all the time. Disks stall now and then, so each round measures both, and the medians are compared.
func (b *bench) besideSlow(ctx context.Context, stores []string) error {
	fmt.Printf("\n%-44s %9s %9s %9s\n", fmt.Sprintf("%d requests/s beside a listener", slowRate), "p50 ms", "p99 ms", "waiting")
	waits := []string{"0s", "200ms"}
	for _, store := range stores {
		results, waiting := make([][]result, len(waits)), make([]int, len(waits))
		for range b.rounds {
			for i, wait := range waits {
				r, n, err := b.besideRound(ctx, store, wait)
				if err != nil {
					return err
				}
				results[i], waiting[i] = append(results[i], r), n
			}
		}
		var p99 []float64
		for i, wait := range waits {
			p99 = append(p99, median(values(results[i], func(r result) float64 { return ms(r.p99) })))
			fmt.Printf("%-44s %9.2f %9.2f %9d\n", label(store)+", listener takes "+wait,
				median(values(results[i], func(r result) float64 { return ms(r.p50) })), p99[i], waiting[i])
		}
		fmt.Printf("%-44s %19.2f   (aim: at most 1.5)\n", label(store)+", p99 with against without", p99[1]/p99[0])
	}
	return nil
}

func (b *bench) besideRound(ctx context.Context, store, wait string) (r result, waiting int, err error) {
	_, db, p, err := b.emptyEngine(ctx, store, "l:record:"+wait)
	if err != nil {
		return r, 0, err
	}
	defer func() { _ = db.Close() }() // it is read only
	defer p.stop()
	return b.beside(ctx, p, db)
}

func (b *bench) emptyEngine(ctx context.Context, store string, listeners ...string) (string, *sql.DB, *process, error) {
	url, db, err := b.empty(store)
	if err != nil {
		return "", nil, nil, err
	}
	p, err := b.engine(ctx, url, listeners...)
	return url, db, p, err
}

func (b *bench) beside(ctx context.Context, p *process, db *sql.DB) (r result, waiting int, err error) {
	if _, err := openLoop(ctx, p.address, b.connections, slowRate, 2*time.Second); err != nil { // warm up
		return r, 0, err
	}
	l, err := openLoop(ctx, p.address, b.connections, slowRate, 2*b.duration)
	if err != nil {
		return r, 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM deliveries WHERE state = 0").Scan(&waiting)
	return summary(l), waiting, err
}

// standing measures memory while very much waits for a slow listener, and events still come.
func (b *bench) standing(ctx context.Context, stores []string) error {
	fmt.Printf("\n%-44s %9s\n", fmt.Sprintf("%d deliveries wait, %d requests/s", b.waiting, slowRate), "RSS MB")
	for _, store := range stores {
		url, db, err := b.filled(ctx, store, b.waiting, []string{"l"})
		if err != nil {
			return err
		}
		p, err := b.engine(ctx, url, "l:record:200ms")
		if err != nil {
			return err
		}
		_, err = openLoop(ctx, p.address, b.connections, slowRate, max(10*time.Second, b.duration))
		rss := p.peakRSS()
		p.stop()
		if err := errors.Join(err, db.Close()); err != nil {
			return err
		}
		fmt.Printf("%-44s %9.0f   (aim: under 200)\n", label(store), float64(rss)/1e6)
		if store == "sqlite" { // a few GB
			if err := os.RemoveAll(filepath.Join(b.dir, fmt.Sprint(b.serial))); err != nil {
				return err
			}
		}
	}
	return nil
}

// parts of the bench, by the name that -part takes.
func (b *bench) wants(part string) bool {
	return b.part == "" || slices.Contains(strings.Split(b.part, ","), part)
}
