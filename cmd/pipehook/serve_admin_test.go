package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/coretest/testdb"
)

// freezer passes bytes on until it is frozen; then connections stay open and nothing comes.
type freezer struct {
	net.Listener
	frozen chan struct{}
}

func newFreezer(t *testing.T, to string) *freezer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &freezer{ln, make(chan struct{})}
	t.Cleanup(func() { _ = ln.Close() })
	go func() { // ends with the listener
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = near.Close() })
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			t.Cleanup(func() { _ = far.Close() })
			go f.pass(near, far)
			go f.pass(far, near)
		}
	}()
	return f
}

func (f *freezer) pass(from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-f.frozen:
			return
		default:
		}
		if err == nil {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

// Without a token who may call it is who is on this machine, and so is the browser of anybody who works there.
func TestAPageOfAnotherSiteStartsNoComparison(t *testing.T) {
	_, p := newAccount(t, testdb.SQLite(t))
	defer p.serve(t)()
	for name, test := range map[string]struct {
		header http.Header
		status int
	}{
		"a page of another site":         {http.Header{"Sec-Fetch-Site": {"cross-site"}, "Content-Type": {"text/plain"}}, http.StatusForbidden},
		"a page of another port":         {http.Header{"Sec-Fetch-Site": {"same-site"}}, http.StatusForbidden},
		"a page in an old browser":       {http.Header{"Origin": {"https://example.com"}}, http.StatusForbidden},
		"no browser, such as curl":       {nil, http.StatusOK},
		"somebody at the address itself": {http.Header{"Sec-Fetch-Site": {"none"}}, http.StatusOK},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.admin+reconcilePath, strings.NewReader(`{"dryRun":true}`))
		if err != nil {
			t.Fatal(err)
		}
		for key, values := range test.header {
			req.Header[key] = values
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if refused := strings.Contains(string(text), "another site"); err != nil || resp.StatusCode != test.status || refused != (test.status == http.StatusForbidden) {
			t.Errorf("%s is answered %d %s (%v), want %d", name, resp.StatusCode, text, err, test.status)
		}
	}
	if r := compared(t, p, "--dry-run"); !r.DryRun {
		t.Errorf("the command gets %+v", r)
	}
}

func TestReadinessIsQuickWhileTheDatabaseHangs(t *testing.T) {
	u, err := url.Parse(testdb.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	f := newFreezer(t, u.Host)
	u.Host = f.Addr().String()
	p := newProject(t, u.String(), fullChain, map[string]string{"": "[spool]\nafter = \"200ms\"\n"})
	edit(t, p.config, "[store]", "shutdown_grace = \"1s\"\n[store]")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // its stop may fail: the database is away
		run(ctx, []string{"serve", "--config", p.config}, nil, nil, io.Discard, io.Discard)
		close(done)
	}()
	defer func() { cancel(); <-done }()
	if err := p.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(f.frozen)
	asked := func(what string) {
		t.Helper()
		begun := time.Now()
		status, text := p.readiness(t)
		if took := time.Since(begun); took > 800*time.Millisecond {
			t.Errorf("%s: it took %s", what, took)
		}
		if status != http.StatusOK {
			t.Errorf("%s: readyz says %d %s", what, status, text)
		}
	}
	asked("before anybody knows")
	want(t, p.post(t, sampleBody(t)), 200, "accepted")
	asked("while events wait in the spool")
	if _, text := p.readiness(t); !strings.Contains(text, "wait since") {
		t.Errorf("readyz says %s", text)
	}
}
