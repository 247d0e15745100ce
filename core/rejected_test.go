package core_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pipehook/pipehook/core"
)

type stageFunc func(ev *core.Event) error

func (f stageFunc) Process(_ context.Context, ev *core.Event) (core.Verdict, error) {
	return core.Continue, f(ev)
}

type gateStage struct{ stageFunc }

func (g gateStage) Admit(ev *core.Event) error { return g.stageFunc(ev) }
func (gateStage) Blind()                       {}

type sourceFunc func() error

func (f sourceFunc) Name(*core.Event) error { return f() }

type committerFunc func() error

func (f committerFunc) Commit(_ context.Context, ev *core.Event) (core.Receipt, error) {
	return core.Receipt{ID: ev.ID}, f()
}

func TestARefusedRequestTellsWhereItEnded(t *testing.T) {
	broken := errors.New("broken")
	good, bad := func(*core.Event) error { return nil }, func(*core.Event) error { return broken }
	store := func(ev *core.Event) error { ev.Plan.Store = true; return nil }
	tests := []struct {
		name          string
		first, second func(*core.Event) error
		source, store error
		want, reason  string
	}{
		{"at the gate", bad, good, nil, nil, "first refused", "pipeline crm: stage first: broken"},
		{"at the source", good, good, broken, nil, "first continue, source refused", "pipeline crm: source test: broken"},
		{"in a later stage", good, bad, nil, nil, "first continue, second refused", "pipeline crm: stage second: broken"},
		{"in a later stage, stored", store, bad, nil, nil, "first continue, second refused", "pipeline crm: stage second: broken"},
		{"at the commit", store, good, nil, broken, "first continue, second continue, commit refused", "pipeline crm: commit: broken"},
		{"in a stage that panics", good, func(*core.Event) error { panic("oh no") }, nil, nil, "first continue, second panicked", "panic: oh no"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := &core.Pipeline{
				Name: "crm", Source: sourceFunc(func() error { return test.source }), Committer: committerFunc(func() error { return test.store }),
				Steps: []core.Step{{Name: "first", Stage: gateStage{test.first}}, {Name: "second", Stage: stageFunc(test.second)}},
				Log:   slog.New(slog.DiscardHandler),
			}
			ev := &core.Event{ID: "id", Pipeline: "crm", Source: "test"}
			r := core.Reject(ev, 500, "internal", 7, refuse(t, p, ev))
			var steps []string
			for _, s := range r.Steps {
				steps = append(steps, s.Stage+" "+s.Verdict)
			}
			if got := strings.Join(steps, ", "); got != test.want || r.Reason != test.reason {
				t.Errorf("steps %s, want %s; reason %s", got, test.want, r.Reason)
			}
			if r.ID != "id" || r.Pipeline != "crm" || r.Status != 500 || r.Code != "internal" || r.Bytes != 7 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// refuse walks the chain as the receiver does.
func refuse(t *testing.T, p *core.Pipeline, ev *core.Event) (err error) {
	t.Helper()
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	if err := p.Admit(t.Context(), ev); err != nil {
		return err
	}
	if _, err = p.Run(t.Context(), ev); err == nil {
		t.Fatal("it was taken")
	}
	return err
}

func TestARequestThatReachedNoChainEndedAtTheReceiver(t *testing.T) {
	r := core.Reject(&core.Event{}, 415, "unsupported_media_type", 0, &core.Error{Msg: "no JSON"})
	if len(r.Steps) != 1 || r.Steps[0].Stage != "receive" || r.Steps[0].Verdict != "refused" || r.Reason != "no JSON" {
		t.Errorf("%+v", r)
	}
}

func TestTheHeaderOfARefusedRequestShowsNoSecretWhereverItStands(t *testing.T) {
	h := http.Header{"User-Agent": {"Sender/1"}, "X-Forwarded-For": {"203.0.113.9", "10.0.0.1"}}
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "X-Auth-Token", "X-Signature", "X-Hook-Key", "Canary-Name"} {
		h[name] = []string{"canary"}
	}
	got := core.ShownHeader(h)
	if text := fmt.Sprint(got); strings.Contains(text, "canary") || strings.Contains(text, "Authorization") || strings.Contains(text, "Cookie") {
		t.Error(text)
	}
	for name, want := range map[string]string{"User-Agent": "Sender/1", "X-Forwarded-For": "203.0.113.9, 10.0.0.1", "X-Signature": "[redacted]", "X-Hook-Key": "[redacted]"} {
		if v := got[name]; len(v) != 1 || v[0] != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
}

func TestWhatIsKeptOfARefusedRequestIsBounded(t *testing.T) {
	h := http.Header{"User-Agent": {strings.Repeat("ä", 10_000)}}
	for i := range 1000 {
		h[fmt.Sprint("X-", i, strings.Repeat("n", 10_000))] = []string{"v"}
	}
	r := core.Reject(&core.Event{Header: h}, 400, "malformed", 0, errors.New("x"+strings.Repeat("ä", 10_000)))
	size := len(r.Reason)
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v)
			if !utf8.ValidString(v) {
				t.Errorf("a character is cut: %q", v)
			}
		}
	}
	if size > 8<<10 || len(r.Header) > 32 || !utf8.ValidString(r.Reason) {
		t.Errorf("%d bytes and %d names", size, len(r.Header))
	}
}
