//go:build unix

package worker_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/jshost/engine"
)

const threeFields = `export default (event) => event.current.title + event.current.value + event.current.owner_id`

// BenchmarkRun is calls with an event of 2.3 kB whose handler reads three fields, the process warm.
// cpu-ns/event is the time of processors in both processes, which others on the machine disturb less.
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
			n, began := 0, processors(p.Pid())
			for b.Loop() {
				p.Run(b.Context(), calls, check)
				n++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*size), "ns/event")
			b.ReportMetric(float64((processors(p.Pid())-began).Nanoseconds())/float64(n*size), "cpu-ns/event")
		})
	}
}

// processors is the time that this process and another one have worked. The other's comes in steps of
// 10 ms.
func processors(pid int) time.Duration {
	var own syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	used := time.Duration(own.Utime.Nano() + own.Stime.Nano())
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // not there on every system
	if at := strings.LastIndexByte(string(stat), ')'); at > 0 {
		var state string
		var skip, user, system int64
		_, _ = fmt.Sscan(string(stat)[at+1:], &state, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &user, &system)
		used += time.Duration(user+system) * 10 * time.Millisecond
	}
	return used
}
