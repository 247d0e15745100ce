package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
	"github.com/pipehook/pipehook/core/coretest/testdb"
)

const filteredListeners = `
[[listener]]
name = "picky"
script = "picky.js"
match = ["updated.deal"]
where = { "current.status" = "no such status" }
[[listener]]
name = "persons"
script = "picky.js"
match = ["added.person"]
`

func TestWhatBecameOfAnEventIsExplained(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": filteredListeners})
	p.write(t, "picky.js", `export default () => {}`)
	p.write(t, "scripts/ok.js", `export default (event) => { event.objectId }`)
	p.serve(t)
	id := p.post(t, sampleBody(t)).ID
	p.events(t)
	code, out, errs := command(t, "events", "explain", id, "--json", "--config", p.config)
	var x explanation
	if err := json.Unmarshal([]byte(out), &x); err != nil || code != exitDone {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
	}
	var stages []string
	for _, s := range x.Stages {
		stages = append(stages, s.Stage+" "+s.Verdict)
	}
	if got := strings.Join(stages, ", "); got != "authenticate continue, validate continue, dedupe continue, persist continue, dispatch continue" {
		t.Errorf("stages %s", got)
	}
	got := map[string]verdictJSON{}
	for _, l := range x.Listeners {
		got[l.Listener] = l
	}
	if got["ok"].Outcome != "done" || len(got["ok"].Attempts) != 1 {
		t.Errorf("ok: %+v", got["ok"])
	}
	if l := got["picky"]; l.Outcome != "filtered" || !strings.Contains(l.Why, `current.status is "`) {
		t.Errorf("picky: %+v", l)
	}
	if l := got["persons"]; l.Outcome != "no match" || !strings.Contains(l.Why, "added.person") {
		t.Errorf("persons: %+v", l)
	}
}

func TestDeliveriesAreReplayedRetriedCancelledAndPaused(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := newProject(t, url, fullChain, map[string]string{"": "[[listener]]\nname = \"moody\"\nscript = \"moody.js\"\nretry = { attempts = 3, first = \"1h\" }\n"})
		p.write(t, "moody.js", `export default () => { throw new Error("not today") }`)
		p.write(t, "scripts/ok.js", `export default (event) => { event.objectId }`)
		p.serve(t)
		id := p.post(t, sampleBody(t)).ID
		list := func() map[string]listedJSON {
			t.Helper()
			code, out, errs := command(t, "deliveries", "list", id, "--json", "--config", p.config)
			var all []listedJSON
			if err := json.Unmarshal([]byte(out), &all); err != nil || code != exitDone {
				t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
			}
			by := map[string]listedJSON{}
			for _, d := range all {
				by[d.Listener] = d
			}
			return by
		}
		await := func(what, listener string, ok func(listedJSON) bool) {
			t.Helper()
			deadline := time.Now().Add(20 * time.Second)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for ; !ok(list()[listener]); <-tick.C {
				if time.Now().After(deadline) {
					t.Fatalf("%s: %+v", what, list())
				}
			}
		}
		say := func(want string, args ...string) {
			t.Helper()
			code, out, errs := command(t, append(args, "--config", p.config)...)
			if code != exitDone || strings.TrimSpace(out) != want {
				t.Fatalf("%v: exit %d, %q, want %q %s", args, code, out, want, errs)
			}
		}
		await("done and failed", "ok", func(d listedJSON) bool { return d.State == "done" && list()["moody"].Attempts == 1 })
		say("1 delivery retried", "deliveries", "retry", id)
		await("retried", "moody", func(d listedJSON) bool { return d.Attempts == 2 })
		say("1 delivery cancelled", "deliveries", "cancel", "--listener", "moody")
		await("cancelled", "moody", func(d listedJSON) bool { return d.State == "cancelled" })
		say("1 delivery chosen", "events", "replay", "--listener", "ok", "--match", "updated.deal", "--dry-run")
		say("1 delivery replayed", "events", "replay", "--listener", "ok", "--since", "1h")
		await("replayed", "ok", func(d listedJSON) bool { return d.State == "done" && d.Replays == 1 })

		say("listener ok paused, 0 pending", "listeners", "pause", "ok", "--reason", "a test")
		eventually(t, "the process has read that it is paused", func() bool {
			figures, err := program.Metrics(p.admin)
			return err == nil && figures[`pipehook_listener_paused{listener="ok"}`] == 1
		})
		second := p.post(t, sampleBody(t)).ID
		code, out, _ := command(t, "deliveries", "list", second, "--listener", "ok", "--json", "--config", p.config)
		if code != exitDone || !strings.Contains(out, `"pending"`) {
			t.Errorf("a paused listener's delivery: %s", out)
		}
		say("listener ok resumed, 1 pending", "listeners", "resume", "ok")
		id = second
		await("resumed", "ok", func(d listedJSON) bool { return d.State == "done" })
	})
}

func TestAReplayedDeliveryIsMarkedAndKeepsItsEventsID(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := newProject(t, url, fullChain, map[string]string{"": "[[listener]]\nname = \"mark\"\nscript = \"mark.js\"\nretry = { attempts = 2, first = \"1ms\" }\n"})
		// The mark outlives an attempt that fails.
		p.write(t, "mark.js", `let tries = 0; export default (event, ctx) => { if (event.replayed && ++tries > 1) ctx.fail("again: " + event.id); if (event.replayed) throw new Error("once more") }`)
		p.serve(t)
		id := p.post(t, sampleBody(t)).ID
		shown := func() (ev eventJSON) {
			code, out, errs := command(t, "events", "show", id, "--json", "--config", p.config)
			if err := json.Unmarshal([]byte(out), &ev); err != nil || code != exitDone {
				t.Fatalf("exit %d, %v: %s", code, err, errs)
			}
			return ev
		}
		eventually(t, "done without a mark", func() bool { return shown().Deliveries[0].State == "done" })
		if code, _, errs := command(t, "events", "replay", id, "--config", p.config); code != exitDone {
			t.Fatal(errs)
		}
		eventually(t, "called with a mark", func() bool { return shown().Deliveries[0].State == "dead" })
		if d := shown().Deliveries[0]; d.Replays != 1 || !strings.Contains(d.LastError, "again: "+id) {
			t.Errorf("%+v", d)
		}
		for _, args := range [][]string{{"events", "show", id}, {"events", "explain", id}} {
			if _, out, _ := command(t, append(args, "--config", p.config)...); !strings.Contains(out, "dead, replayed") {
				t.Errorf("%v does not say so:\n%s", args, out)
			}
		}
	})
}

func TestNothingChosenIsNotEverything(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	for _, args := range [][]string{{"events", "replay"}, {"deliveries", "cancel"}, {"deliveries", "retry"}} {
		if code, _, errs := command(t, append(args, "--config", p.config)...); code != exitUsage || !strings.Contains(errs, "--all") {
			t.Errorf("%v: exit %d: %s", args, code, errs)
		}
	}
}
