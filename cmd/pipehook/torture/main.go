// Command torture runs the real pipehook, does to it what must not harm it, and holds what came of
// it against what it promises. docs/torture.md says what each row does and how to read the output.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
)

type options struct {
	seed     uint64
	stores   string
	rows     string
	kills    int
	duration time.Duration
	rate     int
	replicas int
	short    bool
	keep     bool
	postgres string
}

func main() {
	var o options
	flag.Uint64Var(&o.seed, "seed", rand.Uint64(), "what all that is random comes from")
	flag.StringVar(&o.stores, "store", "both", "sqlite, postgres or both")
	flag.StringVar(&o.rows, "rows", "", "only these, such as F1,F2")
	flag.IntVar(&o.kills, "kills", 0, "how often the rows that kill do so on each store (1000, with -short 12)")
	flag.DurationVar(&o.duration, "duration", 0, "how long the rows last that take their time (10m, with -short 3s)")
	flag.IntVar(&o.rate, "rate", 200, "how many requests are sent in a second")
	flag.IntVar(&o.replicas, "replicas", 3, "how many processes share a PostgreSQL")
	flag.BoolVar(&o.short, "short", false, "a little of everything")
	flag.BoolVar(&o.keep, "keep", false, "keep the folders of rows that pass, too")
	flag.Parse()
	o.postgres = os.Getenv(program.PostgresEnv)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	failed, err := run(ctx, os.Stdout, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
	}
	if err != nil || failed {
		os.Exit(1)
	}
}

// run prints a line for each row and store, and reports whether one of them failed.
func run(ctx context.Context, out io.Writer, o options) (failed bool, err error) {
	o.complete()
	chosen, err := choose(o.rows)
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "pipehook-torture-")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.Remove(dir) }() // stays when a row's folder does
	fmt.Fprintf(out, "seed %d\n", o.seed)
	bin, err := program.Build(ctx, dir, "failpoint")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.Remove(bin) }()
	t := &torture{options: o, dir: dir, bin: bin, out: out}
	for _, row := range chosen {
		if row.skipped != "" {
			fmt.Fprintf(out, "%-4s %-8s SKIPPED %s: %s\n", row.name, "-", row.title, row.skipped)
			continue
		}
		for _, store := range t.storesOf(row) {
			failed = !t.do(ctx, row, store) || failed
			if ctx.Err() != nil {
				return failed, ctx.Err()
			}
		}
	}
	return failed, nil
}

func (o *options) complete() {
	few, long := 1000, 10*time.Minute
	if o.short {
		few, long = 12, 3*time.Second
	}
	if o.kills == 0 {
		o.kills = few
	}
	if o.duration == 0 {
		o.duration = long
	}
}

// choose finds the rows by their names, all when there is none.
func choose(names string) ([]row, error) {
	if names == "" {
		return rows, nil
	}
	var chosen []row
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(rows, func(r row) bool { return strings.EqualFold(r.name, strings.TrimSpace(name)) })
		if i < 0 {
			return nil, fmt.Errorf("there is no row %q", name)
		}
		chosen = append(chosen, rows[i])
	}
	return chosen, nil
}

func (t *torture) storesOf(r row) []string {
	stores := r.stores
	if stores == nil {
		stores = []string{sqlite, postgres}
	}
	if t.stores == "both" {
		return stores
	}
	return slices.DeleteFunc(slices.Clone(stores), func(s string) bool { return s != t.stores })
}
