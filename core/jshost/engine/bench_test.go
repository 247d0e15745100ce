package engine_test

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// BenchmarkHandle is one call with an event of 2.3 kB, the runtime warm.
func BenchmarkHandle(b *testing.B) {
	for _, bench := range []struct{ name, code string }{
		{"nothing", `export default () => {}`},
		{"async and nothing", `export default async () => {}`},
		{"three fields", `export default (event) => event.current.title + event.current.value + event.current.owner_id`},
		{"changed and three fields", `export default (event) => { if (event.changed("stage_id")) return event.current.title + event.current.value + event.current.owner_id }`},
		{"the whole event as JSON", `export default (event) => JSON.stringify(event.current)`},
		{"JSON.parse of the body", `export default (event) => JSON.parse(event.raw).data.title`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			_, p, err := compile(b, "it.js", bench.code)
			if err != nil {
				b.Fatal(err)
			}
			s := newScript("it", p, 1, options{})
			ev := sample(b)
			ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
			defer cancel()
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Handle(ctx, ev); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRuntime is the making of a runtime with a small file; heap-B is what each keeps.
func BenchmarkRuntime(b *testing.B) {
	_, p, err := compile(b, "it.js", `export default (event) => event.current.title`)
	if err != nil {
		b.Fatal(err)
	}
	ev := sample(b)
	warm := func() *script {
		s := newScript("it", p, 1, options{})
		if err := s.Handle(b.Context(), ev); err != nil {
			b.Fatal(err)
		}
		return s
	}
	const many = 100
	kept := make([]*script, many)
	before := heapInUse()
	for i := range kept {
		kept[i] = warm()
	}
	each := float64(heapInUse()-before) / many
	runtime.KeepAlive(kept)
	b.ReportAllocs()
	for b.Loop() {
		warm()
	}
	b.ReportMetric(each, "heap-B")
}

func heapInUse() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
