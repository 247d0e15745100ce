package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
)

// requestID is what the answer calls the request.
func (p *project) requestID(t *testing.T, body []byte, change ...func(*http.Request)) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.hooks+"/hook?token=canary-query", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth("hook", "secret of the tests")
	for _, f := range change {
		f(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Error struct {
			RequestID string `json:"request_id"`
		} `json:"error"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.Header.Get("X-Request-Id") == "" {
		t.Fatalf("answer %d: %v", resp.StatusCode, err)
	}
	if got := answer.Error.RequestID; got != "" && got != resp.Header.Get("X-Request-Id") {
		t.Errorf("two ids: %s and %s", got, resp.Header.Get("X-Request-Id"))
	}
	return resp.Header.Get("X-Request-Id")
}

// explained waits until the request is told of.
func (p *project) explained(t *testing.T, id string) (x explanation) {
	t.Helper()
	eventually(t, "events explain "+id, func() bool {
		x = explanation{}
		code, out, _ := command(t, "events", "explain", id, "--json", "--config", p.config)
		return code == exitDone && json.Unmarshal([]byte(out), &x) == nil && x.Refused != nil
	})
	return x
}

func stagesText(steps []core.StepTrace) string {
	words := make([]string, len(steps))
	for i, s := range steps {
		words[i] = s.Stage + " " + s.Verdict
	}
	return strings.Join(words, ", ")
}

func TestARefusedRequestIsExplainedByTheIDItsSenderWasTold(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := newProject(t, url, fullChain, nil)
		p.serve(t)
		for _, test := range []struct {
			name           string
			body           []byte
			change         func(*http.Request)
			status         int
			code, stages   string
			reason, header string
		}{
			{"a wrong password", sampleBody(t), wrongPassword, 401, "unauthenticated", "authenticate refused", "basic: wrong", ""},
			{"a wrong shape", []byte(`{"meta":{"version":"2.0"}}`), nil, 422, "invalid", "authenticate continue, validate refused", "stage validate", ""},
			{"no JSON", []byte(`hello`), nil, 400, "malformed", "authenticate continue, source refused", "source pipedrive", ""},
			{"another type", sampleBody(t), func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 415, "unsupported_media_type", "receive refused", "application/json", `"Content-Type":["text/plain"]`},
		} {
			change := test.change
			if change == nil {
				change = func(*http.Request) {}
			}
			x := p.explained(t, p.requestID(t, test.body, change))
			r := x.Refused
			if r.Status != test.status || r.Code != test.code || r.Pipeline != "crm" || r.Remote != "127.0.0.1" || !strings.Contains(r.Error, test.reason) || x.Event != "" {
				t.Errorf("%s: %+v", test.name, r)
			}
			if got := stagesText(x.Stages); got != test.stages {
				t.Errorf("%s: stages %s, want %s", test.name, got, test.stages)
			}
			if r.Bytes != int64(len(test.body)) || !strings.Contains(compact(t, r.Header), test.header) {
				t.Errorf("%s: %d bytes, header %s", test.name, r.Bytes, r.Header)
			}
		}
		code, out, errs := command(t, "events", "refused", "--json", "--since", "1h", "--config", p.config)
		var all []refusedJSON
		if err := json.Unmarshal([]byte(out), &all); err != nil || code != exitDone || len(all) != 4 || all[0].Status != 415 || all[0].Stage != "receive" {
			t.Errorf("exit %d, %v: %s%s", code, err, out, errs)
		}
		for args, lines := range map[string]int{"--limit 2": 3, "--status 422": 2, "--code malformed": 2, "--pipeline crm": 5, "--pipeline other": 0} {
			_, out, _ := command(t, append([]string{"events", "refused", "--config", p.config}, strings.Fields(args)...)...)
			if got := strings.Count(out, "\n"); got != lines {
				t.Errorf("%s: %d lines, want %d\n%s", args, got, lines, out)
			}
		}
		if _, out, _ := command(t, "events", "refused", "--status", "422", "--config", p.config); strings.Contains(out, "pipeline crm") || strings.Contains(out, "stage validate") {
			t.Errorf("the reason repeats its place:\n%s", out)
		}
		_, out, _ = command(t, "events", "explain", all[3].ID, "--config", p.config)
		for _, want := range []string{"request " + all[3].ID, "401 unauthenticated", "basic: wrong", "stage authenticate", "refused"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		if code, _, errs := command(t, "events", "explain", "nobody", "--config", p.config); code != exitFailed || !strings.Contains(errs, "pipehook events refused") {
			t.Errorf("exit %d: %s", code, errs)
		}
	})
}

func compact(t *testing.T, text []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAnEventThatWasStoredAndThenRefusedIsExplainedAsBoth(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), "authenticate persist validate dispatch", nil)
	p.serve(t)
	x := p.explained(t, p.requestID(t, []byte(`{"meta":{"version":"2.0"}}`)))
	if x.Event != x.Refused.ID || x.Refused.Status != 422 || stagesText(x.Stages) != "authenticate continue, persist continue, validate refused" {
		t.Errorf("%+v", x)
	}
}

// Neither the file of the store nor what is printed holds what a sender may have put anywhere.
func TestWhatIsKeptOfARefusedRequestHoldsNoSecret(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	stop := p.serve(t)
	secret := func(status int) func(*http.Request) {
		return func(r *http.Request) {
			if status == 401 {
				r.SetBasicAuth("canary-user", "canary-password")
			}
			for _, name := range []string{"Cookie", "X-Api-Key", "X-Signature", "X-Anything"} {
				r.Header.Set(name, "canary")
			}
		}
	}
	first := p.requestID(t, []byte(`{"a":"canary-body"}`), secret(401))
	second := p.requestID(t, []byte(`{"meta":{"version":"2.0"},"a":"canary-body"}`), secret(422))
	p.explained(t, first)
	p.explained(t, second)
	_, listed, _ := command(t, "events", "refused", "--json", "--config", p.config)
	_, shown, _ := command(t, "events", "explain", first, "--config", p.config)
	stop()
	all := listed + shown
	files, err := filepath.Glob(strings.TrimPrefix(p.storeURL, "sqlite:") + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: %v", files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all += string(text)
	}
	if !strings.Contains(all, first) || !strings.Contains(all, "[redacted]") {
		t.Error("the requests are not to be seen")
	}
	if strings.Contains(all, "canary") || strings.Contains(all, "Y2FuYXJ5") {
		t.Error("a secret is to be seen")
	}
}

// Strangers who send without end get their 401s and cost the sender of events nothing.
func TestAFloodOfWrongPasswordsUnderLoadLeavesTheRestAlone(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := newProject(t, url, fullChain, nil)
		p.serve(t)
		kept := p.requestID(t, []byte(`{"meta":{"version":"2.0"}}`))
		p.explained(t, kept)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var strangers sync.WaitGroup
		sent := make([]int, 4)
		for i := range sent {
			strangers.Go(func() {
				for ctx.Err() == nil {
					if r, err := p.tryPost(ctx, []byte(`{}`), wrongPassword); err == nil && r.status == 401 {
						sent[i]++
					}
				}
			})
		}
		taken := 0
		for ctx.Err() == nil {
			began := time.Now()
			r, err := p.tryPost(t.Context(), sampleBody(t))
			if err != nil || r.status != 200 || time.Since(began) > 2*time.Second {
				t.Errorf("%d after %s: %v", r.status, time.Since(began), err)
			}
			taken++
		}
		strangers.Wait()
		last := p.requestID(t, []byte(`hello`))
		p.explained(t, last) // what waited is written by now
		p.explained(t, kept)
		flood := sent[0] + sent[1] + sent[2] + sent[3]
		_, out, _ := command(t, "events", "refused", "--status", "401", "--limit", "1000", "--json", "--config", p.config)
		var all []refusedJSON
		if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) < 20 || len(all) > 22 {
			t.Errorf("%d of %d are kept: %v", len(all), flood, err)
		}
		if got := p.metric(t, `pipehook_refused_not_kept_total{reason="thinned"}`); flood < 100 || got == "0" || got == "" {
			t.Errorf("%d sent, %s not kept", flood, got)
		}
		t.Log(fmt.Sprint(flood, " strangers' requests, ", taken, " events"))
	})
}
