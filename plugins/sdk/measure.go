package sdk

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core/effect"
)

// measures gathers what a plugin counts, until it is told: a plugin may count more often than it could
// ask.
type measures struct {
	mu     sync.Mutex
	counts map[string]float64
	gauges map[string]float64
	ending chan struct{} // closed to end what tells; nil until something was measured
	ended  chan struct{}
	closed bool
}

// Count adds n, which is not negative, to a counter of the plugin's own, which /metrics shows as
// pipehook_plugin_count_total with the name as a label. Names are a-z, 0-9 and _, beginning with a letter,
// and a plugin has at most 64. It never blocks.
func (h *Host) Count(name string, n float64) {
	h.measure(func(m *measures) { m.counts[name] += n })
}

// Gauge sets a gauge of the plugin's own, which /metrics shows as pipehook_plugin_gauge.
func (h *Host) Gauge(name string, value float64) {
	h.measure(func(m *measures) { m.gauges[name] = value })
}

// tellEvery is how long measures gather before they are told.
const tellEvery = time.Second

func (h *Host) measure(note func(*measures)) {
	if h.client == nil {
		return
	}
	m := &h.measures
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	if m.ending == nil {
		m.counts, m.gauges = map[string]float64{}, map[string]float64{}
		m.ending, m.ended = make(chan struct{}), make(chan struct{})
		go h.tell() // ends with close
	}
	note(m)
}

func (h *Host) tell() {
	defer close(h.measures.ended)
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			h.flush(context.Background())
		case <-h.measures.ending:
			return
		}
	}
}

// flush tells what was measured since the last time. What pipehook could not be told is told with the
// next; what it does not take is lost, and its log says why.
func (h *Host) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	counts, gauges := h.measures.take()
	all := make([]effect.Measure, 0, len(counts)+len(gauges))
	for name, n := range counts {
		all = append(all, effect.Measure{Name: name, Value: n})
	}
	for name, v := range gauges {
		all = append(all, effect.Measure{Name: name, Gauge: true, Value: v})
	}
	if len(all) == 0 {
		return
	}
	err := h.client.Measure(ctx, all)
	if refused, ok := errors.AsType[*Error](err); ok && refused.Code != "EUNAVAILABLE" {
		h.log.Warn("pipehook does not take what was measured", "err", err)
	} else if err != nil {
		h.measures.putBack(counts, gauges)
	}
}

func (m *measures) take() (counts, gauges map[string]float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts, gauges = m.counts, m.gauges
	m.counts, m.gauges = map[string]float64{}, map[string]float64{}
	return counts, gauges
}

// putBack adds what could not be told to what was measured since.
func (m *measures) putBack(counts, gauges map[string]float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, n := range counts {
		m.counts[name] += n
	}
	for name, v := range gauges {
		if _, newer := m.gauges[name]; !newer {
			m.gauges[name] = v
		}
	}
}

// close tells what was measured last.
func (h *Host) close(ctx context.Context) {
	if h.client == nil {
		return
	}
	m := &h.measures
	m.mu.Lock()
	m.closed = true
	ending := m.ending
	m.mu.Unlock()
	if ending != nil {
		close(ending)
		<-m.ended
		h.flush(ctx)
	}
	_ = h.client.Close() // nothing is asked any more
}
