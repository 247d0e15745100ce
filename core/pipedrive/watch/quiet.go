package watch

import (
	"maps"
	"slices"
	"time"
)

const (
	shortest = 15 * time.Minute // no silence below it is odd
	enough   = 20               // gaps, before there is something usual
	memory   = 100              // gaps that the mean remembers, about
)

// flow is how a pipeline's webhooks come.
type flow struct {
	Last time.Time
	Mean time.Duration // of the gaps
	Gaps int
}

// silence is one that is odd.
type silence struct {
	pipeline string
	silence  time.Duration
	usual    time.Duration
}

// came notes a webhook that was taken, and reports whether a silence that was told is over. The lock is held.
func (w *Watch) came(pipeline string, now time.Time) (resumed bool) {
	f := w.flows[pipeline]
	if !f.Last.IsZero() && now.After(f.Last) {
		f.Gaps = min(f.Gaps+1, memory)
		f.Mean += (now.Sub(f.Last) - f.Mean) / time.Duration(f.Gaps)
	}
	if now.After(f.Last) {
		f.Last = now
	}
	resumed = w.silent[pipeline]
	delete(w.silent, pipeline)
	return resumed
}

// quiet are the silences that were not told yet. What came before this process counts from its start: nothing can come
// while nobody serves. The lock is held.
func (w *Watch) quiet(now time.Time) (odd []silence) {
	factor := w.opts.Quiet()
	if factor <= 0 {
		return nil
	}
	for _, pipeline := range slices.Sorted(maps.Keys(w.flows)) {
		f := w.flows[pipeline]
		most := max(shortest, time.Duration(factor*float64(f.Mean)))
		length := min(now.Sub(f.Last), now.Sub(w.since))
		if f.Gaps >= enough && length > most && !w.silent[pipeline] {
			w.silent[pipeline] = true
			odd = append(odd, silence{pipeline, length, f.Mean})
		}
	}
	return odd
}

// joinFlows takes what another process has learned, and forgets the pipelines that are gone. The lock is held.
func (w *Watch) joinFlows(others map[string]*flow) {
	for pipeline, o := range others {
		f := w.flows[pipeline]
		if f == nil {
			copied := *o
			w.flows[pipeline] = &copied
			continue
		}
		if o.Gaps > f.Gaps {
			f.Gaps, f.Mean = o.Gaps, o.Mean
		}
		if o.Last.After(f.Last) {
			f.Last = o.Last
			delete(w.silent, pipeline)
		}
	}
	maps.DeleteFunc(w.flows, func(pipeline string, _ *flow) bool { return !w.opts.Has(pipeline) })
}
