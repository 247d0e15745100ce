package engine_test

import (
	"context"
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

// BenchmarkFirstCall is a call that has to make its runtime and load the file.
func BenchmarkFirstCall(b *testing.B) {
	_, p, err := compile(b, "it.js", `export default (event) => event.current.title`)
	if err != nil {
		b.Fatal(err)
	}
	ev := sample(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := newScript("it", p, 1, options{}).Handle(b.Context(), ev); err != nil {
			b.Fatal(err)
		}
	}
}
