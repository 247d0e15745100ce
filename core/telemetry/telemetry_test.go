package telemetry_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/telemetry"
)

func TestWhatHappenedIsCounted(t *testing.T) {
	m := telemetry.New()
	m.Request("crm", "accepted", time.Millisecond)
	m.Request("crm", "accepted", time.Millisecond)
	m.AuthenticationFailed("crm", "basic", "wrong")
	m.NotKept("thinned", "store")("thinned", 3)
	m.Attempt(core.Attempt{DeliveryKey: core.DeliveryKey{Listener: "audit"}, State: core.Dead})
	m.Listeners(func(context.Context) (map[string]telemetry.Listener, error) {
		return map[string]telemetry.Listener{"audit": {Pending: 3, Lag: time.Minute, Open: true}}, nil
	}, func() int { return 64 })
	got := scrape(m)
	for _, want := range []string{
		`pipehook_requests_total{outcome="accepted",pipeline="crm"} 2`,
		`pipehook_authentication_failures_total{method="basic",pipeline="crm",reason="wrong"} 1`,
		`pipehook_refused_not_kept_total{reason="thinned"} 3`,
		`pipehook_refused_not_kept_total{reason="store"} 0`,
		`pipehook_attempts_total{listener="audit",state="dead"} 1`,
		`pipehook_pending_deliveries{listener="audit"} 3`,
		`pipehook_lag_seconds{listener="audit"} 60`,
		`pipehook_listener_circuit_open{listener="audit"} 1`,
		`pipehook_listener_paused{listener="audit"} 0`,
		`pipehook_shards 64`,
		"go_memstats_heap_inuse_bytes",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %s", want)
		}
	}
}

func TestAStoreThatIsAwayHidesNothingElse(t *testing.T) {
	m := telemetry.New()
	m.Listeners(func(context.Context) (map[string]telemetry.Listener, error) { return nil, errors.New("down") }, func() int { return 0 })
	m.Spool(func() (int64, time.Time) { return 4096, time.Now().Add(-time.Hour) })
	got := scrape(m)
	for _, want := range []string{"pipehook_spool_bytes 4096", "pipehook_spool_seconds 3600", "pipehook_shards 0"} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %s in\n%s", want, got)
		}
	}
}

func scrape(m *telemetry.Metrics) string {
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	return rec.Body.String()
}
