package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/coretest/testdb"
)

// addressed has a public address, and an account on this machine or elsewhere.
func addressed(t *testing.T, chain, public, base string) *project {
	t.Helper()
	p := newProject(t, testdb.SQLite(t), chain, map[string]string{"": "PIPEDRIVE"})
	if public == "" {
		public = "http://" + p.hooks
	}
	edit(t, p.config, "PIPEDRIVE", fmt.Sprintf("[pipedrive]\nbase_url = %q\npublic_url = %q\n", base, public))
	return p
}

const nobodysAPI = "http://127.0.0.1:1"

func TestTheWayByWhichPipedriveComesIsJudged(t *testing.T) {
	for _, test := range []struct {
		name    string
		answer  http.HandlerFunc
		verdict string
		text    string
	}{
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, bad, "redirects"},
		{"nothing there", http.NotFound, bad, "is not there"},
		{"another program", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusUnauthorized)
			}
			_, _ = w.Write([]byte("<html>"))
		}, bad, "no pipehook that answers"},
		{"a health that a proxy has kept", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusUnauthorized)
			}
			_, _ = w.Write([]byte(`{"status":"ok","service":"pipehook","timestamp":"2026-01-01T00:00:00.000Z"}`))
		}, warning, "its health is of 2026-01-01"},
		{"a server that lets everybody in", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"status":"ok","service":"pipehook","timestamp":%q}`, time.Now().UTC().Format(time.RFC3339))
		}, warning, "anybody can send events"},
		{"a server that takes what is no event", func(w http.ResponseWriter, _ *http.Request) {}, warning, "what is no event was taken"},
		{"a server that fails", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadGateway) }, bad, "answers 502"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := httptest.NewServer(test.answer)
			defer s.Close()
			_, found := examined(t, addressed(t, fullChain, s.URL, nobodysAPI))
			finds(t, found, "address", test.verdict, test.text)
		})
	}
}

func TestAnAddressThatPipedriveCannotUse(t *testing.T) {
	secured := httptest.NewUnstartedServer(http.NotFoundHandler())
	secured.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of the certificate too
	secured.StartTLS()
	defer secured.Close()
	for _, test := range []struct {
		name, public, base string
		verdict, text      string
	}{
		{"nobody answers", "http://127.0.0.1:1", nobodysAPI, bad, "can't be reached"},
		{"not encrypted", "http://hooks.example.com", "https://acme.pipedrive.invalid", bad, "not encrypted"},
		{"a name that is not known", "https://hooks.invalid", nobodysAPI, bad, "hooks.invalid is not known"},
		{"a certificate that is not valid", secured.URL, nobodysAPI, bad, "certificate"},
		{"an address of this network", secured.URL, "https://acme.pipedrive.invalid", warning, "only this network reaches"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, found := examined(t, addressed(t, fullChain, test.public, test.base))
			finds(t, found, "address", test.verdict, test.text)
			if code != exitFailed {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestAnotherPipehookAtTheAddressIsToldFromThisOne(t *testing.T) {
	other := addressed(t, fullChain, "", nobodysAPI)
	other.serve(t)
	p := addressed(t, fullChain, "http://"+other.hooks, nobodysAPI)
	says(t, exitDone, []string{"migrate", "--config", p.config})
	edit(t, p.config, "secret of the tests", "another secret")
	_, found := examined(t, p)
	finds(t, found, "address", warning, "whether it is this one could not be told")
	finds(t, found, "address", bad, "the credentials of this configuration are refused (401)")
	if text := fmt.Sprint(found); strings.Contains(text, "another secret") {
		t.Errorf("the password shows in %s", text)
	}
}

func TestAChainThatWouldStoreIsNotTried(t *testing.T) {
	p := addressed(t, "authenticate persist dispatch", "", nobodysAPI)
	p.serve(t)
	_, found := examined(t, p)
	finds(t, found, "address", skipped, "the credentials were not tried")
	if events := p.events(t); len(events) != 0 {
		t.Errorf("it stored %v", events)
	}
}

func TestAnswersThatTakeLongAreJudged(t *testing.T) {
	for took, want := range map[time.Duration]string{time.Millisecond: good, 2 * time.Second: warning, 9 * time.Second: bad} {
		if got := speed(took); got.Verdict != want {
			t.Errorf("%s: %+v", took, got)
		}
	}
}

func TestAClockThatIsOffIsAWarning(t *testing.T) {
	now := time.Now().Truncate(time.Second).Add(time.Second / 2) // a Date, which has whole seconds, is taken for the middle of its own
	for _, test := range []struct {
		off           time.Duration
		verdict, text string
	}{{0, good, "agrees with"}, {2 * time.Minute, warning, "2m0s behind"}, {-time.Hour, warning, "1h0m0s ahead of"}} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", now.Add(test.off).UTC().Format(http.TimeFormat))
		}))
		d := &doctor{conf: &config.Config{Pipedrive: config.Pipedrive{BaseURL: s.URL}}, now: func() time.Time { return now }}
		finds(t, d.clock(t.Context()), "", test.verdict, test.text)
		s.Close()
	}
	_, found := examined(t, addressed(t, fullChain, "", nobodysAPI))
	finds(t, found, "clock", warning, "could not be compared")
}
