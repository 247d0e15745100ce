package simulate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

// api is a stand-in that is reached over HTTP.
type api struct {
	*simulate.Server
	t     *testing.T
	url   string
	token string
}

func start(t *testing.T, o simulate.Options) *api {
	t.Helper()
	if o.Token == "" {
		o.Token = "a token for tests"
	}
	s := simulate.New(o)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return &api{s, t, server.URL, string(o.Token)}
}

type answer struct {
	Status  int
	Header  http.Header
	Text    string
	Success bool
	Data    json.RawMessage
	Error   string
	More    struct {
		Next       *string `json:"next_cursor"`
		Pagination *struct {
			More bool `json:"more_items_in_collection"`
			Next int  `json:"next_start"`
		}
	} `json:"additional_data"`
}

func (a *api) do(method, path, body string) answer {
	a.t.Helper()
	req, err := http.NewRequest(method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("X-Api-Token", a.token)
	return a.send(req)
}

func (a *api) send(req *http.Request) answer {
	a.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	got := answer{Status: resp.StatusCode, Header: resp.Header, Text: string(text)}
	_ = json.Unmarshal(text, &got) // a page is not JSON
	return got
}

func (a *api) record(got answer) map[string]any {
	a.t.Helper()
	rec := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(got.Data))
	dec.UseNumber()
	if err := dec.Decode(&rec); err != nil {
		a.t.Fatalf("%d %s: %v", got.Status, got.Text, err)
	}
	return rec
}

// all reads a list to its end, and how often each id was there.
func (a *api) all(path string, paging shape.Paging, each func()) map[string]int {
	a.t.Helper()
	seen := map[string]int{}
	join := "?"
	if strings.Contains(path, "?") {
		join = "&"
	}
	next := ""
	for {
		got := a.do("GET", path+next, "")
		if got.Status != http.StatusOK {
			a.t.Fatalf("GET %s%s: %d %s", path, next, got.Status, got.Text)
		}
		var page []map[string]any
		if string(got.Data) != "null" {
			dec := json.NewDecoder(bytes.NewReader(got.Data))
			dec.UseNumber()
			if err := dec.Decode(&page); err != nil {
				a.t.Fatal(err)
			}
		}
		for _, rec := range page {
			seen[fmt.Sprint(rec["id"])]++
		}
		switch {
		case paging == shape.Cursor && got.More.Next != nil:
			next = join + "cursor=" + *got.More.Next
		case paging == shape.Offset && got.More.Pagination.More:
			next = fmt.Sprintf("%sstart=%d", join, got.More.Pagination.Next)
		default:
			return seen
		}
		each()
	}
}

func fill(t *testing.T, s *simulate.Server, n int) {
	t.Helper()
	if err := s.CRM().Fill(rand.New(rand.NewSource(1)), n); err != nil {
		t.Fatal(err)
	}
}

func TestEveryListPagesToExactlyItsRecordsWhileTheyChange(t *testing.T) {
	a := start(t, simulate.Options{})
	fill(t, a.Server, 1100)
	deal := fmt.Sprint(a.CRM().List("deal")[0]["id"])
	for i := range 7 {
		for _, object := range []string{"deal_product", "deal_installment", "file", "project", "task", "goal"} {
			values := map[string]simulate.Record{
				"deal_product":     {"deal_id": a.CRM().List("deal")[0]["id"], "product_id": 1, "item_price": 3, "quantity": 2},
				"deal_installment": {"deal_id": a.CRM().List("deal")[0]["id"], "description": "Part", "amount": 3, "billing_date": "2026-12-01"},
				"file":             {"file_name": "a.pdf"},
				"project":          {"title": "A project"},
				"task":             {"title": "A task", "project_id": 1},
				"goal":             {"title": "A goal"},
			}[object]
			if _, err := a.CRM().Create(object, values, simulate.By{}); err != nil {
				t.Fatal(i, object, err)
			}
		}
	}
	for _, o := range shape.Objects() {
		if o.Name == "goal" {
			continue // its list is no list
		}
		t.Run(o.Name, func(t *testing.T) {
			path := o.Path
			switch o.Parent {
			case "deal":
				path += "?deal_ids=" + deal
			case "board":
				path += "?board_id=1"
			}
			want := map[string]bool{}
			for _, rec := range a.CRM().List(o.Name) {
				want[fmt.Sprint(rec["id"])] = true
			}
			r := rand.New(rand.NewSource(3))
			edit := func() { // what changes and comes anew must not move what is there
				if _, err := a.CRM().Act(r, 20, simulate.Mix{Create: 1, Update: 5, Objects: []string{"deal", "person", "activity", "note", "organization", "lead", "product"}}); err != nil {
					t.Fatal(err)
				}
			}
			if o.Paging != shape.Whole {
				if strings.Contains(path, "?") {
					path += "&limit=3"
				} else {
					path += "?limit=3"
				}
				path = strings.Replace(path, "limit=3", fmt.Sprintf("limit=%d", max(3, len(want)/7)), 1)
			}
			got := a.all(path, o.Paging, edit)
			for id := range want {
				if got[id] != 1 {
					t.Errorf("%s was there %d times, want once", id, got[id])
				}
			}
		})
	}
}

func TestAListIsInTheOrderThatIsAskedFor(t *testing.T) {
	now := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	a := start(t, simulate.Options{Now: func() time.Time { return now }})
	for i := range 20 {
		if _, err := a.CRM().Create("person", simulate.Record{"name": fmt.Sprintf("P %d", i)}, simulate.By{}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
	}
	for _, id := range []string{"3", "1", "2"} {
		if _, err := a.CRM().Update("person", id, simulate.Record{"name": "Changed " + id}, simulate.By{}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
	}
	for _, tc := range []struct {
		name, query string
		want        []string
	}{
		{"newest change first", "sort_by=update_time&sort_direction=desc&limit=2", []string{"2", "1", "3", "20", "19"}},
		{"oldest change first", "sort_by=update_time&limit=3", []string{"4", "5", "6", "7", "8"}},
		{"newest record first", "sort_by=add_time&sort_direction=desc&limit=2", []string{"20", "19", "18", "17", "16"}},
		{"by id from the end", "sort_direction=desc&limit=4", []string{"20", "19", "18", "17", "16"}},
		{"what changed since then, that second too", "updated_since=2026-11-26T10:00:20Z&limit=2", []string{"1", "2", "3"}},
		{"what changed before then, not in that second", "updated_until=2026-11-26T10:00:04Z", []string{"4"}},
		{"some by their ids, without those that are not there", "ids=5,99,4", []string{"4", "5"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			cursor := ""
			for {
				ans := a.do("GET", "/api/v2/persons?"+tc.query+cursor, "")
				var page []struct{ ID json.Number }
				if err := json.Unmarshal(ans.Data, &page); err != nil {
					t.Fatal(ans.Text)
				}
				for _, one := range page {
					got = append(got, one.ID.String())
				}
				if ans.More.Next == nil {
					break
				}
				cursor = "&cursor=" + *ans.More.Next
			}
			if len(got) < len(tc.want) || strings.Join(got[:len(tc.want)], " ") != strings.Join(tc.want, " ") {
				t.Errorf("got %v, want %v first", got, tc.want)
			}
		})
	}
}

func TestWhatPipedriveRefusesIsRefused(t *testing.T) {
	a := start(t, simulate.Options{})
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"fractions of a second", "GET", "/api/v2/deals?updated_since=2026-11-26T10:00:00.123Z", "", 400},
		{"a page that is too long", "GET", "/api/v2/deals?limit=501", "", 400},
		{"a cursor that was made up", "GET", "/api/v2/deals?cursor=x", "", 400},
		{"an order that there is not", "GET", "/api/v2/deals?sort_by=value", "", 400},
		{"products of no deals", "GET", "/api/v2/deals/products", "", 400},
		{"phases of no board", "GET", "/api/v2/phases", "", 400},
		{"a record that is not there", "GET", "/api/v2/deals/1", "", 404},
		{"a path that is not there", "GET", "/api/v2/nothing", "", 404},
		{"webhooks in version 2", "GET", "/api/v2/webhooks", "", 404},
		{"a deal without a title", "POST", "/api/v2/deals", `{"value": 3}`, 400},
		{"a value of another kind", "POST", "/api/v2/deals", `{"title": 3}`, 400},
		{"a key that there is not", "POST", "/api/v2/deals", `{"title": "A", "titel": "B"}`, 400},
		{"a custom field that there is not", "POST", "/api/v2/deals", `{"title": "A", "custom_fields": {"0": 1}}`, 400},
		{"a person that is not there", "POST", "/api/v2/deals", `{"title": "A", "person_id": 99}`, 400},
		{"a lead of nobody", "POST", "/v1/leads", `{"title": "A"}`, 400},
		{"a note of nothing", "POST", "/v1/notes", `{"content": "A"}`, 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := a.do(tc.method, tc.path, tc.body)
			if got.Status != tc.status || got.Success || got.Error == "" {
				t.Errorf("got %d %s, want %d and an error", got.Status, got.Text, tc.status)
			}
		})
	}
}

func TestAWrongTokenIsRefusedByTheGateway(t *testing.T) {
	a := start(t, simulate.Options{})
	a.token = "another token"
	got := a.do("GET", "/api/v2/deals", "")
	if got.Status != 401 || got.Header.Get("X-401-By-Gw") != "true" || got.Error != "unauthorized access" {
		t.Errorf("got %d %v %s", got.Status, got.Header, got.Text)
	}
}

func TestARecordIsWrittenReadAndDeleted(t *testing.T) {
	a := start(t, simulate.Options{})
	var tier, fee shape.Field
	for _, f := range a.CRM().Fields("deal") {
		switch f.Label {
		case "Tier":
			tier = f
		case "Yearly fee":
			fee = f
		}
	}
	body := fmt.Sprintf(`{"title": "A deal", "custom_fields": {%q: %d, %q: {"value": 12.5, "currency": "SEK"}}}`, tier.Key, tier.Options[0].ID, fee.Key)
	made := a.record(a.do("POST", "/api/v2/deals", body))
	if made["update_time"] != nil || made["stage_id"] != json.Number("1") {
		t.Errorf("a new deal is %v", made)
	}
	flat := a.record(a.do("GET", "/v1/deals/1", ""))
	for key, want := range map[string]any{
		tier.Key: fmt.Sprint(tier.Options[0].ID), fee.Key: json.Number("12.5"), fee.Key + "_currency": "SEK", "deleted": false,
	} {
		if flat[key] != want {
			t.Errorf("version 1 has %s as %v, want %v", key, flat[key], want)
		}
	}
	changed := a.record(a.do("PATCH", "/api/v2/deals/1", `{"status": "won"}`))
	if changed["won_time"] == nil || changed["close_time"] == nil || changed["update_time"] == nil {
		t.Errorf("a deal that is won is %v", changed)
	}
	if got := a.do("DELETE", "/api/v2/deals/1", ""); got.Status != 200 {
		t.Fatal(got.Text)
	}
	if got := a.all("/api/v2/deals", shape.Cursor, func() {}); len(got) != 0 {
		t.Errorf("a deleted deal is listed: %v", got)
	}
	if got := a.all("/api/v2/deals?status=open,deleted", shape.Cursor, func() {}); got["1"] != 1 {
		t.Errorf("a deleted deal is not listed as such: %v", got)
	}
	if got := a.record(a.do("GET", "/api/v2/deals/1", "")); got["is_deleted"] != true {
		t.Errorf("a deleted deal is %v", got)
	}
}

func TestALeadHasNoCustomFieldWithoutAValue(t *testing.T) {
	a := start(t, simulate.Options{})
	var fee shape.Field
	for _, f := range a.CRM().Fields("lead") {
		if f.Label == "Yearly fee" {
			fee = f
		}
	}
	a.do("POST", "/api/v2/persons", `{"name": "A person"}`)
	made := a.record(a.do("POST", "/v1/leads", fmt.Sprintf(`{"title": "A lead", "person_id": 1, %q: 12.5, %q: "SEK"}`, fee.Key, fee.Key+"_currency")))
	if made[fee.Key] != json.Number("12.5") || made[fee.Key+"_currency"] != "SEK" {
		t.Errorf("a lead with a value is %v", made)
	}
	path := fmt.Sprintf("/v1/leads/%v", made["id"])
	for what, lead := range map[string]simulate.Record{
		"the answer": a.record(a.do("PATCH", path, fmt.Sprintf(`{%q: null}`, fee.Key))), "the lead": a.record(a.do("GET", path, "")),
	} {
		if lead["title"] != "A lead" {
			t.Errorf("%s is %v", what, lead)
		}
		for key := range lead {
			if len(key) >= len(fee.Key) {
				t.Errorf("%s has %s", what, key)
			}
		}
	}
}

func TestAMergeMovesWhatReferredToTheLoser(t *testing.T) {
	a := start(t, simulate.Options{})
	for _, body := range []string{`{"name": "Loser", "website": "https://example.com"}`, `{"name": "Survivor"}`} {
		a.record(a.do("POST", "/api/v2/organizations", body))
	}
	a.record(a.do("POST", "/api/v2/persons", `{"name": "Some One", "org_id": 1}`))
	var told []string
	a.CRM().OnChange(func(ch simulate.Change) {
		told = append(told, strings.TrimSpace(ch.Action+" "+ch.Object+" "+ch.ID+" "+ch.MergedFrom+ch.MergedTo))
	})
	got := a.record(a.do("PUT", "/v1/organizations/1/merge", `{"merge_with_id": 2}`))
	if got["name"] != "Survivor" || got["merge_what_id"] != json.Number("1") || got["website"] != "https://example.com" {
		t.Errorf("the survivor is %v", got)
	}
	if got := a.record(a.do("GET", "/api/v2/persons/1", "")); got["org_id"] != json.Number("2") {
		t.Errorf("the person belongs to %v", got["org_id"])
	}
	want := "delete organization 1 2, change organization 2 1, change person 1"
	if strings.Join(told, ", ") != want {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestTheBurstIsLimitedAndGoingOnIsPunished(t *testing.T) {
	now := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	a := start(t, simulate.Options{Burst: 3, Now: func() time.Time { return now }})
	for i := range 3 {
		if got := a.do("GET", "/api/v2/pipelines", ""); got.Status != 200 || got.Header.Get("X-Ratelimit-Remaining") != fmt.Sprint(2-i) {
			t.Errorf("request %d: %d, %v", i, got.Status, got.Header)
		}
	}
	if got := a.do("GET", "/api/v2/pipelines", ""); got.Status != 429 || got.Header.Get("X-Ratelimit-Reset") != "2" {
		t.Errorf("the fourth got %d, %v", got.Status, got.Header)
	}
	for range 20 {
		a.do("GET", "/api/v2/pipelines", "")
	}
	if got := a.do("GET", "/api/v2/pipelines", ""); got.Status != 403 || !strings.Contains(got.Text, "<html>") {
		t.Errorf("after many it is %d %s", got.Status, got.Text)
	}
	now = now.Add(2 * time.Minute)
	if got := a.do("GET", "/api/v2/pipelines", ""); got.Status != 200 {
		t.Errorf("later it is %d", got.Status)
	}
}

func TestADaysTokensAreSpentUntilMidnight(t *testing.T) {
	now := time.Date(2026, 11, 26, 23, 0, 0, 0, time.UTC)
	a := start(t, simulate.Options{Daily: 25, Now: func() time.Time { return now }})
	for i, want := range []int{200, 200, 429} {
		if got := a.do("GET", "/api/v2/deals", ""); got.Status != want {
			t.Errorf("request %d: %d, want %d", i, got.Status, want)
		}
	}
	now = now.Add(time.Hour)
	if got := a.do("GET", "/api/v2/deals", ""); got.Status != 200 {
		t.Errorf("the next day it is %d", got.Status)
	}
}

func TestOnlyPostAndPutAreToldHowManyRequestsAreLeft(t *testing.T) {
	a := start(t, simulate.Options{Daily: 1000})
	for method, told := range map[string]bool{"POST": true, "PUT": true, "PATCH": false, "DELETE": false, "GET": false} {
		if got := a.do(method, "/api/v2/deals/1", "{}").Header.Get("X-Daily-Requests-Left"); (got != "") != told {
			t.Errorf("%s has %q", method, got)
		}
	}
}

func TestAnAnswerAboutWebhooksIsCutToo(t *testing.T) {
	a := start(t, simulate.Options{})
	if err := a.Faults().Add(simulate.Fault{Kind: "cut", Next: 1}); err != nil {
		t.Fatal(err)
	}
	for _, whole := range []bool{false, true} {
		if got := a.do("GET", "/api/v1/webhooks", ""); got.Status != 200 || json.Valid([]byte(got.Text)) != whole {
			t.Errorf("got %d %s", got.Status, got.Text)
		}
	}
}

func TestFaultsHappenAsOftenAsAskedFor(t *testing.T) {
	a := start(t, simulate.Options{})
	fill(t, a.Server, 100)
	for _, tc := range []struct {
		kind   string
		status int
		good   func(answer) bool
	}{
		{"503", 503, func(g answer) bool { return !g.Success }},
		{"401", 401, func(g answer) bool { return g.Header.Get("X-401-By-Gw") == "true" }},
		{"blocked", 403, func(g answer) bool { return strings.Contains(g.Text, "<html>") }},
		{"cut", 200, func(g answer) bool { return !json.Valid([]byte(g.Text)) }},
		{"repeat", 200, func(g answer) bool { return g.More.Next != nil }},
	} {
		t.Run(tc.kind, func(t *testing.T) {
			set := a.do("POST", "/simulate/faults", fmt.Sprintf(`{"api": [{"kind": %q, "next": 1, "path": "/api/v2/persons"}]}`, tc.kind))
			if set.Status != 200 {
				t.Fatal(set.Text)
			}
			if got := a.do("GET", "/api/v2/deals?limit=500", ""); got.Status != 200 || got.More.Next != nil {
				t.Errorf("another path got %d %s", got.Status, got.Text)
			}
			if got := a.do("GET", "/api/v2/persons?limit=500", ""); got.Status != tc.status || !tc.good(got) {
				t.Errorf("got %d %s", got.Status, got.Text)
			}
			if got := a.do("GET", "/api/v2/persons?limit=500", ""); got.Status != 200 || !got.Success {
				t.Errorf("the request after it got %d", got.Status)
			}
		})
	}
}

func TestAnAppGetsTokensThatEnd(t *testing.T) {
	now := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	a := start(t, simulate.Options{ClientID: "app", ClientSecret: "secret of it", TokenLife: time.Minute, Now: func() time.Time { return now }})
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(a.url + "/oauth/authorize?client_id=app&state=s&redirect_uri=http://127.0.0.1:1/back")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	back, err := resp.Location()
	if err != nil || back.Query().Get("state") != "s" {
		t.Fatal(back, err)
	}
	token := func(form string) map[string]any {
		req, _ := http.NewRequest("POST", a.url+"/oauth/token", strings.NewReader(form))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth("app", "secret of it")
		got := map[string]any{}
		if err := json.Unmarshal([]byte(a.send(req).Text), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	ask := func(access any) int {
		req, _ := http.NewRequest("GET", a.url+"/v1/users/me", nil)
		req.Header.Set("Authorization", fmt.Sprintf("Bearer %v", access))
		return a.send(req).Status
	}
	first := token("grant_type=authorization_code&code=" + back.Query().Get("code"))
	if got := ask(first["access_token"]); got != 200 {
		t.Errorf("a fresh token got %d", got)
	}
	now = now.Add(2 * time.Minute)
	if got := ask(first["access_token"]); got != 401 {
		t.Errorf("an old token got %d", got)
	}
	second := token(fmt.Sprintf("grant_type=refresh_token&refresh_token=%v", first["refresh_token"]))
	if got := ask(second["access_token"]); got != 200 {
		t.Errorf("a refreshed token got %d", got)
	}
	if again := token("grant_type=authorization_code&code=" + back.Query().Get("code")); again["error"] != "invalid_grant" {
		t.Errorf("a code that was used got %v", again)
	}
}

func TestTheSameSeedDoesTheSame(t *testing.T) {
	text := func() string {
		now := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
		s := simulate.New(simulate.Options{Seed: 5, Now: func() time.Time { return now }})
		fill(t, s, 300)
		tally, err := s.CRM().Act(rand.New(rand.NewSource(7)), 500, simulate.Mix{})
		if err != nil || tally.Merged == 0 || tally.Created+tally.Updated+tally.Merged+tally.Deleted != 500 {
			t.Fatal(tally, err)
		}
		all := map[string]any{}
		for _, o := range shape.Objects() {
			all[o.Name] = s.CRM().List(o.Name)
		}
		out, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(tally, string(out))
	}
	if a, b := text(), text(); a != b {
		t.Error("two runs differ")
	}
}
