package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// PipedriveFlow is how Pipedrive's webhooks come to one pipeline.
type PipedriveFlow struct {
	Failed    int       // first attempts that failed and count towards a ban
	Suspected bool      // Pipedrive has probably silenced a webhook
	Last      time.Time // when the last one was taken; zero when none was
}

// Pipedrive adds gauges that are read at each scrape: by pipeline, and of the account's webhooks, by id, whether each is
// active.
func (m *Metrics) Pipedrive(flows func() map[string]PipedriveFlow, active func() map[string]bool) {
	desc := func(name, help, label string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{label}, nil)
	}
	m.registry.MustRegister(pipedrive{
		flows: flows, webhooks: active,
		failed:    desc("pipehook_pipedrive_failed_first_attempts", "First attempts of one webhook that failed; at ten Pipedrive silences it for 30 minutes.", "pipeline"),
		suspected: desc("pipehook_pipedrive_ban_suspected", "Whether Pipedrive has probably silenced a webhook.", "pipeline"),
		last:      desc("pipehook_pipedrive_last_delivery_seconds", "How long ago the last webhook was taken.", "pipeline"),
		active:    desc("pipehook_pipedrive_webhook_active", "Whether Pipedrive says that the webhook is active.", "webhook"),
	})
}

type pipedrive struct {
	flows                           func() map[string]PipedriveFlow
	webhooks                        func() map[string]bool
	failed, suspected, last, active *prometheus.Desc
}

func (p pipedrive) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{p.failed, p.suspected, p.last, p.active} {
		ch <- d
	}
}

func (p pipedrive) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, label)
	}
	for pipeline, is := range p.flows() {
		gauge(p.failed, float64(is.Failed), pipeline)
		gauge(p.suspected, number(is.Suspected), pipeline)
		if !is.Last.IsZero() {
			gauge(p.last, time.Since(is.Last).Seconds(), pipeline)
		}
	}
	for id, active := range p.webhooks() {
		gauge(p.active, number(active), id)
	}
}
