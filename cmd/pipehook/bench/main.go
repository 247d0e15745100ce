// Command bench measures pipehook against a bare HTTP handler, each in a process of its own, with
// the load from this one, and prints one table. Only ratios of one run mean anything: the load
// shares the machine with what it measures.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
	"github.com/pipehook/pipehook/core/jshost/worker"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

type options struct {
	rounds      int
	duration    time.Duration
	connections int
	only        string
	postgres    string
	profile     string
	part        string
	backlog     int
	waiting     int
	changes     int
	records     int
}

func main() {
	worker.Main()                                       // a script's process is this program too
	if os.Getenv(wire.Handshake.MagicCookieKey) != "" { // so is the plugin's
		servePlugin()
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "bare" {
		serveBare()
		return
	}
	if len(os.Args) == 4 && os.Args[1] == "echo" {
		if err := serveEcho(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "bench: echo:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "engine" {
		if err := serveEngine(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench: engine:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; the order of the contestants is the same in each")
	flag.DurationVar(&o.duration, "for", 4*time.Second, "how long each round loads each contestant")
	flag.IntVar(&o.connections, "connections", 64, "connections")
	flag.StringVar(&o.only, "only", "", "measure only sqlite or postgres")
	flag.StringVar(&o.profile, "cpu-profile", "", "let the servers write CPU profiles to FILE-store-number")
	flag.StringVar(&o.part, "part", "", "measure only these, with commas between: intake, backlog, slow, standing, scripts, plugins, pipedrive")
	flag.IntVar(&o.backlog, "backlog", 200_000, "deliveries that wait on disk, for the part backlog")
	flag.IntVar(&o.waiting, "waiting", 1_000_000, "deliveries that wait on disk, for the part standing")
	flag.IntVar(&o.changes, "changes", 50_000, "Pipedrive's events that wait on disk, for the part pipedrive")
	flag.IntVar(&o.records, "records", 100_000, "Pipedrive's records that are read and compared, for the part pipedrive")
	flag.Parse()
	o.postgres = os.Getenv(program.PostgresEnv)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "pipehook-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin, err := program.Build(ctx, dir)
	if err != nil {
		return err
	}
	b := &bench{options: o, dir: dir, bin: bin, results: map[string][]result{}}
	stores := b.stores()
	fmt.Printf("%d cores, %s, %d connections, %d rounds of %s, bodies of %d bytes\n\n", runtime.NumCPU(), runtime.Version(), o.connections, o.rounds, o.duration, len(template))
	for _, part := range []struct {
		name string
		run  func(context.Context, []string) error
	}{{"intake", b.intake}, {"backlog", b.backlogs}, {"slow", b.besideSlow}, {"standing", b.standing}, {"scripts", b.scripts}, {"plugins", b.plugins}, {"pipedrive", b.pipedrive}} {
		if b.wants(part.name) {
			if err := part.run(ctx, stores); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	return nil
}

// intake measures the whole chain against the bare handler.
func (b *bench) intake(ctx context.Context, stores []string) error {
	for range b.rounds {
		if err := b.bareRound(ctx); err != nil {
			return err
		}
		for _, store := range stores {
			if err := b.saturate(ctx, store); err != nil {
				return fmt.Errorf("%s: %w", store, err)
			}
		}
	}
	for _, store := range stores {
		if err := b.steady(ctx, store); err != nil {
			return fmt.Errorf("%s at %d/s: %w", store, steadyRate, err)
		}
	}
	b.print(stores)
	return nil
}

func (b *bench) stores() []string {
	all := []string{"sqlite", "postgres"}
	if b.only != "" {
		all = []string{b.only}
	}
	if b.postgres == "" {
		if slices.Contains(all, "postgres") {
			fmt.Println("PostgreSQL is left out: PIPEHOOK_TEST_POSTGRES names no server (make bench brings its own)")
		}
		all = slices.DeleteFunc(all, func(s string) bool { return s == "postgres" })
	}
	return all
}

// result is one contestant in one round, or in the run at a steady rate.
type result struct {
	rate          float64 // answers 200 in a second
	p50, p99      time.Duration
	cpu           time.Duration // of the server, for each request
	handledP50    time.Duration // sent to handled
	handledP99    time.Duration
	rss           int64   // peak bytes resident
	heap          int64   // bytes of heap in use at the end
	allocs, bytes float64 // allocations for each event
}

func (b *bench) print(stores []string) {
	row := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	row("%-28s %22s %9s %9s %9s %8s", "64 connections, closed loop", "requests/s [min-max]", "p50 ms", "p99 ms", "CPU µs", "of bare")
	for _, name := range append([]string{"bare"}, stores...) {
		rs := b.results[name]
		rates := values(rs, func(r result) float64 { return r.rate })
		row("%-28s %22s %9.2f %9.2f %9.0f %8s", label(name), fmt.Sprintf("%.0f [%.0f-%.0f]", median(rates), slices.Min(rates), slices.Max(rates)),
			median(values(rs, func(r result) float64 { return ms(r.p50) })), median(values(rs, func(r result) float64 { return ms(r.p99) })),
			median(values(rs, func(r result) float64 { return float64(r.cpu.Nanoseconds()) / 1e3 })), b.ratio(name))
	}
	row("")
	row("%-28s %9s %9s %11s %11s %8s %8s %8s %9s", fmt.Sprintf("%d requests/s, open loop", steadyRate), "p50 ms", "p99 ms", "handled p50", "handled p99", "RSS MB", "heap MB", "kB/event", "allocs")
	for _, name := range stores {
		r := b.results["steady "+name][0]
		row("%-28s %9.2f %9.2f %11.2f %11.2f %8.0f %8.0f %8.1f %9.0f", label(name), ms(r.p50), ms(r.p99), ms(r.handledP50), ms(r.handledP99),
			float64(r.rss)/1e6, float64(r.heap)/1e6, r.bytes/1e3, r.allocs)
	}
	row("")
	b.printAims(stores, row)
}

func label(name string) string {
	return map[string]string{"bare": "(a) bare net/http handler", "sqlite": "(b) full chain, SQLite", "postgres": "(c) full chain, PostgreSQL"}[name]
}

// ratio compares rounds with their own bare run, for the machine drifts.
func (b *bench) ratio(name string) string {
	if name == "bare" {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100*b.share(name))
}

func (b *bench) share(name string) float64 {
	var shares []float64
	for i, r := range b.results[name] {
		shares = append(shares, r.rate/b.results["bare"][i].rate)
	}
	return median(shares)
}

func (b *bench) printAims(stores []string, row func(string, ...any)) {
	for _, name := range stores {
		least := map[string]float64{"sqlite": .30, "postgres": .15}[name]
		rs, r := b.results[name], b.results["steady "+name][0]
		p99 := median(values(rs, func(r result) float64 { return ms(r.p99) }))
		var rss float64
		for _, r := range append(slices.Clone(rs), r) {
			rss = max(rss, float64(r.rss)/1e6)
		}
		var words []string
		for _, aim := range []struct {
			what string
			met  bool
		}{
			{fmt.Sprintf("%.0f %% of bare", 100*least), b.share(name) >= least},
			{"p99 under 20 ms", p99 < 20},
			{fmt.Sprintf("p99 under 6 ms at %d/s", steadyRate), ms(r.p99) < 6},
			{"handled p99 under 20 ms", ms(r.handledP99) < 20},
			{fmt.Sprintf("under 100 MB resident (peak %.0f)", rss), rss < 100},
		} {
			verdict := "met"
			if !aim.met {
				verdict = "MISSED"
			}
			words = append(words, aim.what+": "+verdict)
		}
		row("%s: %s", label(name), strings.Join(words, "; "))
	}
}

func values(rs []result, f func(result) float64) []float64 {
	vs := make([]float64, len(rs))
	for i, r := range rs {
		vs[i] = f(r)
	}
	return vs
}

func median(vs []float64) float64 {
	vs = slices.Sorted(slices.Values(vs))
	return vs[len(vs)/2]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
