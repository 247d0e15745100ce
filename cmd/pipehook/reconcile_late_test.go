package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

// front stands before the hooks of a project. While it is shut it answers 503.
type front struct {
	to string // the hook

	mu      sync.Mutex
	shut    bool
	refused int
	answers []string // status, and what came of the event
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	shut := f.shut
	if shut {
		f.refused++
	}
	f.mu.Unlock()
	if shut {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, f.to, r.Body)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	req.Header, req.ContentLength = r.Header.Clone(), r.ContentLength
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	f.mu.Lock()
	for _, word := range []string{"accepted", "duplicate"} {
		if bytes.Contains(body, []byte(word)) {
			f.answers = append(f.answers, fmt.Sprint(resp.StatusCode, " ", word))
		}
	}
	f.mu.Unlock()
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(body)
}

func (f *front) open() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shut = false
}

// Webhooks of both versions about records that are new fail once. Before they are tried again a comparison finds the
// records. Of the deal, which nobody has edited, Pipedrive has no update_time.
func TestWebhooksThatComeAfterAComparisonAreKnown(t *testing.T) {
	a := newTroubled(t, simulate.Options{}, "sync = { objects = [\"person\", \"deal\"] }\n")
	door := &front{to: "http://" + a.hooks + "/hook", shut: true}
	web := httptest.NewServer(door)
	ctx, stop := context.WithCancel(context.Background())
	var sending sync.WaitGroup
	sending.Go(func() { _ = a.server.Run(ctx) })
	t.Cleanup(func() {
		stop()
		sending.Wait()
		web.Close()
	})
	a.write(t, "password", "canary-password")
	for _, version := range []string{"1.0", "2.0"} {
		if code, said := a.types(t, "webhooks", "create", "--event", "*.*", "--url", web.URL+"/"+version, "--webhook-version", version,
			"--auth-user", "hook", "--auth-pass-file", a.dir+"/password"); code != exitDone {
			t.Fatalf("exit code %d\n%s", code, said)
		}
	}
	a.serve(t)
	if code, said := a.types(t, "reconcile"); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	for object, values := range map[string]simulate.Record{"deal": {"title": "new"}, "person": {"name": "new"}} {
		if _, err := a.server.CRM().Create(object, values, simulate.By{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the first attempts fail", func() bool {
		door.mu.Lock()
		defer door.mu.Unlock()
		return door.refused >= 4
	})
	if code, said := a.types(t, "reconcile", "--deletes"); code != exitDone {
		t.Errorf("exit code %d\n%s", code, said)
	}
	door.open() // what was tried again meanwhile comes once more later
	if err := a.server.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := a.told(t); !slices.Equal(got, []string{"added.deal 1", "added.person 1"}) {
		t.Errorf("listeners are told of %v", got)
	}
	if got := strings.Join(door.answers, ", "); got != "200 duplicate, 200 duplicate, 200 duplicate, 200 duplicate" {
		t.Errorf("the late webhooks are answered %s", got)
	}
}
