package ingress

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/pipehook/pipehook/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const crmPath = "/crm/webhook"

type stepFunc func(ctx context.Context, ev *core.Event) (core.Verdict, error)

func (f stepFunc) Process(ctx context.Context, ev *core.Event) (core.Verdict, error) {
	return f(ctx, ev)
}

func failing(err error) core.Stage {
	return stepFunc(func(context.Context, *core.Event) (core.Verdict, error) { return core.Continue, err })
}

// gateFunc is a stage that is asked before the body is read.
type gateFunc func(ev *core.Event) error

func (f gateFunc) Admit(ev *core.Event) error { return f(ev) }
func (f gateFunc) Blind()                     {}
func (f gateFunc) Process(_ context.Context, ev *core.Event) (core.Verdict, error) {
	return core.Continue, f(ev)
}

// dealSource finds a changed deal in every body.
type dealSource struct{}

func (dealSource) Name(ev *core.Event) error {
	ev.Action, ev.Object = core.Updated, "deal"
	return nil
}

// shelf keeps the bodies of what was committed.
type shelf struct {
	mu     sync.Mutex
	bodies []string
}

func (s *shelf) Commit(_ context.Context, ev *core.Event) (core.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, string(ev.Body))
	return core.Receipt{ID: ev.ID}, nil
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.bodies)
}

var persisting = stepFunc(func(_ context.Context, ev *core.Event) (core.Verdict, error) {
	ev.Plan.Store = true
	return core.Continue, nil
})

// storing has one hook at crmPath with the stages, and a last one that has the event stored.
func storing(opts Options, s *shelf, stages ...core.Stage) *Handler {
	p := &core.Pipeline{Name: "crm", Source: dealSource{}, Committer: s, Log: slog.New(slog.DiscardHandler)}
	for i, stage := range append(stages, persisting) {
		p.Steps = append(p.Steps, core.Step{Name: fmt.Sprintf("stage%d", i), Stage: stage})
	}
	return New(opts, []Hook{{Path: crmPath, Source: "test", Pipeline: p}})
}

func crmPost(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, crmPath, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// reply is an answer, taken apart.
type reply struct {
	*httptest.ResponseRecorder
	Status, ID string
	Error      struct {
		Code, Message string
		RequestID     string `json:"request_id"`
	}
}

// ask serves one request and checks what every answer must have.
func ask(t *testing.T, h http.Handler, r *http.Request) reply {
	t.Helper()
	a := reply{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(a.ResponseRecorder, r)
	if err := json.Unmarshal(a.Body.Bytes(), &a); err != nil {
		t.Errorf("answer %q: %v", a.Body, err)
	}
	header := a.Result().Header
	if got := header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	if got, want := header.Get("Content-Length"), fmt.Sprint(a.Body.Len()); got != want {
		t.Errorf("Content-Length %q, want %s", got, want)
	}
	if id := header.Get("X-Request-Id"); len(id) != 36 || a.Error.Code != "" && id != a.Error.RequestID {
		t.Errorf("X-Request-Id %q, in the body %q", id, a.Error.RequestID)
	}
	return a
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
