package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/testdb"
)

const toldScript = `import type { Context, Event } from "pipehook";
export const match = ["updated.deal"];
export default async function (event: Event, ctx: Context) {
  ctx.log.info("moved", { deal: event.objectId });
  const times = await ctx.kv.update<number>("times", (n = 0) => n + 1);
  const r = await ctx.fetch(ctx.secrets.CHAT_URL, { method: "POST", body: JSON.stringify({ times }) });
  if (r.status === 503) ctx.retryAfter(60, "busy");
  await ctx.emit("added.notice", { objectId: event.objectId });
}
`

// toldProject has a listener that does everything, and a server that it may call.
func toldProject(t *testing.T) (p *project, asked *[]string) {
	t.Helper()
	asked = &[]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*asked = append(*asked, string(body))
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	p = newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "[scripts]\nallow_private = [\"127.0.0.0/8\"]\n[[listener]]\nname = \"told\"\nscript = \"scripts/told.ts\"\nallow_hosts = [\"" + host + "\"]\nsecrets = { CHAT_URL = \"" + server.URL + "/c4n4ry\" }\n"})
	p.write(t, "scripts/told.ts", toldScript)
	return p, asked
}

func TestAScriptIsRunOnceAndNothingIsDone(t *testing.T) {
	p, asked := toldProject(t)
	path := p.dir + "/scripts/told.ts"
	args := []string{"script", "run", path, "--config", p.config}
	out := says(t, exitDone, args, "✓ told", "updated.deal", "moved", "deal=8", `→ kv set times 1`, `→ fetch POST [secret CHAT_URL] {"times":1} → 200 OK`, "→ emit added.notice 8", "nothing of this was done")
	if strings.Contains(out, "c4n4ry") {
		t.Errorf("a secret shows: %s", out)
	}
	says(t, exitFailed, append(args, "--fetch-status", "503"), "✗ told", "TryAgain: busy", "the next attempt would come in 1m0s", "told.ts:7:")
	var answer ran
	if err := json.Unmarshal([]byte(says(t, exitDone, append(args, "--json", "--event", "change.deal"))), &answer); err != nil {
		t.Fatal(err)
	}
	if !answer.OK || answer.Name != "told" || answer.Type != "updated.deal" || answer.Live || len(answer.Effects) != 3 || len(answer.Logs) != 1 || answer.Logs[0].Data["deal"] != "8" {
		t.Errorf("%+v", answer)
	}
	if len(*asked) != 0 {
		t.Errorf("the server was asked: %v", *asked)
	}
}

func TestAScriptIsRunLiveOnRequest(t *testing.T) {
	p, asked := toldProject(t)
	path := p.dir + "/scripts/told.ts"
	for range 2 {
		says(t, exitDone, []string{"script", "run", path, "--config", p.config, "--live"}, "→ fetch POST [secret CHAT_URL]", "→ 202 Accepted", "→ emit added.notice 8")
	}
	if got := strings.Join(*asked, " "); got != `{"times":1} {"times":2}` {
		t.Errorf("asked: %s", got)
	}
	if events := p.events(t); len(events) != 2 || events[0].Action+"."+events[0].Object != "added.notice" {
		t.Errorf("events %+v", events)
	}
	stop := p.serve(t) // it holds the store
	says(t, exitFailed, []string{"script", "run", path, "--config", p.config, "--live"}, "the store can't be used for this")
	stop()
}

func TestTheEventOfARunComesFromAnywhere(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	p.write(t, "scripts/which.js", "export default (event) => console.log(event.action, event.object, event.objectId, event.current?.title)")
	stop := p.serve(t)
	want(t, p.post(t, sampleBody(t)), 200, "accepted")
	stop()
	id := p.events(t)[0].ID
	_, shown, _ := command(t, "events", "show", id, "--json", "--config", p.config)
	p.write(t, "stored.json", shown)
	p.write(t, "body.json", `{"data":{"id":5,"title":"of a file"},"previous":null,"meta":{"action":"create","entity":"deal","version":"2.0","entity_id":"5"}}`)
	for event, text := range map[string]string{
		"added.person": "added person 8", "body.json": "added deal 5 of a file", p.dir + "/stored.json": "updated deal", id: "updated deal",
		`{"action":"create","object":"order","objectId":"o-1","current":{"title":"described"}}`: "added order o-1 described",
	} {
		t.Chdir(p.dir)
		says(t, exitDone, []string{"script", "run", "scripts/which.js", "--config", p.config, "--event", event}, text)
	}
	for event, text := range map[string]string{
		"updated.deel": `there is no sample of "updated.deel"`, "nosuch.json": "no such file", "{": "--event: ",
	} {
		says(t, exitUsage, []string{"script", "run", "scripts/which.js", "--config", p.config, "--event", event}, text, "pipehook: hint: ")
	}
	says(t, exitFailed, []string{"script", "run", "scripts/which.js", "--config", p.config, "--event", "0199-nosuch"}, "there is no event", "pipehook: hint: pipehook events list")
}

func TestAStageAndASourceAreRunAsWhatTheyAre(t *testing.T) {
	inFolder(t,
		"scripts/stages/tag.js", `export default (event, ctx) => { if (event.isCreate()) ctx.drop("new"); if (event.isDelete()) ctx.reject(422, "gone"); return { labels: { a: "b" } }; }`,
		"scripts/sources/acme.js", `export default (request) => ({ action: "added", object: request.json().kind })`,
		"body.json", `{"kind":"order"}`)
	says(t, exitDone, []string{"script", "run", "scripts/stages/tag.js"}, `returned {"labels":{"a":"b"}}`)
	says(t, exitDone, []string{"script", "run", "scripts/stages/tag.js", "--event", "added.deal"}, "dropped: new")
	says(t, exitDone, []string{"script", "run", "scripts/stages/tag.js", "--event", "deleted.person"}, "rejected with 422: gone")
	says(t, exitDone, []string{"script", "run", "scripts/sources/acme.js", "--event", "body.json"}, "acme  trial", `returned {"action":"added","object":"order"}`)
}

func TestAScriptIsRunForWhatItMatches(t *testing.T) {
	inFolder(t, "scripts/greet.js", "export const match = ['*.person'];\nexport default (event) => event.object;")
	says(t, exitDone, []string{"script", "run", "scripts/greet.js"}, "✓ greet  added.person trial")
	says(t, exitDone, []string{"script", "run", "scripts/greet.js", "--event", "updated.deal"}, "✓ greet  updated.deal trial", "pipehook: warning: its match is [*.person]: it would not be called for updated.deal")
}

func TestAScriptThatCantBeRunSaysWhy(t *testing.T) {
	inFolder(t, "scripts/broken.ts", "export default (event) => {", "scripts/none.ts", "export const x = 1;", "scripts/test.ts", "import { mock } from 'pipehook/test';\nexport default () => mock.now(5);", "scripts/throws.ts", "export default () => {\n  throw new Error('no title');\n};")
	for name, test := range map[string]struct {
		code int
		args []string
		want []string
	}{
		"it is not there":        {exitUsage, []string{"scripts/nosuch.ts"}, []string{"there is no file scripts/nosuch.ts", "pipehook: hint: pipehook script new nosuch"}},
		"only its name is given": {exitUsage, []string{"throws"}, []string{"there is no file throws", "pipehook: hint: did you mean scripts/throws.ts?"}},
		"it does not compile":    {exitUsage, []string{"scripts/broken.ts"}, []string{"scripts/broken.ts:1:"}},
		"it exports nothing":     {exitUsage, []string{"scripts/none.ts"}, []string{"it exports no function"}},
		"it is like a test":      {exitUsage, []string{"scripts/test.ts"}, []string{"scripts/test.ts:1:", `"pipehook/test" is there in *.test.ts and *.test.js only`}},
		"it throws":              {exitFailed, []string{"scripts/throws.ts"}, []string{"pipehook: error: scripts/throws.ts:2:", "Error: no title"}},
		"a status that is none":  {exitUsage, []string{"scripts/throws.ts", "--fetch-status", "99"}, []string{"from 100 to 599"}},
		"a listener that is not": {exitFailed, []string{"scripts/throws.ts", "--listener", "x"}, []string{"✗ x"}},
	} {
		t.Run(name, func(t *testing.T) { says(t, test.code, append([]string{"script", "run"}, test.args...), test.want...) })
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) != 1 {
		t.Errorf("a trial leaves something behind: %v %v", entries, err)
	}
}
