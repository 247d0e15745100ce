package worker

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// watchEvery is how often the memory is looked at: in that time some ten megabytes can be taken.
const watchEvery = 5 * time.Millisecond

// watch ends the process when it uses more than it may. It sleeps while nothing runs.
type watch struct {
	most    uint64
	samples []metrics.Sample
	busy    atomic.Int32
	wake    chan struct{}
}

// newWatch takes what is used now as what the process needs itself. Go collects garbage harder when
// there is little left.
func newWatch(memory int64) *watch {
	w := &watch{
		samples: []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}},
		wake:    make(chan struct{}, 1),
	}
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

// begin says that something runs, until end.
func (w *watch) begin() {
	if w.busy.Add(1) > 1 {
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watch) end() { w.busy.Add(-1) }

func (w *watch) run() {
	for range w.wake {
		for w.busy.Load() > 0 {
			if w.used() > w.most {
				os.Exit(exitMemory)
			}
			time.Sleep(watchEvery)
		}
	}
}
