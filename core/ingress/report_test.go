package ingress

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pipehook/pipehook/core"
)

// logged is every line of a JSON log, which has to be JSON.
func logged(t *testing.T, log *bytes.Buffer) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		all = append(all, m)
	}
	return all
}

func TestWhatIsLoggedAtWhichLevel(t *testing.T) {
	tests := []struct {
		name  string
		err   error
		path  string
		level string // as it is at debug; empty for no line
		msg   string
	}{
		{"accepted", nil, crmPath, "DEBUG", "event accepted"},
		{"refused", &core.Error{Kind: core.Invalid, Msg: "m", Err: errors.New("why")}, crmPath, "WARN", "event refused"},
		{"ours", errors.New("why"), crmPath, "ERROR", "event refused"},
		{"another path", nil, "/other", "INFO", "no such hook"},
		{"health", nil, crmPath + "/health", "INFO", "method not allowed"}, // by POST
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			h := storing(Options{Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, &shelf{}, failing(test.err))
			r := crmPost("{}")
			r.URL.Path = test.path
			a := ask(t, h, r)
			all := logged(t, &log)
			if len(all) != 1 || all[0]["level"] != test.level || all[0]["msg"] != test.msg {
				t.Fatalf("log %s", log.String())
			}
			id := a.Header().Get("X-Request-Id")
			if all[0]["event"] != id && all[0]["request"] != id {
				t.Errorf("no id %s in %v", id, all[0])
			}
			if test.err != nil && !strings.Contains(all[0]["err"].(string), "why") {
				t.Errorf("the cause is not told: %v", all[0])
			}
		})
	}
}

func TestAWrongMethodIsNotLoggedAsAWrongPath(t *testing.T) {
	var log bytes.Buffer
	h := storing(Options{Log: slog.New(slog.NewJSONHandler(&log, nil))}, &shelf{})
	r := crmPost("{}")
	r.Method = http.MethodGet
	a := ask(t, h, r)
	if all := logged(t, &log); a.Code != 405 || len(all) != 1 || all[0]["msg"] != "method not allowed" || all[0]["path"] != crmPath {
		t.Errorf("answer %d, log %s", a.Code, log.String())
	}
}

func TestAPanicIsLoggedWithItsPlace(t *testing.T) {
	var log bytes.Buffer
	h := storing(Options{Log: slog.New(slog.NewJSONHandler(&log, nil))}, &shelf{}, gateFunc(func(*core.Event) error { panic("oh no") }))
	if a := ask(t, h, crmPost("{}")); a.Code != 500 || a.Error.Message != "internal error" || h.rules.Load().budget.used.Load() != 0 {
		t.Errorf("answer %d %s", a.Code, a.Body)
	}
	all := logged(t, &log)
	if len(all) != 1 || all[0]["level"] != "ERROR" || !strings.Contains(all[0]["err"].(string), "oh no") || !strings.Contains(all[0]["stack"].(string), "report_test.go") {
		t.Errorf("log %s", log.String())
	}
}

// Credentials and bodies stay out of the log and of the answers, at every level and status.
func TestSecretsAndBodiesAreNeitherLoggedNorAnswered(t *testing.T) {
	var log bytes.Buffer
	opts := Options{Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), MaxBody: 100}
	for _, err := range []error{nil, &core.Error{Kind: core.Unauthenticated, Msg: "m"}, errors.New("ours")} {
		for _, body := range []string{`{"a":"canary"}`, strings.Repeat("canary", 100)} {
			r := crmPost(body)
			r.SetBasicAuth("canary-user", "canary-password")
			r.Header.Set("X-Signature", "canary")
			r.Header.Set("Cookie", "canary")
			r.URL.RawQuery = "token=canary"
			if a := ask(t, storing(opts, &shelf{}, failing(err)), r); strings.Contains(a.Body.String(), "canary") {
				t.Errorf("answer %s", a.Body)
			}
		}
	}
	stray := crmPost("canary")
	stray.URL.Path, stray.URL.RawQuery = "/other", "token=canary"
	ask(t, storing(opts, &shelf{}), stray)
	if log.Len() == 0 || strings.Contains(log.String(), "canary") || strings.Contains(log.String(), "Y2FuYXJ5") {
		t.Errorf("log %s", log.String())
	}
}

func TestWhatStrangersChooseIsBoundedInTheLog(t *testing.T) {
	var log bytes.Buffer
	long := strings.Repeat("ä\x1b[2J\n", 1000)
	h := storing(Options{Log: slog.New(slog.NewJSONHandler(&log, nil))}, &shelf{}, failing(&core.Error{Kind: core.Invalid, Msg: long}))
	ask(t, h, crmPost("{}"))
	r := httptest.NewRequest(strings.Repeat("M", 1000), "/other", nil)
	r.URL.Path = long
	ask(t, h, r)
	all := logged(t, &log)
	if len(all) != 2 {
		t.Fatalf("%d lines", len(all))
	}
	for _, line := range all {
		for key, value := range line {
			if text, ok := value.(string); ok && (len(text) > maxText+len("…")+len("\uFFFD") || !utf8.ValidString(text)) {
				t.Errorf("%s has %d bytes", key, len(text))
			}
		}
	}
}

func TestTheLogIsNotFlooded(t *testing.T) {
	var log bytes.Buffer
	now := time.Now()
	h := storing(Options{Log: slog.New(slog.NewJSONHandler(&log, nil)), Now: func() time.Time { return now }}, &shelf{}, failing(&core.Error{Kind: core.Invalid}))
	for range 500 {
		ask(t, h, crmPost("{}"))
	}
	now = now.Add(time.Second)
	ask(t, h, crmPost("{}"))
	all := logged(t, &log)
	if len(all) != linesPerSecond+1 || all[linesPerSecond]["not_logged_before"] != float64(500-linesPerSecond) {
		t.Errorf("%d lines, the last %v", len(all), all[len(all)-1])
	}
}

func TestOneCodeDoesNotSilenceAnother(t *testing.T) {
	now := time.Now()
	l := newLimiter(func() time.Time { return now })
	for i := range 3 * linesPerSecond {
		if ok, _ := l.allow("a"); ok != (i < linesPerSecond) {
			t.Errorf("line %d: %v", i, ok)
		}
	}
	if ok, left := l.allow("b"); !ok || left != 0 {
		t.Error("b is silenced")
	}
	now = now.Add(time.Second)
	if ok, left := l.allow("a"); !ok || left != 2*linesPerSecond {
		t.Errorf("a second later: %v, %d left out", ok, left)
	}
	if _, left := l.allow("a"); left != 0 {
		t.Errorf("%d told twice", left)
	}
}
