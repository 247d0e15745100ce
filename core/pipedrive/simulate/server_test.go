package simulate_test

import (
	"context"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

func TestWhatIsChangedByTheAPIReachesAWebhook(t *testing.T) {
	a := start(t, simulate.Options{})
	bodies := make(chan string, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		bodies <- string(text)
	}))
	defer receiver.Close()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = a.Run(ctx) })
	defer wg.Wait()
	defer stop()
	for _, prefix := range []string{"/v1", "/api/v1"} {
		got := a.do("POST", prefix+"/webhooks", fmt.Sprintf(`{"subscription_url": %q, "event_action": "*", "event_object": "person", "name": "A"}`, receiver.URL))
		if got.Status != 201 {
			t.Fatal(got.Status, got.Text)
		}
	}
	a.record(a.do("POST", "/api/v2/persons", `{"name": "Some One"}`))
	if err := a.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if body := <-bodies; !strings.Contains(body, `"action":"create"`) || !strings.Contains(body, `"name":"Some One"`) || !strings.Contains(body, `"change_source":"api"`) {
			t.Errorf("a webhook says %s", body)
		}
	}
	if got := a.do("GET", "/v1/webhooks", ""); got.Status != 200 || got.Header.Get("Content-Type") == "" {
		t.Errorf("the webhooks are %d %s", got.Status, got.Text)
	}
	a.token = "another token"
	if got := a.do("GET", "/v1/webhooks", ""); got.Status != 401 {
		t.Errorf("with a wrong token they are %d", got.Status)
	}
}

func TestManyMayWorkAtOnce(t *testing.T) {
	a := start(t, simulate.Options{})
	fill(t, a.Server, 300)
	told := 0
	a.CRM().OnChange(func(ch simulate.Change) {
		told++ // one at a time
		if _, there := a.CRM().Get(ch.Object, ch.ID); !there && ch.Action != "delete" {
			t.Errorf("%s %s is not there when its change is told", ch.Object, ch.ID)
		}
	})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewSource(int64(i)))
			for range 200 { // another may delete what this one was about to change
				_, _ = a.CRM().Act(r, 1, simulate.Mix{})
			}
		})
	}
	for _, path := range []string{"/api/v2/deals?sort_by=update_time", "/v1/recents?since_timestamp=2026-01-01+00:00:00&limit=500", "/v1/notes", "/api/v2/dealFields"} {
		wg.Go(func() {
			for range 10 {
				if got := a.do("GET", path, ""); got.Status != 200 || !got.Success {
					t.Errorf("%s: %d %s", path, got.Status, got.Text)
				}
			}
		})
	}
	wg.Wait()
	if told < 600 {
		t.Errorf("told %d changes", told)
	}
}

func TestTheOtherListsAreThere(t *testing.T) {
	a := start(t, simulate.Options{})
	fill(t, a.Server, 100)
	for _, tc := range []struct{ path, want string }{
		{"/api/v1/users/me", `"company_domain":"company"`},
		{"/v1/users", `"timezone_name"`},
		{"/v1/leadFields", `"edit_flag":true`},
		{"/v1/noteFields", `"key":"content"`},
		{"/v1/leadFields?start=2&limit=3", `"next_start":5`},
		{"/api/v2/dealFields?limit=5", `"next_cursor":"`},
		{"/api/v2/personFields", `"label":"Gold"`},
		{"/api/v2/deals/archived", `"data":[]`},
		{"/v1/leads/archived", `"data":[]`},
		{"/v1/files", `"data":null`},
		{"/v1/goals/find", `"goals":[]`},
		{"/v1/recents?since_timestamp=2026-01-01+00:00:00&items=deal,person&limit=1", `"more_items_in_collection":true`},
		{"/api/v2/persons?custom_fields=x&limit=1", `"custom_fields":{}`},
		{"/api/v2/deals?include_fields=first_won_time&limit=1", `"first_won_time"`},
		{"/simulate/state", `"records"`},
	} {
		t.Run(tc.path, func(t *testing.T) {
			if got := a.do("GET", tc.path, ""); got.Status != 200 || !strings.Contains(got.Text, tc.want) {
				t.Errorf("got %d %s, want %s", got.Status, got.Text, tc.want)
			}
		})
	}
}
