package telemetry

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pipehook/pipehook/core/effect"
)

// maxMeasures is how many names one plugin may measure something under.
const maxMeasures = 64

var measurePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// Plugin is where one plugin stands.
type Plugin struct {
	Up       bool // its process runs and takes calls
	Restarts int
}

// Plugins is what is known of plugins: how they stand, and what they measure themselves.
type Plugins struct {
	read                       func() map[string]Plugin
	up, restarts, count, gauge *prometheus.Desc

	mu  sync.Mutex
	own map[string]*measured
}

// measured is what one plugin has measured, by name.
type measured struct{ counts, gauges map[string]float64 }

// Plugins adds the metrics of plugins. Those that run are read at each scrape, and what others have
// measured is forgotten.
func (m *Metrics) Plugins(read func() map[string]Plugin) *Plugins {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"plugin"}, labels...), nil)
	}
	p := &Plugins{
		read:     read,
		up:       desc("pipehook_plugin_up", "Whether the plugin's process runs."),
		restarts: desc("pipehook_plugin_restarts_total", "Starts of the plugin's process but the first."),
		count:    desc("pipehook_plugin_count_total", "What the plugin counts itself.", "name"),
		gauge:    desc("pipehook_plugin_gauge", "What the plugin measures itself.", "name"),
		own:      map[string]*measured{},
	}
	m.registry.MustRegister(p)
	return p
}

// Measure takes what a plugin has measured. What can't be taken is left out, and is the error, an
// effect.Error.
func (p *Plugins) Measure(plugin string, measures []effect.Measure) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.own[plugin]
	if own == nil {
		own = &measured{counts: map[string]float64{}, gauges: map[string]float64{}}
		p.own[plugin] = own
	}
	var wrong error
	for _, m := range measures {
		if why := own.take(m); why != "" && wrong == nil {
			wrong = &effect.Error{Code: "EINVAL", Msg: why}
		}
	}
	return wrong
}

// take returns why it takes nothing.
func (own *measured) take(m effect.Measure) (why string) {
	into := own.counts
	if m.Gauge {
		into = own.gauges
	}
	_, known := into[m.Name]
	switch {
	case !measurePattern.MatchString(m.Name):
		return fmt.Sprintf("%.100q is no name for a metric: a-z, 0-9 and _, beginning with a letter, at most 64", m.Name)
	case math.IsNaN(m.Value) || math.IsInf(m.Value, 0):
		return m.Name + " is not a number"
	case !m.Gauge && m.Value < 0:
		return m.Name + " is a counter, which only grows: use a gauge for what falls"
	case !known && len(own.counts)+len(own.gauges) >= maxMeasures:
		return fmt.Sprintf("%s is one name too many: a plugin has %d", m.Name, maxMeasures)
	case m.Gauge:
		into[m.Name] = m.Value
	case !math.IsInf(into[m.Name]+m.Value, 0):
		into[m.Name] += m.Value
	}
	return ""
}

// Describe is part of prometheus.Collector.
func (p *Plugins) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{p.up, p.restarts, p.count, p.gauge} {
		ch <- d
	}
}

// Collect is part of prometheus.Collector.
func (p *Plugins) Collect(ch chan<- prometheus.Metric) {
	running := p.read()
	for plugin, is := range running {
		ch <- prometheus.MustNewConstMetric(p.up, prometheus.GaugeValue, number(is.Up), plugin)
		ch <- prometheus.MustNewConstMetric(p.restarts, prometheus.CounterValue, float64(is.Restarts), plugin)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.own, func(plugin string, _ *measured) bool {
		_, runs := running[plugin]
		return !runs
	})
	for plugin, own := range p.own {
		for name, n := range own.counts {
			ch <- prometheus.MustNewConstMetric(p.count, prometheus.CounterValue, n, plugin, name)
		}
		for name, v := range own.gauges {
			ch <- prometheus.MustNewConstMetric(p.gauge, prometheus.GaugeValue, v, plugin, name)
		}
	}
}
