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
	m.Attempt(core.Attempt{DeliveryKey: core.DeliveryKey{Listener: "audit"}, State: core.Dead})
	m.Waiting(func(context.Context) (map[string]int64, error) { return map[string]int64{"audit": 3}, nil })
	got := scrape(m)
	for _, want := range []string{
		`pipehook_requests_total{outcome="accepted",pipeline="crm"} 2`,
		`pipehook_authentication_failures_total{method="basic",pipeline="crm",reason="wrong"} 1`,
		`pipehook_attempts_total{listener="audit",state="dead"} 1`,
		`pipehook_pending_deliveries{listener="audit"} 3`,
		"go_memstats_heap_inuse_bytes",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %s", want)
		}
	}
}

func TestABrokenStoreFailsTheScrape(t *testing.T) {
	m := telemetry.New()
	m.Waiting(func(context.Context) (map[string]int64, error) { return nil, errors.New("down") })
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 500 {
		t.Errorf("status %d, want 500", rec.Code)
	}
}

func scrape(m *telemetry.Metrics) string {
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	return rec.Body.String()
}
