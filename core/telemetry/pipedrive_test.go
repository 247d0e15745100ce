package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/telemetry"
)

func TestHowPipedrivesWebhooksComeIsShown(t *testing.T) {
	m := telemetry.New()
	m.Pipedrive(func() map[string]telemetry.PipedriveFlow {
		return map[string]telemetry.PipedriveFlow{"crm": {Failed: 10, Suspected: true, Last: time.Now().Add(-time.Hour)}, "new": {}}
	}, func() map[string]bool { return map[string]bool{"7": true, "8": false} })
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`pipehook_pipedrive_failed_first_attempts{pipeline="crm"} 10`,
		`pipehook_pipedrive_ban_suspected{pipeline="crm"} 1`,
		`pipehook_pipedrive_ban_suspected{pipeline="new"} 0`,
		`pipehook_pipedrive_last_delivery_seconds{pipeline="crm"} 3600`,
		`pipehook_pipedrive_webhook_active{webhook="7"} 1`,
		`pipehook_pipedrive_webhook_active{webhook="8"} 0`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("it lacks %s", want)
		}
	}
	if strings.Contains(w.Body.String(), `last_delivery_seconds{pipeline="new"}`) {
		t.Error("a pipeline to which nothing came has a last delivery")
	}
}
