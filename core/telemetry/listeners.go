package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Listener is where one listener stands.
type Listener struct {
	Pending int64         // deliveries
	Lag     time.Duration // since the event came in whose turn it is; 0 when nothing is pending
	Paused  bool          // somebody said so
	Open    bool          // its circuit breaker is
}

// Listeners adds gauges that are read at each scrape: by listener, and of how many shards this
// process serves.
func (m *Metrics) Listeners(read func(ctx context.Context) (map[string]Listener, error), shards func() int) {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"listener"}, nil)
	}
	m.registry.MustRegister(listeners{
		read:    read,
		pending: desc("pipehook_pending_deliveries", "Deliveries that are not finished."),
		lag:     desc("pipehook_lag_seconds", "How long ago the event came in whose turn it is; 0 when nothing is pending."),
		paused:  desc("pipehook_listener_paused", "Whether somebody has paused the listener."),
		open:    desc("pipehook_listener_circuit_open", "Whether the listener is left alone because it failed too often."),
	}, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pipehook_shards", Help: "How many of the 64 shards of records this process serves.",
	}, func() float64 { return float64(shards()) }))
}

type listeners struct {
	read                       func(ctx context.Context) (map[string]Listener, error)
	pending, lag, paused, open *prometheus.Desc
}

func (l listeners) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{l.pending, l.lag, l.paused, l.open} {
		ch <- d
	}
}

func (l listeners) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	all, err := l.read(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(l.pending, err)
		return
	}
	for name, is := range all {
		for desc, value := range map[*prometheus.Desc]float64{
			l.pending: float64(is.Pending), l.lag: is.Lag.Seconds(), l.paused: number(is.Paused), l.open: number(is.Open),
		} {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, name)
		}
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
