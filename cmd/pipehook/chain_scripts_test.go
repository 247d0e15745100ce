package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/pgcluster"
	"github.com/pipehook/pipehook/core/coretest/testdb"
)

const scriptChain = "authenticate validate script dedupe persist dispatch"

// tellAll says what a listener sees of an event.
const tellAll = `export default (event) => console.log("saw", JSON.stringify({
	id: event.id, source: event.source, type: event.action + "." + event.object, objectId: event.objectId, labels: event.labels, title: event.current?.title,
	changed: event.changed("value"), replayed: event.replayed }))`

// titled is the sample of a deal with another title. Each is another event.
func titled(t testing.TB, title string) []byte {
	t.Helper()
	var body map[string]any
	d := json.NewDecoder(bytes.NewReader(sampleBody(t)))
	d.UseNumber()
	if err := d.Decode(&body); err != nil {
		t.Fatal(err)
	}
	body["data"].(map[string]any)["title"] = title
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

type sawEvent struct {
	ID, Source, Type, ObjectID, Title string
	Labels                            map[string]string
	Changed, Replayed                 bool
}

func (s sawEvent) String() string {
	return fmt.Sprintf("%s %s %s %v %s changed=%v", s.Source, s.Type, s.ObjectID, s.Labels, s.Title, s.Changed)
}

// saw is what the listener has said so far, by event; with replayed only of replays.
func saw(t *testing.T, logFile, listener string, replayed bool) map[string]sawEvent {
	t.Helper()
	text, err := os.ReadFile(logFile)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]sawEvent{}
	for line := range bytes.Lines(text) {
		var entry struct{ Msg, Listener string }
		rest, ok := "", false
		if json.Unmarshal(line, &entry) == nil && entry.Listener == listener {
			rest, ok = strings.CutPrefix(entry.Msg, "saw ")
		}
		if !ok {
			continue
		}
		var s sawEvent
		if err := json.Unmarshal([]byte(rest), &s); err != nil {
			t.Fatal(err)
		}
		if s.Replayed == replayed {
			all[s.ID] = s
		}
	}
	return all
}

// scripted is a project with a script as a stage, and two listeners.
func scripted(t *testing.T, url, chain, details, script string) (p *project, logFile string) {
	t.Helper()
	logFile = filepath.Join(t.TempDir(), "log.json")
	p = newProject(t, url, chain, map[string]string{
		"":       "[log]\nfile = \"" + logFile + "\"\n[[listener]]\nname = \"large\"\nscript = \"scripts/lib/large.js\"\nwhere = { \"labels.size\" = \"large\" }\n",
		"script": "script = \"scripts/stages/tag.js\"\n  " + details,
	})
	p.write(t, "scripts/crm/all.js", tellAll) // the listener crm-all
	p.write(t, "scripts/lib/large.js", tellAll)
	p.write(t, "scripts/stages/tag.js", script)
	return p, logFile
}

const tagger = `export default (event, ctx) => {
	const { title } = event.current;
	if (title === "drop") ctx.drop("a test");
	if (title === "reject") ctx.reject(409, "we have that");
	if (title === "throw") throw new Error("no luck");
	if (title === "hang") for (;;);
	if (title === "wrong") return { labels: { size: 5 } };
	if (title === "change") return { labels: { size: "large" }, action: "create", object: "lead", objectId: "lead-1", current: { ...event.current, title: "changed" } };
	if (title === "large") return { labels: { size: "large" } };
}`

func TestAScriptInTheChainLabelsChangesDropsAndRejects(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p, logFile := scripted(t, url, scriptChain, "", tagger)
		stop := p.serve(t)
		ids := map[string]string{}
		for _, test := range []struct {
			title  string
			status int
			word   string
		}{
			{"plain", 200, "accepted"}, {"large", 200, "accepted"}, {"change", 200, "accepted"}, {"throw", 200, "accepted"}, {"hang", 200, "accepted"},
			{"wrong", 200, "accepted"}, {"drop", 200, "dropped"},
		} {
			r := p.post(t, titled(t, test.title))
			want(t, r, test.status, test.word)
			ids[test.title] = r.ID
		}
		rejected := p.post(t, titled(t, "reject"))
		want(t, rejected, 409, "conflict")
		if rejected.Error.Message != "we have that" {
			t.Errorf("the sender reads %q", rejected.Error.Message)
		}
		if got := len(p.events(t)); got != 6 {
			t.Errorf("%d events are stored, want 6", got)
		}
		for title, says := range map[string]string{
			"plain": "continue", "large": "changed labels", "change": "changed labels, action, object, objectId, current", "throw": "failed: ", "hang": "failed: deadline of 500ms exceeded",
			"wrong": "failed: scripts/stages/tag.js: it returned what a stage can't: labels.size: must be text, is a number", "drop": "dropped: a test",
		} {
			x := p.told(t, ids[title])
			if got := verdictOf(x, "script tag"); !strings.HasPrefix(got, says) {
				t.Errorf("%s: explain says %q, want %q", title, got, says)
			}
		}
		if got := verdictOf(p.told(t, ids["throw"]), "script tag"); !strings.Contains(got, "tag.js:5:") || !strings.Contains(got, "no luck") {
			t.Errorf("the failure is %q, without its place", got)
		}
		if x := p.told(t, ids["drop"]); x.Refused == nil || x.Refused.Code != "dropped" || x.Event != "" {
			t.Errorf("of what was dropped it tells %+v", x)
		}
		if x := p.told(t, ids["change"]); x.Labels["size"] != "large" || x.Type != "added.lead" {
			t.Errorf("of what was changed it tells %+v", x)
		}
		stop()
		all, large := saw(t, logFile, "crm-all", false), saw(t, logFile, "large", false)
		const changed = "pipedrive added.lead lead-1 map[size:large] changed changed="
		if got := all[ids["change"]].String(); !strings.HasPrefix(got, changed) {
			t.Errorf("a listener saw %s", got)
		}
		if got := all[ids["throw"]].String(); !strings.HasPrefix(got, "pipedrive updated.deal 8 map[] throw") {
			t.Errorf("after a failure a listener saw %s", got)
		}
		if len(all) != 6 || len(large) != 2 || large[ids["large"]].ID == "" || large[ids["change"]].ID == "" {
			t.Errorf("%d events reached the one, %v the other", len(all), large)
		}

		// Another process reads it out of the store.
		stop = p.serve(t)
		if code, _, errs := command(t, "events", "replay", "--listener", "crm-all", "--since", "1h", "--config", p.config); code != exitDone {
			t.Fatalf("replay: %s", errs)
		}
		p.events(t)
		stop()
		again := saw(t, logFile, "crm-all", true)
		for title, id := range ids {
			if title != "drop" && again[id].String() != all[id].String() {
				t.Errorf("%s: a replay saw %s, and before %s", title, again[id], all[id])
			}
		}
	})
}

// told waits until an event or a request can be explained.
func (p *project) told(t *testing.T, id string) (x explanation) {
	t.Helper()
	eventually(t, "events explain "+id, func() bool {
		x = explanation{}
		code, out, _ := command(t, "events", "explain", id, "--json", "--config", p.config)
		return code == exitDone && json.Unmarshal([]byte(out), &x) == nil
	})
	return x
}

// verdictOf is what the trace says of a stage.
func verdictOf(x explanation, stage string) string {
	for _, s := range x.Stages {
		if s.Stage == stage {
			return s.Verdict
		}
	}
	return "it was not there"
}

func TestAScriptThatFailsMayTurnRequestsAway(t *testing.T) {
	p, _ := scripted(t, testdb.SQLite(t), scriptChain, `on_failure = "reject"`, tagger)
	stop := p.serve(t)
	for _, title := range []string{"throw", "hang", "wrong"} {
		r := p.post(t, titled(t, title))
		want(t, r, http.StatusServiceUnavailable, "unavailable")
		if strings.Contains(r.Error.Message, "tag.js") {
			t.Errorf("the sender reads %q", r.Error.Message)
		}
	}
	want(t, p.post(t, titled(t, "plain")), 200, "accepted")
	stop()
	if got := len(p.events(t)); got != 1 {
		t.Errorf("%d events are stored", got)
	}
}

func TestAfterPersistWhatAScriptChangesIsKeptAndWhatItDropsIsStored(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p, _ := scripted(t, url, "authenticate validate dedupe persist script dispatch", "", tagger)
		stop := p.serve(t)
		dropped := p.post(t, titled(t, "drop"))
		want(t, dropped, 200, "dropped")
		changed := p.post(t, titled(t, "change"))
		want(t, changed, 200, "accepted")
		events := p.events(t)
		stop()
		if len(events) != 2 || len(events[0].Deliveries) != 2 || len(events[1].Deliveries) != 0 || events[0].Object != "lead" || events[0].Labels != `{"size":"large"}` {
			t.Errorf("stored: %+v", events)
		}
		x := p.told(t, dropped.ID)
		if got := verdictOf(x, "script tag"); got != "dropped: a test" || x.Event == "" {
			t.Errorf("of what was dropped it tells %+v", x)
		}
	})
}

func TestASavedScriptOfTheChainIsLiveAndABrokenOneChangesNothing(t *testing.T) {
	p, logFile := scripted(t, testdb.SQLite(t), scriptChain, "", "export default () => {")
	logged := func(text string) func() bool {
		return func() bool { return strings.Contains(readFile(t, logFile), text) }
	}
	stop := p.serve(t)
	r := p.post(t, titled(t, "a")) // it never compiled, and the sender gets its 2xx
	want(t, r, 200, "accepted")
	if got := verdictOf(p.told(t, r.ID), "script tag"); !strings.HasPrefix(got, "failed: stage tag is not loaded: ") {
		t.Errorf("explain says %q", got)
	}
	const versioned = `export default () => ({ labels: { v: "%d" } })`
	label := func() string {
		r := p.post(t, titled(t, "b"))
		want(t, r, 200, "accepted")
		return p.told(t, r.ID).Labels["v"]
	}
	p.write(t, "scripts/stages/tag.js", fmt.Sprintf(versioned, 1))
	eventually(t, "the first good version runs", func() bool { return label() == "1" })
	p.write(t, "scripts/stages/tag.js", "export default () => {")
	eventually(t, "it is said that the file is broken", logged("its last good version goes on"))
	if got := label(); got != "1" {
		t.Errorf("beside a broken file version %s runs", got)
	}
	p.write(t, "scripts/stages/tag.js", fmt.Sprintf(versioned, 2))
	eventually(t, "the next version runs", func() bool { return label() == "2" })

	before := readFile(t, p.config) // and with the configuration
	p.write(t, "scripts/stages/other.js", fmt.Sprintf(versioned, 3))
	p.replace(t, strings.Replace(before, "scripts/stages/tag.js", "scripts/stages/other.js", 1))
	eventually(t, "another file runs", func() bool { return label() == "3" })
	p.replace(t, strings.Replace(before, "scripts/stages/tag.js", "scripts/stages/Other.js", 1))
	eventually(t, "a bad name is refused", logged("can't name a stage"))
	if got := label(); got != "3" {
		t.Errorf("beside a broken configuration version %s runs", got)
	}
	stop()
}

// A secret that was taken back must be gone, and what worked must go on, also while a file is broken.
func TestANewConfigurationHoldsForTheLastGoodVersionOfABrokenFileToo(t *testing.T) {
	p, logFile := scripted(t, testdb.SQLite(t), scriptChain, "timeout = \"2s\"\n  secrets = { WORD = \"one\" }", `export default (event, ctx) => ({ labels: { word: ctx.secrets.WORD } })`)
	before := readFile(t, p.config) + "[[listener]]\nname = \"teller\"\nscript = \"scripts/lib/teller.js\"\nsecrets = { WORD = \"one\" }\n"
	p.write(t, "scripts/lib/teller.js", `export default async (event, ctx) => { await ctx.kv.set(event.id, [...ctx.secrets.WORD]) }`)
	p.replace(t, before)
	stop := p.serve(t)
	said := func() string {
		r := p.post(t, titled(t, "a"))
		want(t, r, 200, "accepted")
		var value string
		eventually(t, "the listener has handled it", func() bool {
			_, value, _ = command(t, "kv", "get", "--script", "teller", r.ID, "--config", p.config)
			return value != ""
		})
		return p.told(t, r.ID).Labels["word"] + " " + strings.Join(strings.Fields(value), "")
	}
	if got := said(); got != `one ["o","n","e"]` {
		t.Fatalf("first it is %s", got)
	}
	p.write(t, "scripts/stages/tag.js", "export default () => {")
	p.write(t, "scripts/lib/teller.js", "export default () => {")
	eventually(t, "it is said that both are broken", func() bool { return strings.Count(readFile(t, logFile), "its last good version goes on") == 2 })
	p.replace(t, strings.ReplaceAll(before, `"one"`, `"two"`))
	eventually(t, "the new configuration is taken", func() bool { return strings.Contains(readFile(t, logFile), "configuration reloaded") })
	if got := said(); got != `two ["t","w","o"]` {
		t.Errorf("then it is %s", got)
	}
	stop()
	if log := readFile(t, logFile); strings.Contains(log, "stage removed") || strings.Contains(log, "until it does it fails") {
		t.Errorf("the log says\n%s", log)
	}
}

func TestAScriptInTheChainReachesWhatItWasGranted(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p, _ := scripted(t, url, scriptChain, "timeout = \"2s\"\n  secrets = { WORD = \"canary\" }", `export default async (event, ctx) => {
			const times = await ctx.kv.update("times", (n = 0) => n + 1);
			let emit = "emitted";
			try { await ctx.emit("added.thing", {}) } catch (e) { emit = e.code }
			return { labels: { times: String(times), word: String(ctx.secrets.WORD.length), emit } };
		}`)
		stop := p.serve(t)
		for _, times := range []string{"1", "2"} {
			r := p.post(t, titled(t, times))
			want(t, r, 200, "accepted")
			if x := p.told(t, r.ID); x.Labels["times"] != times || x.Labels["word"] != "6" || x.Labels["emit"] != "ENOTAVAILABLE" {
				t.Errorf("labels %v, %s", x.Labels, verdictOf(x, "script tag"))
			}
		}
		stop()
	})
}

func TestWhatAScriptSaidOutlivesAnOutageOfTheDatabase(t *testing.T) {
	testdb.Postgres(t) // skips where there is none
	db, err := pgcluster.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	p, logFile := scripted(t, db.URL, scriptChain, "", tagger)
	stop := p.serve(t)
	want(t, p.post(t, titled(t, "plain")), 200, "accepted")
	if err := db.Stop(t.Context(), "immediate"); err != nil {
		t.Fatal(err)
	}
	r := p.post(t, titled(t, "change"))
	want(t, r, 200, "accepted")
	stop() // the next process finds it in the spool
	if err := db.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop = p.serve(t)
	eventually(t, "both are stored", func() bool { return len(p.all(t)) == 2 })
	last := p.all(t)[1]
	stop()
	if last.ID != r.ID || last.Labels != `{"size":"large"}` || last.Object != "lead" || last.ObjectID != "lead-1" || len(last.Deliveries) != 2 {
		t.Errorf("stored: %+v", last)
	}
	if got := saw(t, logFile, "crm-all", false)[r.ID].String(); !strings.HasPrefix(got, "pipedrive added.lead lead-1 map[size:large] changed") {
		t.Errorf("a listener saw %s", got)
	}
}

func TestAFileInAFolderInsideIsAListenerAndAHelperIsNone(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	for _, name := range []string{"a.js", "crm/deals.js", "stages/tag.js", "sources/acme.js", "_old/b.js"} {
		p.write(t, "scripts/"+name, "export default () => {}")
	}
	p.write(t, "scripts/crm/formatDate.js", "export const formatDate = () => 1") // its name could be no listener's, and it is none
	code, out, errs := command(t, "check", "--json", "--config", p.config)
	var checked struct{ Listeners []string }
	if code != exitDone || json.Unmarshal([]byte(out), &checked) != nil || strings.Join(checked.Listeners, " ") != "a crm-deals" {
		t.Errorf("exit code %d, listeners %v: %s", code, checked.Listeners, errs)
	}
	p.write(t, "scripts/crm/Other.js", "export default () => {}")
	p.write(t, "scripts/crm-deals.js", "export default () => {}")
	code, _, errs = command(t, "check", "--config", p.config)
	for _, text := range []string{`Other.js: "crm-Other" can't name a listener`, "crm-deals is taken by another listener"} {
		if code != exitUsage || !strings.Contains(errs, text) {
			t.Errorf("exit code %d, without %s:\n%s", code, text, errs)
		}
	}
	stop := p.serve(t) // the others are live
	want(t, p.post(t, sampleBody(t)), 200, "accepted")
	events := p.events(t)
	stop()
	if len(events) != 1 || deliveriesText(events[0].Deliveries) != "a done, crm-deals done" {
		t.Errorf("stored: %s", deliveriesText(events[0].Deliveries))
	}
}
