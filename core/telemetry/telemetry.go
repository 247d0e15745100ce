// Package telemetry counts what happens, for Prometheus. Labels come from the configuration and
// from fixed words, never from what a sender wrote, so their number is bounded.
package telemetry

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pipehook/pipehook/core"
)

// Metrics is a set of counters with a registry of its own.
type Metrics struct {
	registry    *prometheus.Registry
	requests    *prometheus.CounterVec
	latency     *prometheus.HistogramVec
	authFailed  *prometheus.CounterVec
	attempts    *prometheus.CounterVec
	echoes      *prometheus.CounterVec
	attemptTime *prometheus.HistogramVec
}

// New makes the counters and those of the Go runtime and the process.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pipehook_requests_total", Help: "Webhook requests by pipeline and outcome: accepted, duplicate or an error code.",
		}, []string{"pipeline", "outcome"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pipehook_request_seconds", Help: "Time from a request's arrival to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"pipeline"}),
		authFailed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pipehook_authentication_failures_total", Help: "Requests that authenticate refused, by method and reason.",
		}, []string{"pipeline", "method", "reason"}),
		echoes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pipehook_echo_total", Help: "Events that pipehook's own writes caused: marked, dropped; and near_miss, about a record that it wrote with other values.",
		}, []string{"pipeline", "result"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pipehook_attempts_total", Help: "Attempts by listener and what they left the delivery in: done, pending or dead.",
		}, []string{"listener", "state"}),
		attemptTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pipehook_attempt_seconds", Help: "Time a listener took.",
			Buckets: []float64{.0001, .001, .01, .1, .5, 1, 5, 30},
		}, []string{"listener"}),
	}
	m.registry.MustRegister(m.requests, m.latency, m.authFailed, m.attempts, m.echoes, m.attemptTime,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Request counts one answered request.
func (m *Metrics) Request(pipeline, outcome string, took time.Duration) {
	m.requests.WithLabelValues(pipeline, outcome).Inc()
	m.latency.WithLabelValues(pipeline).Observe(took.Seconds())
}

// Echo counts an event by what the stage echo made of it.
func (m *Metrics) Echo(pipeline, result string) { m.echoes.WithLabelValues(pipeline, result).Inc() }

// AuthenticationFailed counts one refused request.
func (m *Metrics) AuthenticationFailed(pipeline, method, reason string) {
	m.authFailed.WithLabelValues(pipeline, method, reason).Inc()
}

// Attempt counts one attempt of a delivery.
func (m *Metrics) Attempt(a core.Attempt) {
	m.attempts.WithLabelValues(a.Listener, a.State.String()).Inc()
	m.attemptTime.WithLabelValues(a.Listener).Observe(a.Took.Seconds())
}

// Handler serves the metrics in Prometheus' text form. What can't be read, such as a backlog while
// the store is away, is left out: the rest is needed most just then.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, ErrorHandling: promhttp.ContinueOnError})
}
