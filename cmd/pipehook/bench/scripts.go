package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost"
	"github.com/pipehook/pipehook/core/jshost/bundle"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

const (
	smallHandler = `export default (event) => event.current.title + event.current.value + event.current.owner_id`
	largeHandler = `import * as lib from "./lib.js";
export default (event) => lib["f" + event.current.title.length % 9](event.current.value)
`
	runtimes = 100
	swaps    = 50
)

// isolation is where scripts run.
type isolation struct {
	name, label string
	isolated    bool
	aim         func(batch int, perCall time.Duration, bytes float64) string
}

var isolations = []isolation{
	{
		name: "none", label: "in this process",
		aim: func(_ int, perCall time.Duration, bytes float64) string {
			return "aim: under 8 µs and 4 kB: " + verdict(perCall < 8*time.Microsecond && bytes < 4000)
		},
	},
	{
		name: "process", label: "in one of its own", isolated: true,
		aim: func(batch int, perCall time.Duration, _ float64) string {
			if batch < 64 {
				return "kB and allocs of this process"
			}
			return "aim: at most 25 µs: " + verdict(perCall <= 25*time.Microsecond)
		},
	},
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
}

// scripts measures what it costs that a listener is a script.
func (b *bench) scripts(ctx context.Context, stores []string) error {
	dir := filepath.Join(b.dir, "scripts")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	small, large := filepath.Join(dir, "small.js"), filepath.Join(dir, "large.js")
	for path, text := range map[string]string{small: smallHandler, large: largeHandler, filepath.Join(dir, "lib.js"): library(100_000)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	for _, step := range []func() error{
		func() error { return b.scriptCalls(ctx, small) },
		func() error { return b.scriptMemory(ctx, small) },
		func() error { return b.scriptReloads(ctx, large) },
		func() error { return b.scriptBacklogs(ctx, stores, small) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// library is a module of about so many bytes, all of which is needed.
func library(size int) string {
	var text strings.Builder
	for n := 0; text.Len() < size; n++ {
		fmt.Fprintf(&text, "export function f%d(value) { const fields = { a: value, b: [value, %d], c: `${value}` }; return Object.keys(fields).length + %d }\n", n, n, n)
	}
	return text.String()
}

// events are n deliveries of the bench's event.
func events(n int) ([]core.Delivery, error) {
	all := make([]core.Delivery, n)
	for i := range all {
		ev := &all[i].Event
		ev.ID, ev.Source, ev.Body, ev.ReceivedAt = fmt.Sprint("event ", i), "pipedrive", template, time.Now()
		if err := (pipedrive.Source{}).Name(ev); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// script is a listener that is a script.
func (i isolation) script(path string, size int) (*jshost.Script, error) {
	code, err := bundle.Make(path)
	if err != nil {
		return nil, err
	}
	return jshost.NewScript(code, jshost.Setup{Name: "bench", Size: size, Isolated: i.isolated}, jshost.Options{})
}

// handle makes calls as a worker of the delivery engine does.
func handle(ctx context.Context, s *jshost.Script, batch []core.Delivery) (failed error) {
	s.HandleBatch(ctx, time.Minute, batch, func(int) bool { return true }, func(_ int, out core.Outcome) {
		if out.Err != nil {
			failed = out.Err
		}
	})
	return failed
}

// scriptCalls measures calls, one after another.
func (b *bench) scriptCalls(ctx context.Context, path string) error {
	fmt.Printf("\n%-44s %9s %9s %9s\n", fmt.Sprintf("a handler that reads 3 fields of %d bytes", len(template)), "µs/event", "kB", "allocs")
	for _, where := range isolations {
		s, err := where.script(path, 1)
		if err != nil {
			return err
		}
		for _, size := range []int{1, 16, 64} {
			batch, err := events(size)
			if err != nil {
				return err
			}
			var failed error
			r := testing.Benchmark(func(t *testing.B) {
				for t.Loop() {
					if err := handle(ctx, s, batch); err != nil {
						failed = err
						return
					}
				}
			})
			if failed != nil {
				return failed
			}
			calls := float64(r.N * size)
			per, bytes := time.Duration(float64(r.T)/calls), float64(r.MemBytes)/calls
			fmt.Printf("%-44s %9.1f %9.1f %9.0f   (%s)\n", fmt.Sprintf("%s, %d at once", where.label, size),
				float64(per.Nanoseconds())/1e3, bytes/1e3, float64(r.MemAllocs)/calls, where.aim(size, per, bytes))
		}
		s.Close()
	}
	return nil
}

// scriptMemory measures what a runtime keeps, by making many.
func (b *bench) scriptMemory(ctx context.Context, path string) error {
	batch, err := events(1)
	if err != nil {
		return err
	}
	code, err := bundle.Make(path)
	if err != nil {
		return err
	}
	p, err := engine.Compile(code)
	if err != nil {
		return err
	}
	gate, inside := make(chan struct{}), make(chan struct{}, runtimes)
	before := heap()
	pool := engine.NewPool(p, engine.Options{Name: "bench", Size: runtimes})
	defer pool.Close()
	var wg sync.WaitGroup
	var failed atomic.Value
	for range runtimes {
		wg.Go(func() { // a run keeps its runtime until its last call has been reported
			pool.Run(ctx, []engine.Call{{Event: &batch[0].Event, Timeout: time.Minute}}, func(_ int, r engine.Result) {
				if r.Err != nil {
					failed.Store(r.Err)
				}
				inside <- struct{}{}
				<-gate
			})
		})
	}
	for range runtimes {
		<-inside
	}
	close(gate)
	wg.Wait()
	if err, bad := failed.Load().(error); bad {
		return err
	}
	each := (heap() - before) / runtimes / 1e3
	fmt.Printf("\n%-44s %9.0f   (aim: under 100 kB: %s)\n", "memory of a runtime, kB", each, verdict(each < 100))
	return nil
}

func heap() float64 {
	runtime.GC()
	runtime.GC() // what had a finalizer
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// scriptReloads measures what a saved file costs, and what the calls beside it notice.
func (b *bench) scriptReloads(ctx context.Context, path string) error {
	var bundled, compiled, first []float64
	batch, err := events(1)
	if err != nil {
		return err
	}
	for range 2*b.rounds + 1 {
		begun := time.Now()
		code, err := bundle.Make(path)
		if err != nil {
			return err
		}
		bundled = append(bundled, ms(time.Since(begun)))
		begun = time.Now()
		s, err := jshost.NewScript(code, jshost.Setup{Name: "bench", Size: 1}, jshost.Options{})
		if err != nil {
			return err
		}
		compiled = append(compiled, ms(time.Since(begun)))
		begun = time.Now()
		if err := handle(ctx, s, batch); err != nil {
			return err
		}
		first = append(first, ms(time.Since(begun)))
		s.Close()
	}
	fmt.Printf("\n%-44s %9s %9s %9s\n", "a script with 100 kB of imports", "bundle ms", "compile", "1st call")
	fmt.Printf("%-44s %9.1f %9.1f %9.1f\n", "saved and taken", median(bundled), median(compiled), median(first))
	for _, where := range isolations {
		if err := where.reloads(ctx, path, batch); err != nil {
			return err
		}
	}
	return nil
}

// reloads swaps versions beside calls that never stop.
func (i isolation) reloads(ctx context.Context, path string, batch []core.Delivery) error {
	s, err := i.script(path, 2)
	if err != nil {
		return err
	}
	defer s.Close()
	code, err := bundle.Make(path)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	var calls, failed atomic.Int64
	var mu sync.Mutex
	var slowest []float64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			most := time.Duration(0)
			for ctx.Err() == nil {
				begun := time.Now()
				if err := handle(context.WithoutCancel(ctx), s, batch); err != nil {
					failed.Add(1)
				}
				calls.Add(1)
				most = max(most, time.Since(begun))
			}
			mu.Lock()
			defer mu.Unlock()
			slowest = append(slowest, ms(most))
		})
	}
	for n := range swaps {
		until := calls.Load() + 100
		for calls.Load() < until && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		code.Hash = fmt.Sprint(n)
		if err := s.Swap(code); err != nil {
			return err
		}
	}
	end()
	wg.Wait()
	fmt.Printf("%-44s %9d %9d %9.1f   (calls, failed, slowest ms; aim: none fails: %s)\n", fmt.Sprintf("%s, %d reloads under load", i.label, swaps),
		calls.Load(), failed.Load(), slices.Max(slowest), verdict(failed.Load() == 0))
	return nil
}
