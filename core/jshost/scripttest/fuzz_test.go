package scripttest_test

import (
	"encoding/json"
	"testing"
	"time"
)

// A fixture may be the body that a stranger sent, and what changes it is a user's.
func FuzzAFixtureIsAnEventOrAnError(f *testing.F) {
	made := events()
	body, _ := made.Sample("updated.deal")
	f.Add(string(body), `{"current":{"stage_id":4,"custom_fields":{"a":null}},"previous":{"stage_id":3},"objectId":7}`)
	f.Add(`{"id":"1","source":"pipedrive","raw":"{}"}`, `{"meta":{"version":"1.0"},"occurredAt":"2026-01-05T09:00:00Z"}`)
	f.Add(`{"a.b":{"*":1},"a.b":2}`, `{"current":null}`)
	f.Fuzz(func(t *testing.T, body, change string) {
		made := made
		made.Sample = func(string) ([]byte, bool) { return []byte(body), true }
		if ev, err := made.Recorded("added.deal", change, time.Now()); err == nil && !json.Valid(ev.Body) {
			t.Errorf("the body is no JSON: %s", ev.Body)
		}
	})
}
