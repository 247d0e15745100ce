package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/jshost/scripttest"
)

func TestAPluginIsTriedWithEvents(t *testing.T) {
	p := labProject(t, moody("told", "good", "match = [\"*.deal\"]\nsecrets = { api = \"c4n4ry\" }"))
	says(t, exitDone, []string{"plugin", "test", "told"}, "✓ told  updated.deal trial-1", "info  handling", "attempt=1", "object=8", "secret=[redacted]",
		`→ kv set last "8"`, "→ emit added.notice 8", "→ count deals +1", "1 event, 0 failed. Nothing was stored")
	eventually(t, "what was printed comes before the plugin ends", func() bool {
		_, out, _ := command(t, "plugin", "test", "told")
		return strings.Contains(out, "info  printed")
	})
	p.write(t, "body.json", string(sampleBody(t)))
	out := says(t, exitFailed, []string{"plugin", "test", "told", "--event", "body.json", "--event", "added.person", "--event", `{"action":"added","object":"organization"}`, "--json"}, "2 of 3 events failed")
	var answer struct {
		Kind   string
		Events []triedEvent
		Failed int
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Kind != "listener" || answer.Failed != 2 || len(answer.Events) != 3 || strings.Contains(out, "c4n4ry") {
		t.Fatalf("%s", out)
	}
	ofTheObject := func(l scripttest.Log) bool { return l.Data["object"] == "8" } // stdout and stderr have no common order
	good, bad, later := answer.Events[0], answer.Events[1], answer.Events[2]
	if !good.OK || good.Type != "updated.deal" || !slices.ContainsFunc(good.Logs, ofTheObject) || len(good.Effects) != 2 || good.TookUS == 0 {
		t.Errorf("%+v", good)
	}
	if bad.Error == nil || bad.Error.Message != "no persons" || !bad.Error.Permanent || bad.Event != "trial-2" || len(bad.Logs) == 0 {
		t.Errorf("%+v", bad)
	}
	if later.Error == nil || later.Error.RetryAfter != 60 {
		t.Errorf("%+v", later)
	}
	says(t, exitDone, []string{"plugin", "test", "labstage"}, "✓ labstage  updated.deal", `returned {"labels":{"mood":"good"}}`)
	says(t, exitFailed, []string{"plugin", "test", "labstage", "--event", "added.person", "--event", "added.organization", "--event", `{"action":"added","object":"lead"}`},
		"dropped: no persons", "rejected with 422: no organizations", "✗ labstage  added.lead trial-3", "failed: it does not know")
	says(t, exitFailed, []string{"plugin", "test", "labstage", "--event", `{"action":"added","object":"product"}`, "--event", "added.activity"},
		"failed: labstage: it returned what a stage can't: current: must be an object or null, is an array",
		"→ emit added.notice → only a listener can emit", "failed: only a listener can emit")
	says(t, exitDone, []string{"plugin", "test", "labsources", "--event", "body.json"}, `returned {"action":"added","key":"k","object":"thing","objectId":"7"}`)
	says(t, exitFailed, []string{"plugin", "test", "labsources", "--event", `{"a":1}`}, "✗ labsources", "failed: it is too short")
	says(t, exitFailed, []string{"plugin", "test", "labsources", "--event", `{"broken":true}`}, "failed: the source returned what it can't: current: is not JSON")
	for name, test := range map[string]struct {
		code int
		args []string
		want []string
	}{
		"a source without a body":  {exitUsage, []string{"labsources"}, []string{"what a source's sender sends is not known", "pipehook: hint: give a body"}},
		"a sample that is none":    {exitUsage, []string{"told", "--event", "updated.deel"}, []string{`there is no sample of "updated.deel"`, "pipehook: hint: did you mean"}},
		"events chosen twice":      {exitUsage, []string{"told", "--event", "updated.deal", "--last", "3"}, []string{"--event names events", "pipehook: hint: "}},
		"no store":                 {exitUsage, []string{"told", "--last", "3"}, []string{"there is no store here", "pipehook: hint: use --event"}},
		"a plugin that is none":    {exitUsage, []string{"tolt"}, []string{"there is no plugin tolt", `did you mean "told"?`}},
		"a pattern that is none":   {exitUsage, []string{"told", "--match", "deal", "--store", p.storeURL}, []string{"there is no store here"}},
		"nothing is said of which": {exitUsage, nil, []string{"accepts 1 arg(s)"}},
	} {
		t.Run(name, func(t *testing.T) { says(t, test.code, append([]string{"plugin", "test"}, test.args...), test.want...) })
	}
}

func TestAPluginIsTriedWithStoredEvents(t *testing.T) {
	p := labProject(t, moody("told", "good", "match = [\"*.nothing\"]"))
	stop := p.serve(t)
	for n := range 3 {
		want(t, p.post(t, sampleOf(t, n)), 200, "accepted")
	}
	stop()
	stored := p.events(t)
	out := says(t, exitDone, []string{"plugin", "test", "told", "--last", "2"}, "2 events, 0 failed")
	first, second := strings.Index(out, stored[1].ID), strings.Index(out, stored[0].ID)
	if first < 0 || second < first || strings.Contains(out, stored[2].ID) {
		t.Errorf("the newest two, the oldest first: %s", out)
	}
	says(t, exitDone, []string{"plugin", "test", "told", "--match", "*.deal"}, "3 events, 0 failed")
	says(t, exitDone, []string{"plugin", "test", "told", "--match", "added.nothing"}, "0 events, 0 failed")
	says(t, exitDone, []string{"plugin", "test", "told", "--event", stored[0].ID}, stored[0].ID, "1 event, 0 failed")
	says(t, exitUsage, []string{"plugin", "test", "told", "--match", "deal"}, "--match: ", "pipehook: hint: write it as action.object")
}
