package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
	"github.com/pipehook/pipehook/core/store"
)

// project is a folder with a configuration and scripts.
type project struct {
	dir, config, storeURL, hooks, admin string
}

const fullChain = "authenticate validate dedupe persist dispatch"

// newProject writes a configuration with the chain. Stages are given by their kind; details of a
// kind replace what it has by default.
func newProject(t testing.TB, storeURL, chain string, details map[string]string) *project {
	t.Helper()
	dir := t.TempDir()
	p := &project{dir: dir, config: filepath.Join(dir, "pipeline.toml"), storeURL: storeURL, hooks: program.FreeAddress(), admin: program.FreeAddress()}
	if details == nil {
		details = map[string]string{}
	}
	if _, ok := details["authenticate"]; !ok {
		details["authenticate"] = `basic = { username = "hook", password = "secret of the tests" }`
	}
	var text strings.Builder
	fmt.Fprintf(&text, "[server]\nlisten = %q\n[store]\nurl = %q\n[admin]\nlisten = %q\n%s\n[[pipeline]]\nname = \"crm\"\npath = \"/hook\"\nsource = \"pipedrive\"\n",
		p.hooks, storeURL, p.admin, details[""])
	for kind := range strings.FieldsSeq(chain) {
		fmt.Fprintf(&text, "  [[pipeline.stage]]\n  use = %q\n  %s\n", kind, details[kind])
	}
	p.write(t, "pipeline.toml", text.String())
	return p
}

func (p *project) write(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve runs the program in this process until the test ends or stop is called.
func (p *project) serve(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	var errs bytes.Buffer
	go func() { done <- run(ctx, []string{"serve", "--config", p.config}, nil, nil, io.Discard, &errs) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if code := <-done; code != exitDone {
			t.Errorf("exit code %d: %s", code, errs.String())
		}
	}
	t.Cleanup(stop)
	if err := p.ready(t.Context()); err != nil {
		cancel()
		stopped = true
		<-done
		t.Fatalf("%v: %s", err, errs.String())
	}
	return stop
}

// ready waits until the program says that it is.
func (p *project) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("it did not become ready")
		}
	}
}

// reply is an answer of the hook.
type reply struct {
	status int
	Status string `json:"status"`
	ID     string `json:"id"`
	Error  struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func (p *project) post(t testing.TB, body []byte, change ...func(*http.Request)) reply {
	t.Helper()
	r, err := p.tryPost(t.Context(), body, change...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (p *project) tryPost(ctx context.Context, body []byte, change ...func(*http.Request)) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.hooks+"/hook", bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth("hook", "secret of the tests")
	for _, f := range change {
		f(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	r := reply{status: resp.StatusCode}
	return r, json.NewDecoder(resp.Body).Decode(&r)
}

// events reads what is stored, once every delivery has ended.
func (p *project) events(t testing.TB) []store.Event {
	t.Helper()
	r, err := store.OpenReader(t.Context(), p.storeURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(90 * time.Second); ; <-tick.C {
		waiting, err := r.Waiting(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(waiting) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("deliveries still wait: %v", waiting)
		}
	}
	events, err := r.Events(t.Context(), store.Filter{Limit: 1_000_000})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func wrongPassword(r *http.Request) { r.SetBasicAuth("hook", "wrong") }
