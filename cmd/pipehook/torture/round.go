package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
)

const (
	sqlite   = "sqlite"
	postgres = "postgres"
)

// row is one fault.
type row struct {
	name, title string
	stores      []string // nil for both
	skipped     string   // why it can't be run yet
	run         func(ctx context.Context, r *round) error
}

type torture struct {
	options
	dir, bin string
	out      io.Writer
}

// errSkipped is the reason why a row can't be run.
type errSkipped string

func (e errSkipped) Error() string { return string(e) }

// round is one row on one store.
type round struct {
	*torture
	store    string
	home     string // its folder
	server   string // on which its database is
	storeURL string
	rng      *rand.Rand
	started  time.Time

	projects []*project
	victims  []*victim // every process there was
	load     *load
	marked   *bodies // of events that a plugin treats in its own way; nil before the first
	runs     runs
	rules    rules
	counts   []string
	schema   int64 // its version when the row began
	again    int   // how often what was completed was completed again
	crashes  bool  // what is done ends pipehook itself

	mu    sync.Mutex
	wrong []string
}

// do runs a row on a store and prints what came of it. It returns false when it failed.
func (t *torture) do(ctx context.Context, w row, store string) bool {
	r := &round{torture: t, store: store, started: time.Now(), home: filepath.Join(t.dir, w.name+"-"+store), rng: t.random(w.name, store)}
	err := r.prepare(ctx)
	if err == nil {
		err = w.run(ctx, r)
	}
	for _, v := range r.victims {
		v.kill() // those that are left after a failure
	}
	if r.load != nil {
		r.load.stop()
	}
	took := time.Since(r.started).Round(100 * time.Millisecond)
	if skipped, ok := errors.AsType[errSkipped](err); ok {
		t.clean(r, true)
		fmt.Fprintf(t.out, "%-4s %-8s SKIPPED %s: %s\n", w.name, store, w.title, skipped)
		return true
	}
	if err != nil && ctx.Err() == nil {
		r.wrong = append(r.wrong, "the row ended early: "+err.Error())
	}
	verdict := "PASS"
	if len(r.wrong) > 0 || ctx.Err() != nil {
		verdict = "FAIL"
	}
	fmt.Fprintf(t.out, "%-4s %-8s %-7s %s: %s, %s\n", w.name, store, verdict, w.title, strings.Join(r.counts, ", "), took)
	for _, line := range r.wrong[:min(len(r.wrong), 20)] {
		fmt.Fprintln(t.out, "      ", line)
	}
	if more := len(r.wrong) - 20; more > 0 {
		fmt.Fprintf(t.out, "       and %d more\n", more)
	}
	if verdict == "FAIL" {
		fmt.Fprintf(t.out, "       again: make torture TORTUREFLAGS=%q; what is left: %s\n", t.again(w.name, store), r.home)
	}
	t.clean(r, verdict == "PASS")
	return verdict == "PASS"
}

// again are the flags that repeat a row.
func (t *torture) again(name, store string) string {
	flags := fmt.Sprintf("-rows %s -store %s -seed %d -kills %d -duration %s -rate %d -replicas %d", name, store, t.seed, t.kills, t.duration, t.rate, t.replicas)
	if t.short {
		flags += " -short"
	}
	return flags
}

// random is a row's own source, so that a row can be repeated alone.
func (t *torture) random(parts ...string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, strings.Join(parts, "/")) // never fails
	return rand.New(rand.NewPCG(t.seed, h.Sum64()))
}

func (r *round) prepare(ctx context.Context) (err error) {
	if err := os.MkdirAll(r.home, 0o700); err != nil {
		return err
	}
	r.load = newLoad(r)
	r.rules = rules{statuses: map[int]bool{200: true}, listeners: []string{"loose", "moody", "ordered"}}
	if r.store == sqlite {
		r.storeURL = "sqlite:" + filepath.Join(r.home, "torture.db")
		return nil
	}
	if r.postgres == "" {
		return errSkipped(program.PostgresEnv + " names no server (make torture brings its own)")
	}
	r.server = r.postgres
	r.storeURL, err = program.Database(ctx, r.server)
	return err
}

// clean removes what the row left, unless somebody wants to look at it.
func (t *torture) clean(r *round, passed bool) {
	if !passed || t.keep {
		return
	}
	_ = os.RemoveAll(r.home)
	if r.store == postgres && r.storeURL != "" {
		_ = program.Drop(r.server, r.storeURL) // its server may be gone
	}
}

// count adds a figure to the row's line.
func (r *round) count(format string, args ...any) {
	r.counts = append(r.counts, fmt.Sprintf(format, args...))
}

// fail notes that an invariant does not hold.
func (r *round) fail(invariant, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, invariant+": "+fmt.Sprintf(format, args...))
}

func (r *round) open() (*sql.DB, error) { return program.Open(r.storeURL) }

// all are the processes there have been so far.
func (r *round) all() []*victim {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.victims)
}

// noteSchema remembers the version of the schema, which nothing here may change.
func (r *round) noteSchema(ctx context.Context) error {
	db, err := r.open()
	if err != nil {
		return err
	}
	r.schema, err = schemaOf(ctx, db)
	return errors.Join(err, db.Close())
}

func schemaOf(ctx context.Context, db *sql.DB) (version int64, err error) {
	err = db.QueryRowContext(ctx, "SELECT max(version_id) FROM pipehook_migrations").Scan(&version)
	return version, err
}

// drain waits until no delivery is pending.
func (r *round) drain(ctx context.Context, within time.Duration) (err error) {
	db, err := r.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	began := time.Now()
	if err := r.unspool(ctx, within); err != nil {
		return err
	}
	for {
		var pending int
		query := "SELECT count(*) FROM deliveries WHERE state = 0"
		if r.rules.strays {
			query += " AND listener IN ('" + strings.Join(r.rules.listeners, "','") + "')"
		}
		if err := db.QueryRowContext(ctx, query).Scan(&pending); err != nil {
			return err
		}
		if pending == 0 {
			return nil
		}
		if time.Since(began) > within {
			r.fail("I2", "%d deliveries are still pending after %s", pending, within)
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// unspool waits until no process that lives keeps events from the store.
func (r *round) unspool(ctx context.Context, within time.Duration) error {
	for _, v := range r.all() {
		if !v.alive() {
			continue
		}
		err := until(ctx, "the spool is empty", within, func() bool {
			figures, err := program.Metrics(v.project.admin)
			return err == nil && figures["pipehook_spool_bytes"] == 0 || !v.alive()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// between is a random time.
func (r *round) between(least, most time.Duration) time.Duration {
	return least + time.Duration(r.rng.Int64N(int64(most-least)+1))
}
