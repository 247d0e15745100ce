package ingress

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core"
)

// Whoever keeps what was refused is told of every request at a hook's path, with the id its sender
// was told.
func TestEveryRequestAtAHooksPathIsObserved(t *testing.T) {
	denied := gateFunc(func(*core.Event) error {
		return &core.Error{Kind: core.Unauthenticated, Msg: "no", Err: errors.New("basic: wrong")}
	})
	get := httptest.NewRequest(http.MethodGet, crmPath, nil)
	health := httptest.NewRequest(http.MethodGet, crmPath+"/health", nil)
	other := httptest.NewRequest(http.MethodPost, "/other", strings.NewReader("{}"))
	form := crmPost("a=b")
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	tests := []struct {
		name   string
		stage  core.Stage
		r      *http.Request
		status int // 0 for one that is not observed
		code   string
		ended  string
		bytes  int64
	}{
		{"accepted", failing(nil), crmPost("{}"), 200, "accepted", "", 2},
		{"refused by a stage", failing(&core.Error{Kind: core.Invalid, Msg: "no"}), crmPost("{}"), 422, "invalid", "stage0 refused", 2},
		{"refused at the gate, its body unread", denied, crmPost("{}"), 401, "unauthenticated", "stage0 refused", 2},
		{"of another type", failing(nil), form, 415, "unsupported_media_type", "receive refused", 3},
		{"too large", failing(nil), crmPost(strings.Repeat("x", 200)), 413, "too_large", "receive refused", 200},
		{"a stage that panics", stepFunc(nil), crmPost("{}"), 500, "internal", "stage0 panicked", 2},
		{"another method", failing(nil), get, 405, "method_not_allowed", "receive refused", 0},
		{"its health", failing(nil), health, 0, "", "", 0},
		{"another path", failing(nil), other, 0, "", "", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var seen []Outcome
			h := storing(Options{MaxBody: 100, Observe: func(o Outcome) { seen = append(seen, o) }}, &shelf{}, test.stage)
			a := ask(t, h, test.r)
			if test.status == 0 {
				if len(seen) != 0 {
					t.Errorf("observed %+v", seen)
				}
				return
			}
			if len(seen) != 1 {
				t.Fatalf("observed %d times", len(seen))
			}
			o := seen[0]
			if o.Status != test.status || o.Status != a.Code || o.Code != test.code || o.Bytes != test.bytes || o.Event.ID != a.Header().Get("X-Request-Id") || o.Event.Pipeline != "crm" {
				t.Errorf("answer %d, observed %d %s, %d bytes, %+v", a.Code, o.Status, o.Code, o.Bytes, o.Event)
			}
			if test.ended == "" {
				return
			}
			steps := core.Reject(o.Event, o.Status, o.Code, o.Bytes, o.Err).Steps
			if last := steps[len(steps)-1]; last.Stage+" "+last.Verdict != test.ended {
				t.Errorf("it ended at %+v, want %s", last, test.ended)
			}
		})
	}
}
