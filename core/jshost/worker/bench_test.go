package worker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/jshost/engine"
)

const threeFields = `export default (event) => event.current.title + event.current.value + event.current.owner_id`

// BenchmarkRun is calls with an event of 2.3 kB whose handler reads three fields, the process warm.
func BenchmarkRun(b *testing.B) {
	for _, size := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("batches of %d", size), func(b *testing.B) {
			p, _ := start(b, threeFields, nil)
			calls := make([]engine.Call, size)
			for i := range calls {
				calls[i] = engine.Call{Event: sample(b, fmt.Sprint(i)), Timeout: 10 * time.Second}
			}
			check := func(_ int, r engine.Result) {
				if r.Err != nil {
					b.Fatal(r.Err)
				}
			}
			p.Run(b.Context(), calls, check)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				p.Run(b.Context(), calls, check)
				n++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*size), "ns/event")
		})
	}
}
