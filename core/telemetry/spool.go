package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Spool adds gauges of what waits on this machine for the store, read at each scrape: how many
// bytes, and since when the store does not take events (the zero time while it does).
func (m *Metrics) Spool(state func() (bytes int64, since time.Time)) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pipehook_spool_bytes", Help: "Size of the events that wait on this machine because the store is away.",
		}, func() float64 {
			bytes, _ := state()
			return float64(bytes)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pipehook_spool_seconds", Help: "For how long the store has not taken events; 0 while it does.",
		}, func() float64 {
			_, since := state()
			if since.IsZero() {
				return 0
			}
			return time.Since(since).Seconds()
		}),
	)
}
