package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
)

// slowHandler is F30: events come faster than their only handler takes them. Senders notice nothing,
// the backlog is on disk, and memory stays what it was.
func slowHandler(ctx context.Context, r *round) error {
	const bytesMore, bytesMost = 48 << 20, 160 << 20
	r.rules.listeners = []string{"slow"}
	r.load.rate = 100
	p, err := r.newProject()
	if err != nil {
		return err
	}
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	r.load.begin(ctx, p)
	if err := pause(ctx, r.duration/3); err != nil {
		return err
	}
	early := v.resident()
	base, err := v.base(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, r.duration*2/3); err != nil {
		return err
	}
	if late := v.resident(); late > early+bytesMore || late > bytesMost {
		r.fail("I8", "%d MB are resident, %d MB were early on", late>>20, early>>20)
	} else {
		r.count("%d MB resident", late>>20)
	}
	r.load.finish(20 * time.Second)
	figures, err := program.Metrics(p.admin)
	if err != nil {
		return err
	}
	told := int(figures[`pipehook_pending_deliveries{listener="slow"}`])
	pending, err := r.countRows(ctx, "SELECT count(*) FROM deliveries WHERE state = 0")
	if err != nil {
		return err
	}
	if pending == 0 || told < pending || told > pending+50 { // some are handled between the two looks
		r.fail("I5", "%d deliveries are pending, and the metrics say %d", pending, told)
	}
	slow := 100 * time.Millisecond
	if r.short {
		slow = time.Second // the short form shares the processors with other tests
	}
	if p99 := r.load.percentile(0.99); p99 > slow {
		r.fail("I5", "the 99th percentile of the answers is %s", p99)
	} else {
		r.count("backlog %d, p99 %s", pending, p99.Round(100*time.Microsecond))
	}
	if err := r.drain(ctx, r.duration+40*time.Second); err != nil {
		return err
	}
	if err := r.settled(ctx, v, base); err != nil {
		return err
	}
	return r.end(ctx, v)
}

// resident is how many bytes of it are in memory; 0 where the system does not say.
func (v *victim) resident() int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.cmd.Process.Pid))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// percentile is of the times in which 2xx came.
func (l *load) percentile(p float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(l.took))
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}
