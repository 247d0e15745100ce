package telemetry_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/telemetry"
)

func TestPluginsHaveMetricsOfTheirOwn(t *testing.T) {
	m := telemetry.New()
	running := map[string]telemetry.Plugin{"audit": {Up: true, Restarts: 2}, "stage:enrich": {}}
	p := m.Plugins(func() map[string]telemetry.Plugin { return running })
	for range 2 {
		if err := p.Measure("audit", []effect.Measure{{Name: "rows", Value: 1.5}, {Name: "rows", Gauge: true, Value: -3}}); err != nil {
			t.Error(err)
		}
	}
	got := scrape(m)
	for _, want := range []string{
		`pipehook_plugin_up{plugin="audit"} 1`, `pipehook_plugin_up{plugin="stage:enrich"} 0`, `pipehook_plugin_restarts_total{plugin="audit"} 2`,
		`pipehook_plugin_count_total{name="rows",plugin="audit"} 3`, `pipehook_plugin_gauge{name="rows",plugin="audit"} -3`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %s in\n%s", want, got)
		}
	}
	delete(running, "audit")
	if got := scrape(m); strings.Contains(got, "audit") {
		t.Errorf("one that is gone is shown:\n%s", got)
	}
}

func TestWhatAPluginCanNotMeasureIsLeftOut(t *testing.T) {
	m := telemetry.New()
	p := m.Plugins(func() map[string]telemetry.Plugin { return map[string]telemetry.Plugin{"audit": {}} })
	for _, test := range []struct {
		measure effect.Measure
		want    string
	}{
		{effect.Measure{Name: "", Value: 1}, "is no name for a metric"},
		{effect.Measure{Name: "Rows", Value: 1}, "is no name for a metric"},
		{effect.Measure{Name: "1st", Value: 1}, "is no name for a metric"},
		{effect.Measure{Name: "a\n", Value: 1}, "is no name for a metric"},
		{effect.Measure{Name: strings.Repeat("a", 65), Value: 1}, "is no name for a metric"},
		{effect.Measure{Name: "a", Value: math.NaN()}, "not a number"},
		{effect.Measure{Name: "a", Gauge: true, Value: math.Inf(-1)}, "not a number"},
		{effect.Measure{Name: "a", Value: -1}, "only grows"},
	} {
		err := p.Measure("audit", []effect.Measure{test.measure, {Name: "good", Value: 1}})
		if e, ok := errors.AsType[*effect.Error](err); !ok || e.Code != "EINVAL" || !strings.Contains(e.Msg, test.want) {
			t.Errorf("%+v: %v", test.measure, err)
		}
	}
	if got := scrape(m); !strings.Contains(got, `pipehook_plugin_count_total{name="good",plugin="audit"} 8`) || strings.Count(got, `plugin="audit"`) != 3 {
		t.Errorf("it shows\n%s", got)
	}
	for i := range 100 {
		err := p.Measure("audit", []effect.Measure{{Name: fmt.Sprint("n", i), Gauge: i%2 == 0, Value: 1}})
		if (err != nil) != (i >= 63) {
			t.Errorf("name %d: %v", i, err)
		}
	}
}
