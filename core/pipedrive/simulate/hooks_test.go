package simulate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// hand is a clock that a test moves.
type hand struct {
	mu     sync.Mutex
	now    time.Time
	timers map[int]handTimer
	last   int
}

type handTimer struct {
	at time.Time
	f  func()
}

func newHand() *hand {
	return &hand{now: time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC), timers: map[int]handTimer{}}
}

func (c *hand) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *hand) After(d time.Duration, f func()) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	n := c.last
	c.timers[n] = handTimer{c.now.Add(d), f}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.timers, n)
	}
}

// advance moves the clock, and calls what is due.
func (c *hand) advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	var due []func()
	for n, t := range c.timers {
		if !t.at.After(c.now) {
			due = append(due, t.f)
			delete(c.timers, n)
		}
	}
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
}

// rig is hooks with one webhook, and its receiver.
type rig struct {
	*hooks
	t      *testing.T
	clock  *hand
	mu     sync.Mutex
	status int
	got    []arrival
}

type arrival struct {
	header  http.Header
	length  int64
	body    string
	attempt int
	id      string
}

func newRig(t *testing.T, o hookOptions, webhook string) *rig {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	r := &rig{t: t, clock: newHand(), status: http.StatusOK}
	receiver := httptest.NewServer(http.HandlerFunc(r.receive))
	t.Cleanup(receiver.Close)
	o.Clock, o.Now, o.Account.CompanyID, o.Account.Host = r.clock, r.clock.Now, 42, "acme.pipedrive.com"
	if o.Lanes == 0 {
		o.Lanes = 1
	}
	r.hooks = newHooks(o)
	r.post(strings.ReplaceAll(webhook, "URL", receiver.URL), http.StatusCreated)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return r
}

const anyHook = `{"subscription_url":"URL","event_action":"*","event_object":"*","name":"all","http_auth_user":"u","http_auth_password":"p"}`

func (r *rig) receive(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	var in struct {
		Meta struct {
			Attempt  int
			EntityID string `json:"entity_id"`
		}
	}
	_ = json.Unmarshal(body, &in)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, arrival{req.Header, req.ContentLength, string(body), in.Meta.Attempt, in.Meta.EntityID})
	if r.status == http.StatusFound {
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(r.status)
}

func (r *rig) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *rig) attempts() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.got {
		all = append(all, fmt.Sprintf("%s/%d", a.id, a.attempt))
	}
	return all
}

func (r *rig) post(body string, want int) string {
	r.t.Helper()
	return request(r.t, r.hooks, http.MethodPost, "/v1/webhooks", body, want)
}

func request(t *testing.T, h http.Handler, method, path, body string, want int) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	if w.Code != want {
		t.Fatalf("%s %s: got %d %s, want %d", method, path, w.Code, w.Body, want)
	}
	return w.Body.String()
}

// change tells of changes to deals of these ids, and waits until what can be sent is sent.
func (r *rig) change(ids ...int) {
	r.t.Helper()
	for _, id := range ids {
		r.changed(dealChange(id, r.clock.Now()))
	}
	r.quietly()
}

func dealChange(id int, at time.Time) Change {
	before := Record{"id": int64(id), "title": "old", "update_time": "2026-11-25T10:00:00Z"}
	after := Record{"id": int64(id), "title": "new <&>", "update_time": "2026-11-26T10:00:00Z"}
	return Change{Object: "deal", Action: "change", ID: fmt.Sprint(id), Before: before, After: after, At: at, UserID: 7, Source: "app"}
}

func (r *rig) quietly() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.quiet(ctx); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	r.clock.advance(d)
	r.quietly()
}

func TestADeliveryLooksAsCaptured(t *testing.T) {
	r := newRig(t, hookOptions{}, anyHook)
	r.change(1)
	a := r.got[0]
	for name, want := range map[string]string{
		"User-Agent": "Pipedrive Webhooks", "Content-Type": "application/json", "Accept": "application/json, text/plain, */*",
		"Accept-Encoding": "gzip, compress, deflate, br", "Authorization": "Basic dTpw",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if a.length != int64(len(a.body)) || !strings.HasPrefix(a.body, `{"data":{"add_time":null,`) || !strings.Contains(a.body, "new <&>") {
		t.Errorf("got %d bytes: %s", a.length, a.body)
	}
	if !strings.Contains(a.body, `"previous":{"title":"old"},"meta":{"action":"change","company_id":"42"`) {
		t.Errorf("previous or meta: %s", a.body)
	}
}

func TestRetriesComeAfter3And30And150SecondsBehindNewerEvents(t *testing.T) {
	for _, status := range []int{http.StatusInternalServerError, http.StatusUnauthorized, http.StatusFound, http.StatusGone} {
		r := newRig(t, hookOptions{}, anyHook)
		r.answer(status)
		r.change(1)
		r.pass(3*time.Second - 1)
		r.answer(http.StatusNoContent)
		r.change(2)
		r.answer(status)
		r.pass(1)
		r.pass(30*time.Second - 1)
		r.pass(1)
		r.pass(150 * time.Second)
		if got, want := r.attempts(), []string{"1/1", "2/1", "1/2", "1/3", "1/4"}; !slices.Equal(got, want) {
			t.Errorf("%d: got %v, want %v", status, got, want)
		}
		if got, want := r.Stats()[1], (HookStats{Sent: 5, Succeeded: 1, Failed: 1}); got != want {
			t.Errorf("%d: got %+v, want %+v", status, got, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := r.Settle(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
}

func TestTenFailedFirstAttemptsAreABanAndWhatHappensMeanwhileIsLost(t *testing.T) {
	r := newRig(t, hookOptions{}, anyHook)
	r.answer(http.StatusUnauthorized)
	r.change(1, 2, 3, 4, 5, 6, 7, 8, 9)
	r.pass(3 * time.Second)
	r.pass(30 * time.Second)
	r.pass(150 * time.Second) // 27 retries fail, and ban nobody
	r.answer(http.StatusOK)
	r.change(10)
	r.answer(http.StatusUnauthorized)
	if got := r.Stats()[1]; got.Bans != 0 || got.Sent != 37 {
		t.Fatalf("after nine failed first attempts: %+v", got)
	}
	r.change(11)
	if got := r.Stats()[1]; got.Bans != 1 {
		t.Fatalf("after ten: %+v", got)
	}
	r.answer(http.StatusOK)
	r.change(12, 13)
	if list := request(t, r, http.MethodGet, "/v1/webhooks", "", 200); !strings.Contains(list, `"is_active":0`) {
		t.Errorf("in the ban: %s", list)
	}
	r.pass(banFor)
	r.change(14)
	if got := r.Stats()[1]; got.Lost != 2 || got.Succeeded != 3 { // 10, 11 by its retry, 14
		t.Errorf("after the ban: %+v", got)
	}
	r.answer(http.StatusUnauthorized)
	r.change(15, 16, 17, 18, 19, 20, 21, 22, 23)
	if got := r.Stats()[1]; got.Bans != 1 {
		t.Errorf("the counter did not begin anew: %+v", got)
	}
}

func TestAWebhookIsDeletedAfterThreeDaysWithoutSuccess(t *testing.T) {
	r := newRig(t, hookOptions{}, anyHook)
	r.answer(http.StatusInternalServerError)
	r.change(1)
	r.pass(deletedAfter / 2)
	r.answer(http.StatusOK)
	r.change(2)
	r.pass(deletedAfter)
	if list := request(t, r, http.MethodGet, "/v1/webhooks", "", 200); !strings.Contains(list, `"remove_time":null`) {
		t.Fatalf("a success does not spare it: %s", list)
	}
	r.answer(http.StatusInternalServerError)
	r.change(3)
	r.pass(deletedAfter)
	list := request(t, r, http.MethodGet, "/v1/webhooks", "", 200)
	if !strings.Contains(list, `"is_active":0`) || strings.Contains(list, `"remove_reason":null`) || !strings.Contains(list, `"last_http_status":500`) {
		t.Errorf("got %s", list)
	}
	n := len(r.attempts())
	r.change(4)
	if len(r.attempts()) != n {
		t.Error("a deleted webhook still gets events")
	}
}

func TestNoAnswerInTenSecondsIsAFailure(t *testing.T) {
	hold, arrived := make(chan struct{}), make(chan struct{}, 1)
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		arrived <- struct{}{}
		<-hold
	}))
	r := newRig(t, hookOptions{}, strings.ReplaceAll(anyHook, "URL", slow.URL))
	t.Cleanup(func() { close(hold); slow.Close() })
	r.changed(dealChange(1, r.clock.Now()))
	<-arrived
	r.pass(timeout)
	list := request(t, r, http.MethodGet, "/v1/webhooks", "", 200)
	if got := r.Stats()[1]; got.Succeeded != 0 || got.Sent != 1 || !strings.Contains(list, `"last_http_status":null`) {
		t.Errorf("got %+v %s", got, list)
	}
}

func TestFaultsDropAndDoubleDeliveries(t *testing.T) {
	r := newRig(t, hookOptions{Faults: func() HookFaults { return HookFaults{Drop: 1} }}, anyHook)
	r.change(1, 2)
	r.o.Faults = func() HookFaults { return HookFaults{Reorder: 1, Duplicate: 1} }
	r.change(3)
	r.pass(longestHold)
	if got, want := r.attempts(), []string{"3/1", "3/1"}; !slices.Equal(got, want) || r.Stats()[1].Dropped != 2 {
		t.Errorf("got %v %+v", got, r.Stats()[1])
	}
	r.o.Faults = func() HookFaults { return HookFaults{Reorder: 1, Hold: time.Hour} }
	r.change(4)
	r.pass(longestHold)
	if got := r.attempts(); len(got) != 2 {
		t.Errorf("it is not held back for longer: %v", got)
	}
	r.pass(time.Hour)
	if got := r.attempts(); len(got) != 3 || r.Stats()[1].Late != 2 {
		t.Errorf("got %v %+v", got, r.Stats()[1])
	}
}

func TestTensOfThousandsAreSentInSecondsEachRecordInOrder(t *testing.T) {
	r := newRig(t, hookOptions{Lanes: 16}, anyHook)
	const n = 20_000
	for i := range n {
		ch := dealChange(i%100, r.clock.Now())
		ch.After["value"] = int64(i)
		r.changed(ch)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	last := map[string]int{}
	for _, a := range r.got {
		var in struct{ Data struct{ Value int } }
		if err := json.Unmarshal([]byte(a.body), &in); err != nil {
			t.Fatal(err)
		}
		if before, seen := last[a.id]; seen && in.Data.Value <= before {
			t.Fatalf("deal %s: %d after %d", a.id, in.Data.Value, before)
		}
		last[a.id] = in.Data.Value
	}
	if got := r.Stats()[1]; got.Succeeded != n {
		t.Errorf("got %+v", got)
	}
}

func TestSubscriptionsAreCheckedAsTheAPIDoes(t *testing.T) {
	h := newHooks(hookOptions{})
	hook := func(key, value string) string {
		m := map[string]string{"subscription_url": "https://example.com/in", "event_action": "change", "event_object": "deal", "name": "n", key: value}
		return string(appendJSON(nil, m))
	}
	for name, tt := range map[string]struct{ body, want string }{
		"an action of version 1":  {hook("event_action", "updated"), "Validation failed"},
		"an unknown object":       {hook("event_object", "file"), "event_object"},
		"no URL":                  {hook("subscription_url", "example.com"), `"subscription_url":["invalid or non-reachable URL"]`},
		"Pipedrive's own API":     {hook("subscription_url", "https://acme.pipedrive.com/api/v1/deals"), `"subscription_url":["invalid or non-reachable URL"]`},
		"a name that is too long": {hook("name", strings.Repeat("é", 256)), `"name"`},
		"another version":         {hook("version", "3.0"), `"version"`},
	} {
		if got := request(t, h, http.MethodPost, "/api/v1/webhooks", tt.body, 400); !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %s", name, got)
		}
	}
	for range maxWebhooks {
		request(t, h, http.MethodPost, "/v1/webhooks", hook("version", "1.0"[:0]), 201)
	}
	request(t, h, http.MethodPost, "/v1/webhooks", hook("name", "n"), 422)
	if got, want := request(t, h, http.MethodDelete, "/v1/webhooks/1", "", 200), `{"status":"ok","success":true}`; got != want {
		t.Errorf("got %s", got)
	}
	if got, want := request(t, h, http.MethodDelete, "/v1/webhooks/1", "", 404), `{"status":"error","success":false,"errors":{"id":["not found"]}}`; got != want {
		t.Errorf("got %s", got)
	}
	h.o.Caller = func(*http.Request) Caller { return Caller{UserID: 1, App: "app"} }
	request(t, h, http.MethodDelete, "/v1/webhooks/2", "", 403)
	if got := request(t, h, http.MethodGet, "/v1/webhooks", "", 200); got != `{"status":"ok","success":true,"data":[]}` {
		t.Errorf("an app sees those of others: %s", got)
	}
}
