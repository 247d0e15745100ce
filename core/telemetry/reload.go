package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Reloads counts how often a new configuration was taken or refused.
type Reloads struct {
	total *prometheus.CounterVec
	last  prometheus.Gauge
}

// Reloads adds the counters of reloads. It may be called once. The configuration that the process
// started with counts as a good last one, so that an alert on the gauge needs no exception.
func (m *Metrics) Reloads() *Reloads {
	r := &Reloads{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pipehook_config_reloads_total", Help: "Reloads of the configuration by result: success or failure.",
		}, []string{"result"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pipehook_config_last_reload_success", Help: "Whether the last reload of the configuration was taken: 1, or 0 when it was refused and the one before it goes on.",
		}),
	}
	m.registry.MustRegister(r.total, r.last)
	r.total.WithLabelValues("success")
	r.total.WithLabelValues("failure")
	r.last.Set(1)
	return r
}

// Done counts one reload.
func (r *Reloads) Done(taken bool) {
	if taken {
		r.total.WithLabelValues("success").Inc()
		r.last.Set(1)
		return
	}
	r.total.WithLabelValues("failure").Inc()
	r.last.Set(0)
}
