package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Reconciles counts what comparisons with Pipedrive found.
type Reconciles struct {
	differences prometheus.Counter
	errors      prometheus.Counter
	last        prometheus.Gauge
}

// Reconciles adds the counters of comparisons with Pipedrive. It may be called once.
func (m *Metrics) Reconciles() *Reconciles {
	r := &Reconciles{
		differences: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pipehook_pipedrive_reconcile_differences_total", Help: "Records in which Pipedrive and the local tables differed when they were compared.",
		}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pipehook_pipedrive_reconcile_errors_total", Help: "Comparisons with Pipedrive that did not come to their end, for one object or for all.",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pipehook_pipedrive_reconcile_last_success_timestamp_seconds", Help: "When this process last compared everything with Pipedrive; 0 for not yet.",
		}),
	}
	m.registry.MustRegister(r.differences, r.errors, r.last)
	return r
}

// Done counts one comparison that ended now: whether it was of everything, and came to its end.
func (r *Reconciles) Done(differences int, whole, well bool) {
	r.differences.Add(float64(differences))
	switch {
	case !well:
		r.errors.Inc()
	case whole:
		r.last.Set(float64(time.Now().UnixMilli()) / 1000)
	}
}
