package ingress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
)

func TestTheBytesOfAnAnswerAreFixed(t *testing.T) {
	var got core.Event
	keep := stepFunc(func(_ context.Context, ev *core.Event) (core.Verdict, error) {
		got = *ev
		return core.Continue, nil
	})
	now := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.FixedZone("", 3600))
	h := storing(Options{Now: func() time.Time { return now }}, &shelf{}, keep)
	r := crmPost("{\"a\": \x00\xff}\n")
	r.Header.Set("X-Custom", "yes")
	a := ask(t, h, r)
	if want := `{"status":"accepted","id":"` + got.ID + `"}`; a.Code != 200 || a.Body.String() != want {
		t.Errorf("answer %d %s, want %s", a.Code, a.Body, want)
	}
	if got.Pipeline != "crm" || got.Source != "test" || !got.ReceivedAt.Equal(now) || got.Remote.String() != "192.0.2.1" ||
		got.Header.Get("X-Custom") != "yes" || string(got.Body) != "{\"a\": \x00\xff}\n" || got.ID[14] != '7' {
		t.Errorf("event %+v", got)
	}
	a = ask(t, h, httptest.NewRequest("GET", crmPath+"/health", nil))
	if want := `{"status":"ok","service":"pipehook","timestamp":"2026-01-02T02:04:05.678Z"}`; a.Code != 200 || a.Body.String() != want {
		t.Errorf("health %d %s, want %s", a.Code, a.Body, want)
	}
	a = ask(t, h, crmPost(""))
	if want := `{"error":{"code":"malformed","message":"the body is empty","request_id":"` + a.Header().Get("X-Request-Id") + `"}}`; a.Body.String() != want {
		t.Errorf("error %s, want %s", a.Body, want)
	}
}

func TestPathsAndMethodsAreTakenLiterally(t *testing.T) {
	tests := []struct {
		method, target string
		status         int
		allow          string
	}{
		{"POST", crmPath, 200, ""},
		{"POST", crmPath + "?x=1;y=2", 200, ""},
		{"POST", "http://elsewhere.example" + crmPath, 200, ""},
		{"GET", crmPath, 405, "POST"},
		{"HEAD", crmPath, 405, "POST"},
		{"PUT", crmPath, 405, "POST"},
		{"OPTIONS", crmPath, 405, "POST"},
		{"post", crmPath, 405, "POST"},
		{"GET", crmPath + "/health", 200, ""},
		{"HEAD", crmPath + "/health", 200, ""},
		{"POST", crmPath + "/health", 405, "GET, HEAD"},
		{"POST", crmPath + "/", 404, ""},
		{"POST", "/" + crmPath, 404, ""},
		{"POST", "/x/.." + crmPath, 404, ""},
		{"POST", "/%63rm/webhook", 404, ""},
		{"POST", "/crm%2Fwebhook", 404, ""},
		{"POST", crmPath + "%00", 404, ""},
		{"POST", strings.ToUpper(crmPath), 404, ""},
		{"GET", "/", 404, ""},
		{"GET", "/health", 404, ""},
		{"GET", crmPath + "/health/", 404, ""},
		{"GET", "/crm%2Fwebhook/health", 404, ""},
	}
	h := storing(Options{}, &shelf{})
	for _, test := range tests {
		t.Run(test.method+" "+test.target, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.target, strings.NewReader("{}"))
			r.Header.Set("Content-Type", "application/json")
			a := ask(t, h, r)
			if a.Code != test.status || a.Header().Get("Allow") != test.allow || a.Header().Get("Location") != "" {
				t.Errorf("answer %d, Allow %q, want %d, %q", a.Code, a.Header().Get("Allow"), test.status, test.allow)
			}
		})
	}
}

func TestEachKindHasItsStatusAndHeaders(t *testing.T) {
	tests := []struct {
		err       *core.Error
		status    int
		code      string
		challenge string
		after     string
	}{
		{&core.Error{Kind: core.Internal}, 500, "internal", "", ""},
		{&core.Error{Kind: core.Malformed}, 400, "malformed", "", ""},
		{&core.Error{Kind: core.Invalid}, 422, "invalid", "", ""},
		{&core.Error{Kind: core.Unauthenticated}, 401, "unauthenticated", `Basic realm="pipehook", charset="UTF-8"`, ""},
		{&core.Error{Kind: core.Unauthenticated, Challenge: "Other"}, 401, "unauthenticated", "Other", ""},
		{&core.Error{Kind: core.Forbidden, Challenge: "none is shown"}, 403, "forbidden", "", ""},
		{&core.Error{Kind: core.TooLarge}, 413, "too_large", "", ""},
		{&core.Error{Kind: core.UnsupportedMediaType}, 415, "unsupported_media_type", "", ""},
		{&core.Error{Kind: core.Unavailable}, 503, "unavailable", "", "5"},
		{&core.Error{Kind: core.Conflict}, 409, "conflict", "", ""},
		{&core.Error{Kind: core.RateLimited}, 429, "rate_limited", "", "5"},
		{&core.Error{Kind: core.RateLimited, RetryAfter: 90 * time.Second}, 429, "rate_limited", "", "90"},
		{&core.Error{Kind: core.Permanent}, 422, "permanent", "", ""},
		{&core.Error{Kind: core.Failed}, 502, "listener_failed", "", ""},
	}
	for _, test := range tests {
		a := ask(t, storing(Options{}, &shelf{}, failing(test.err)), crmPost("{}"))
		if a.Code != test.status || a.Error.Code != test.code || a.Header().Get("WWW-Authenticate") != test.challenge || a.Header().Get("Retry-After") != test.after {
			t.Errorf("%s: answer %d %s %v", test.err.Kind, a.Code, a.Body, a.Header())
		}
	}
}

func TestADuplicateIsAnsweredWithTheFirstID(t *testing.T) {
	s := &shelf{}
	var seen Outcome
	h := storing(Options{Observe: func(o Outcome) { seen = o }}, s, stepFunc(func(_ context.Context, ev *core.Event) (core.Verdict, error) {
		ev.Settle("first")
		return core.Settled, nil
	}))
	a := ask(t, h, crmPost("{}"))
	if a.Code != 200 || a.Body.String() != `{"status":"duplicate","id":"first"}` || s.count() != 0 || seen.Code != "duplicate" || seen.Status != 200 {
		t.Errorf("answer %d %s, observed %+v", a.Code, a.Body, seen)
	}
}

func TestWhatWasDroppedIsAnsweredWithSuccessAndItsOwnID(t *testing.T) {
	s := &shelf{}
	var seen Outcome
	h := storing(Options{Observe: func(o Outcome) { seen = o }}, s, stepFunc(func(context.Context, *core.Event) (core.Verdict, error) {
		return core.Dropped, nil
	}))
	a := ask(t, h, crmPost("{}"))
	if a.Code != 200 || a.Body.String() != `{"status":"dropped","id":"`+seen.Event.ID+`"}` || s.count() != 0 || seen.Code != "dropped" || seen.Err != nil {
		t.Errorf("answer %d %s, observed %+v", a.Code, a.Body, seen)
	}
}

// What an error says beside its message, and what it wraps, is for the log.
func TestAnAnswerShowsAMessageAndNothingBehindIt(t *testing.T) {
	canary := errors.New("canary")
	tests := []struct {
		name   string
		err    error
		status int
		msg    string
	}{
		{"an error behind", &core.Error{Kind: core.Unavailable, Msg: "m", Err: canary}, 503, "m"},
		{"an error around", fmt.Errorf("canary: %w", &core.Error{Kind: core.Forbidden, Msg: "m"}), 403, "m"},
		{"a message of an internal one", &core.Error{Msg: "canary", Err: canary}, 500, "internal error"},
		{"a kind that there is not", &core.Error{Kind: 99, Msg: "canary"}, 500, "internal error"},
		{"a media type", &core.Error{Kind: core.UnsupportedMediaType, Msg: "m", Err: canary}, 415, "m"},
		{"out of time", fmt.Errorf("canary: %w", context.DeadlineExceeded), 503, "the event could not be handled in time"},
		{"out of time, of a known kind", &core.Error{Kind: core.Failed, Msg: "m", Err: context.DeadlineExceeded}, 502, "m"},
		{"control characters", &core.Error{Kind: core.Invalid, Msg: "\x1b[2J \"b\" \\ \x00\x7f\xff \u202e\n"}, 422, "\x1b[2J \"b\" \\ \x00\x7f\uFFFD \u202e\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &shelf{}
			var seen Outcome
			h := storing(Options{Observe: func(o Outcome) { seen = o }}, s, failing(test.err))
			a := ask(t, h, crmPost("{}"))
			if a.Code != test.status || a.Error.Message != test.msg || strings.Contains(a.Body.String(), "canary") || s.count() != 0 {
				t.Errorf("answer %d %s", a.Code, a.Body)
			}
			if seen.Status != test.status || seen.Code != a.Error.Code || !errors.Is(seen.Err, test.err) || seen.Event.ID != a.Error.RequestID {
				t.Errorf("observed %+v", seen)
			}
		})
	}
}

// What one client wants must not tear a commit that it shares with others.
func TestAClientThatIsGoneStopsNothing(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	s := &shelf{}
	look := stepFunc(func(ctx context.Context, _ *core.Event) (core.Verdict, error) { return core.Continue, ctx.Err() })
	if a := ask(t, storing(Options{}, s, look), crmPost("{}").WithContext(gone)); a.Code != 200 || s.count() != 1 {
		t.Errorf("answer %d %s", a.Code, a.Body)
	}
}

func TestTheTimeOfARequestEnds(t *testing.T) {
	wait := stepFunc(func(ctx context.Context, _ *core.Event) (core.Verdict, error) {
		<-ctx.Done()
		return core.Continue, ctx.Err()
	})
	s := &shelf{}
	if a := ask(t, storing(Options{AckWithin: time.Millisecond}, s, wait), crmPost("{}")); a.Code != 503 || a.Header().Get("Retry-After") != "5" {
		t.Errorf("a slow stage: %d %s", a.Code, a.Body)
	}
	if a := ask(t, storing(Options{AckWithin: -1}, s), crmPost("{}")); a.Code != 503 || s.count() != 0 {
		t.Errorf("a body that took all the time: %d %s", a.Code, a.Body)
	}
}

func TestAGateIsAskedBeforeTheBodyIsRead(t *testing.T) {
	refuse := gateFunc(func(ev *core.Event) error {
		if ev.Header.Get("X-In") == "" {
			return &core.Error{Kind: core.Unauthenticated, Msg: "no"}
		}
		return nil
	})
	untouched := httptest.NewRequest("POST", crmPath, readerFunc(func([]byte) (int, error) {
		t.Error("the body was read")
		return 0, errors.New("read")
	}))
	untouched.Header.Set("Content-Type", "application/json")
	h := storing(Options{}, &shelf{}, refuse)
	if a := ask(t, h, untouched); a.Code != 401 {
		t.Errorf("answer %d %s", a.Code, a.Body)
	}
	r := crmPost("{}")
	r.Header.Set("X-In", "yes")
	if a := ask(t, h, r); a.Code != 200 {
		t.Errorf("answer %d %s", a.Code, a.Body)
	}
	first := failing(&core.Error{Kind: core.Invalid, Msg: "first"})
	if a := ask(t, storing(Options{}, &shelf{}, first, refuse), crmPost("{}")); a.Code != 422 {
		t.Errorf("a gate overtook the stage before it: %d %s", a.Code, a.Body)
	}
}

func TestHooksAreReplacedWhileRequestsRun(t *testing.T) {
	inside, goOn := make(chan struct{}), make(chan struct{})
	h := storing(Options{}, &shelf{}, stepFunc(func(context.Context, *core.Event) (core.Verdict, error) {
		close(inside)
		<-goOn
		return core.Continue, nil
	}))
	answered := make(chan int)
	go func() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, crmPost("{}"))
		answered <- w.Code
	}()
	<-inside
	h.SetHooks(nil)
	if a := ask(t, h, crmPost("{}")); a.Code != 404 {
		t.Errorf("the hook is still there: %d", a.Code)
	}
	close(goOn)
	if code := <-answered; code != 200 {
		t.Errorf("the request that ran was answered %d", code)
	}
}

func FuzzQuotedText(f *testing.F) {
	f.Add("a\"\\\x00\xff\u2028")
	f.Fuzz(func(t *testing.T, text string) {
		var back string
		if err := json.Unmarshal(appendQuoted(nil, text), &back); err != nil || back != string([]rune(text)) {
			t.Errorf("%q came back as %q: %v", text, back, err)
		}
	})
}
