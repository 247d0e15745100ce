package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/testdb"
)

func TestListenersThatArePluginsAreKnownWithoutTheProcess(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": pluginListener("audit", `match = ["*.deal"]`)})
	stop := p.serve(t) // the binary is not there, so its delivery waits
	id := p.post(t, sampleBody(t)).ID
	stop()
	for _, args := range [][]string{{"listeners", "list"}, {"listeners", "pause", "audit"}, {"events", "show", id}, {"events", "explain", id}} {
		code, out, errs := command(t, append(args, "--config", p.config)...)
		if code != exitDone || !strings.Contains(out, "audit") || strings.Contains(out+errs, "no such listener") || strings.Contains(errs, "warning") {
			t.Errorf("%v: exit %d: %s%s", args, code, out, errs)
		}
	}
}

func TestExplainSaysWhatAScriptItselfMatches(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	p.write(t, "scripts/persons.js", `export const match = ["added.person"]; export default () => {}`)
	p.write(t, "scripts/helper.js", `export const double = (n) => 2 * n`)
	stop := p.serve(t)
	id := p.post(t, sampleBody(t)).ID
	stop()
	p.write(t, "scripts/late.js", `export default () => {}`)
	p.write(t, "scripts/broken.js", `export default () => {`)
	code, out, errs := command(t, "events", "explain", id, "--json", "--config", p.config)
	var x explanation
	if err := json.Unmarshal([]byte(out), &x); err != nil || code != exitDone {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
	}
	got := map[string]string{}
	for _, l := range x.Listeners {
		got[l.Listener] = l.Why
	}
	for name, why := range map[string]string{"persons": "match is [added.person]", "late": "it was not there", "broken": "broken.js:1:"} {
		if !strings.Contains(got[name], why) {
			t.Errorf("%s: %q, want %q", name, got[name], why)
		}
	}
	if len(got) != 3 {
		t.Errorf("listeners %v", got)
	}
	if _, out, _ := command(t, "listeners", "list", "--config", p.config); strings.Contains(out, "helper") || !strings.Contains(out, "persons") {
		t.Errorf("it lists\n%s", out)
	}
}
