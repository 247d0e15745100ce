package telemetry

import "github.com/prometheus/client_golang/prometheus"

// NotKept adds a counter of refused requests that were not kept for events explain, by the reason,
// and returns what counts them. Every reason shows from the start.
func (m *Metrics) NotKept(reasons ...string) func(why string, n int) {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pipehook_refused_not_kept_total", Help: "Refused requests that events explain can't tell about: thinned (many like it), overflow, or store (it was away).",
	}, []string{"reason"})
	m.registry.MustRegister(c)
	for _, why := range reasons {
		c.WithLabelValues(why)
	}
	return func(why string, n int) { c.WithLabelValues(why).Add(float64(n)) }
}
