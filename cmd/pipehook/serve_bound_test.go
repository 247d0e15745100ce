package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/testdb"
)

func TestWhenVeryMuchWaitsSendersAreAskedForPatience(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := newProject(t, url, fullChain, map[string]string{"": "[[listener]]\nname = \"down\"\nscript = \"down.js\"\nretry = { first = \"1h\" }\n"})
		text, err := os.ReadFile(p.config)
		if err != nil {
			t.Fatal(err)
		}
		p.write(t, "pipeline.toml", strings.Replace(string(text), "[store]\n", "[store]\nmax_pending = 20\n", 1))
		p.write(t, "down.js", `export default () => { throw new Error("down") }`)
		p.serve(t)
		known := sampleBody(t)
		first := p.post(t, known).ID
		for range 19 {
			body := sampleBody(t) // what is counted while it is stored may count twice for a moment
			eventually(t, "it is accepted", func() bool { return p.post(t, body).status == 200 })
		}
		refused := sampleBody(t)
		want(t, p.post(t, refused), 503, "unavailable")
		again := p.post(t, known)
		if want(t, again, 200, "duplicate"); again.ID != first {
			t.Errorf("a repetition of %s is answered %+v", first, again)
		}
		if status, text := p.readiness(t); status != http.StatusServiceUnavailable || !strings.Contains(text, "max_pending") {
			t.Errorf("readyz says %d %s", status, text)
		}
		if code, _, errs := command(t, "deliveries", "cancel", "--listener", "down", "--config", p.config); code != exitDone {
			t.Fatal(errs)
		}
		eventually(t, "events are taken again", func() bool { return p.post(t, refused).status == 200 })
	})
}

func TestTheBoundOpensAtNineTenths(t *testing.T) {
	for _, test := range []struct {
		most, pending int64
		was, full     bool
	}{
		{most: 10, pending: 9},
		{most: 10, pending: 10, full: true},
		{most: 10, pending: 10, was: true, full: true},
		{most: 10, pending: 9, was: true},
		{most: 100, pending: 91, was: true, full: true},
		{most: 100, pending: 90, was: true},
		{most: 0, pending: 1 << 40},
		{most: 0, pending: 1 << 40, was: true},
	} {
		t.Run(fmt.Sprintf("%d of %d, closed before: %v", test.pending, test.most, test.was), func(t *testing.T) {
			b := &bound{pending: func() int64 { return test.pending }, log: slog.New(slog.DiscardHandler)}
			b.limit(test.most)
			b.closed.Store(test.was)
			if got := b.full(); got != test.full {
				t.Errorf("full: %v", got)
			}
		})
	}
}
