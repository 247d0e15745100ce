package worker

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// watchEvery is how often the memory is looked at: in that time some ten megabytes can be taken.
const watchEvery = 5 * time.Millisecond

// watch ends the process when it uses more than it may.
type watch struct {
	most    uint64
	samples []metrics.Sample
}

// newWatch takes what is used now as what the process needs itself. Go collects garbage harder when
// there is little left.
func newWatch(memory int64) *watch {
	w := &watch{samples: []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}}
	used := w.used()
	w.most = used + uint64(memory)
	debug.SetMemoryLimit(int64(used) + memory - memory/10)
	return w
}

// used is the memory that Go has got and not given back.
func (w *watch) used() uint64 {
	metrics.Read(w.samples)
	total, released := w.samples[0].Value.Uint64(), w.samples[1].Value.Uint64()
	return total - min(released, total)
}

func (w *watch) run() {
	for range time.Tick(watchEvery) {
		if w.used() > w.most {
			os.Exit(exitMemory)
		}
	}
}
