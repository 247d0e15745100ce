package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// servePlugin is this program as the plugin that is measured.
func servePlugin() {
	sdk.Serve(sdk.Plugin{Name: "bench", Version: "1.0.0", Listener: sdk.ListenerFunc(func(_ context.Context, ev sdk.Event) error {
		if len(ev.Body) == 0 {
			return errors.New("an event without a body")
		}
		return nil
	})})
}

// openPlugin starts it, with what it needs in dir.
func openPlugin(ctx context.Context, dir string) (p *plughost.Plugin, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	h, err := plughost.Open(plughost.Options{Dir: dir, Log: log})
	if err != nil {
		return nil, nil, err
	}
	p = h.Start(plughost.Spec{Kind: wire.Listener, Name: "bench", Path: self, Dir: filepath.Dir(dir)})
	stop = func() { _ = h.Close() } // it has nothing to lose
	if err := p.Ready(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return p, stop, nil
}

// plugins measures what it costs that a listener is a plugin.
func (b *bench) plugins(ctx context.Context, stores []string) error {
	if err := b.pluginCalls(ctx); err != nil {
		return err
	}
	return b.pluginBacklogs(ctx, stores)
}

// traffic is a way to make calls.
type traffic struct {
	name              string
	batch, inFlight   int
	echoed, delivered []calls // a round each
}

// calls are what came of them in one round.
type calls struct {
	rate     float64 // events a second
	p50, p99 time.Duration
	cpu      time.Duration // of both processes, for an event
}

// pluginCalls measures calls of a plugin against those of a bare echo with the same bytes.
func (b *bench) pluginCalls(ctx context.Context) error {
	conn, echoPID, end, err := b.echo(ctx)
	if err != nil {
		return err
	}
	defer end()
	p, stop, err := openPlugin(ctx, filepath.Join(b.dir, "plugin"))
	if err != nil {
		return err
	}
	defer stop()
	all := []*traffic{
		{name: "one after another", batch: 1, inFlight: 1}, {name: "16 in flight", batch: 1, inFlight: 16},
		{name: "batches of 64", batch: 64, inFlight: 1}, {name: "batches of 64, 2 in flight", batch: 64, inFlight: 2},
	}
	for range b.rounds {
		for _, t := range all {
			said := wrapperspb.Bytes(slices.Repeat(template, t.batch))
			c, err := t.round(ctx, echoPID, b.duration/2, func() error { return conn.Invoke(ctx, echoMethod, said, &wrapperspb.BytesValue{}) })
			if err != nil {
				return fmt.Errorf("the echo: %w", err)
			}
			t.echoed = append(t.echoed, c)
			deliveries, err := events(t.batch)
			if err != nil {
				return err
			}
			if c, err = t.round(ctx, p.State().PID, b.duration/2, func() error { return deliver(ctx, p, deliveries) }); err != nil {
				return fmt.Errorf("the plugin: %w", err)
			}
			t.delivered = append(t.delivered, c)
		}
	}
	printCalls(all)
	return nil
}

func printCalls(all []*traffic) {
	fmt.Printf("\n%-28s %9s %8s %8s %8s %9s %8s %8s %8s %8s\n", fmt.Sprintf("calls with %d bytes", len(template)), "echo/s", "p50 µs", "p99 µs", "CPU µs", "plugin/s", "p50 µs", "p99 µs", "CPU µs", "of echo")
	for _, t := range all {
		echo, plugin := middle(t.echoed), middle(t.delivered)
		share := plugin.rate / echo.rate
		aim := "aim: at least 80 % of the echo: " + verdict(share >= 0.8)
		if t.batch > 1 {
			aim = "aim: at least 80,000 events/s on two cores: " + verdict(plugin.rate >= 80_000)
		}
		fmt.Printf("%-28s %9.0f %8.0f %8.0f %8.1f %9.0f %8.0f %8.0f %8.1f %7.0f%%   (%s)\n", t.name, echo.rate, us(echo.p50), us(echo.p99), us(echo.cpu),
			plugin.rate, us(plugin.p50), us(plugin.p99), us(plugin.cpu), 100*share, aim)
	}
}

// middle is the round with the median rate.
func middle(rounds []calls) calls {
	rounds = slices.SortedFunc(slices.Values(rounds), func(a, b calls) int { return cmp.Compare(a.rate, b.rate) })
	return rounds[len(rounds)/2]
}

// round makes calls to the process for so long.
func (t *traffic) round(ctx context.Context, pid int, within time.Duration, call func() error) (calls, error) {
	var mu sync.Mutex
	var took []time.Duration
	var failed error
	var wg sync.WaitGroup
	begun, used := time.Now(), cpuOf(pid)+cpuOf(os.Getpid())
	for range t.inFlight {
		wg.Go(func() {
			var own []time.Duration
			var err error
			for now := time.Now(); err == nil && now.Sub(begun) < within && ctx.Err() == nil; {
				err = call()
				next := time.Now()
				own = append(own, next.Sub(now))
				now = next
			}
			mu.Lock()
			defer mu.Unlock()
			took, failed = append(took, own...), errors.Join(failed, err)
		})
	}
	wg.Wait()
	spent, used := time.Since(begun), cpuOf(pid)+cpuOf(os.Getpid())-used
	if failed == nil {
		failed = ctx.Err()
	}
	if failed != nil {
		return calls{}, failed
	}
	slices.Sort(took)
	n := len(took) * t.batch
	return calls{rate: float64(n) / spent.Seconds(), p50: took[len(took)/2], p99: took[len(took)*99/100], cpu: used / time.Duration(n)}, nil
}

// deliver makes calls as a worker of the delivery engine does.
func deliver(ctx context.Context, l core.Listener, all []core.Delivery) (failed error) {
	if l, ok := l.(core.BatchListener); ok && len(all) > 1 {
		l.HandleBatch(ctx, time.Minute, all, func(int) bool { return true }, func(_ int, out core.Outcome) { failed = errors.Join(failed, out.Err) })
		return failed
	}
	for i := range all {
		if err := handleOne(ctx, l, all[i].Event); err != nil {
			return err
		}
	}
	return nil
}

func handleOne(ctx context.Context, l core.Listener, ev core.Event) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return l.Handle(ctx, ev)
}

// pluginBacklogs measures how fast a plugin gets what waits on disk.
func (b *bench) pluginBacklogs(ctx context.Context, stores []string) error {
	fmt.Printf("\n%-44s %14s %9s %9s\n", fmt.Sprintf("a backlog of %d, 4 at a time", b.backlog), "deliveries/s", "CPU µs", "of Go")
	for _, store := range stores {
		for _, cores := range []int{1, 0} {
			if err := b.pluginBacklog(ctx, store, cores); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) pluginBacklog(ctx context.Context, store string, cores int) error {
	url, db, err := b.filled(ctx, store, b.backlog, []string{"go", "plugin"})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var base float64
	for _, c := range []contest{
		{listener: "go", order: "none", what: "0s", processes: 1, cores: cores},
		{listener: "plugin", order: "none", what: "plugin=" + filepath.Join(b.dir, fmt.Sprint("plugin", b.serial)), processes: 1, cores: cores},
	} {
		rate, cpu, _, err := b.drain(ctx, url, db, c)
		if err != nil {
			return err
		}
		label := label(store) + ", a function in Go"
		if c.listener == "plugin" {
			label = "  a plugin"
		}
		base = cmp.Or(base, rate)
		if cores == 1 {
			label += ", one core"
		}
		fmt.Printf("%-44s %14.0f %9.0f %8.0f%%\n", label, rate, float64(cpu.Microseconds()), 100*rate/base)
	}
	return nil
}
