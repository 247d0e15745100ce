package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

const acme = `export default (request, ctx) => {
	const body = request.json();
	if (!body.order) throw new Error("order is missing");
	if (body.order.id === "hang") for (;;);
	return {
		action: body.type === "order.created" ? "create" : "change", object: "order", objectId: body.order.id, current: body.order, previous: body.was,
		occurredAt: body.at, userId: 7, key: request.headers["x-delivery"], meta: Object.keys(request.headers).filter((name) => name.includes("token")),
	};
}`

// shop is a project whose source is a script, and which asks for a signature.
func shop(t *testing.T, url, chain string) (p *project, logFile string) {
	t.Helper()
	logFile = filepath.Join(t.TempDir(), "log.json")
	p = newProject(t, url, chain, map[string]string{
		"":             "[log]\nfile = \"" + logFile + "\"\n",
		"authenticate": `signature = { header = "X-Acme-Signature", secret = "a secret of good length", algorithm = "hmac-sha256", encoding = "hex" }`,
	})
	p.replace(t, strings.Replace(readFile(t, p.config), `source = "pipedrive"`, "source = \"script\"\nscript = \"scripts/sources/acme.js\"", 1))
	p.write(t, "scripts/sources/acme.js", acme)
	p.write(t, "scripts/all.js", tellAll)
	return p, logFile
}

// signed posts a body as the shop does.
func (p *project) signed(t *testing.T, body, delivery string) reply {
	t.Helper()
	mac := hmac.New(sha256.New, []byte("a secret of good length"))
	mac.Write([]byte(body))
	return p.post(t, []byte(body), func(r *http.Request) {
		r.Header.Set("X-Acme-Signature", hex.EncodeToString(mac.Sum(nil)))
		r.Header.Set("X-Delivery", delivery)
		r.Header.Set("X-Acme-Token", "secret")
	})
}

func TestAScriptIsASource(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p, logFile := shop(t, url, "authenticate validate dedupe persist dispatch")
		stop := p.serve(t)
		const created = `{"type":"order.created","at":"2026-01-05T09:00:00Z","order":{"id":"o-1","title":"first","value":2},"was":{"value":1}}`
		first := p.signed(t, created, "1")
		want(t, first, 200, "accepted")
		if again := p.signed(t, created, "1"); again.Status != "duplicate" || again.ID != first.ID {
			t.Errorf("a repetition is answered %+v", again)
		}
		want(t, p.signed(t, created, "2"), 200, "accepted")
		want(t, p.post(t, []byte(created)), 401, "unauthenticated")
		refusal := p.signed(t, `{"type":"order.created"}`, "3")
		want(t, refusal, 422, "invalid")
		if refusal.Error.Message != "order is missing" {
			t.Errorf("the sender reads %q", refusal.Error.Message)
		}
		hung := p.signed(t, `{"order":{"id":"hang"}}`, "4")
		want(t, hung, 200, "accepted")
		events := p.events(t)
		stop()
		if len(events) != 3 || events[2].Source != "acme" || events[2].Action != "added" || events[2].ObjectID != "o-1" || events[0].Action != "unknown" {
			t.Errorf("stored: %+v", events)
		}
		if got := verdictOf(p.told(t, hung.ID), "source acme"); !strings.HasPrefix(got, "failed: deadline of 500ms exceeded") {
			t.Errorf("explain says %q", got)
		}
		before := saw(t, logFile, "all", false)[first.ID]
		if got := before.String(); got != "acme added.order o-1 map[] first changed=true" {
			t.Errorf("a listener saw %s", got)
		}

		// What is stored needs no source.
		p.replace(t, strings.Replace(readFile(t, p.config), "source = \"script\"\nscript = \"scripts/sources/acme.js\"", `source = "pipedrive"`, 1))
		if err := os.Remove(filepath.Join(p.dir, "scripts/sources/acme.js")); err != nil {
			t.Fatal(err)
		}
		stop = p.serve(t)
		if code, _, errs := command(t, "events", "replay", first.ID, "--config", p.config); code != exitDone {
			t.Fatalf("replay: %s", errs)
		}
		p.events(t)
		stop()
		if got := saw(t, logFile, "all", true)[first.ID]; got.String() != before.String() {
			t.Errorf("a replay saw %s", got)
		}
	})
}

func TestOnlyWhatAScriptItselfThrowsIsAFlawOfTheBody(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"an Error":                 {&engine.ScriptError{Msg: "Error: order is missing"}, "order is missing"},
		"another one, wrapped":     {fmt.Errorf("around: %w", &engine.ScriptError{Msg: "TypeError: no"}), "TypeError: no"},
		"its time was over":        {&engine.ScriptError{Msg: "deadline", Stopped: true, Err: context.DeadlineExceeded}, ""},
		"no time was left":         {fmt.Errorf("no runtime was free: %w", context.DeadlineExceeded), ""},
		"its process died":         {&core.Error{Kind: core.Crashed, Msg: "it died"}, ""},
		"what it asked for failed": {&engine.ScriptError{Msg: "HostError: full", Err: &effect.Error{Code: "EFULL"}}, ""},
		"nothing":                  {nil, ""},
	} {
		if msg, threw := threw(test.err); msg != test.want || threw != (test.want != "") {
			t.Errorf("%s: %q, %v", name, msg, threw)
		}
	}
}

func TestWithoutValidateWhatASourceThrowsAtIsKept(t *testing.T) {
	p, _ := shop(t, testdb.SQLite(t), "authenticate dedupe persist dispatch")
	stop := p.serve(t)
	want(t, p.signed(t, `no JSON`, "1"), 200, "accepted")
	events := p.events(t)
	stop()
	if len(events) != 1 || events[0].Action != "unknown" || events[0].Object != "unknown" {
		t.Errorf("stored: %+v", events)
	}
}

func TestCheckFindsWhatIsWrongWithScriptsInChains(t *testing.T) {
	for name, test := range map[string]struct {
		pipeline, stage string
		want            []string
	}{
		"a stage without a file":          {"", `use = "script"`, []string{"pipeline[0].stage[0].script: is required"}},
		"a file that is not there":        {"", `use = "script"` + "\nscript = \"scripts/stages/none.js\"", []string{"none.js", "can't be read"}},
		"a file that exports no function": {"", `use = "script"` + "\nscript = \"scripts/stages/data.js\"", []string{"data.js: it exports no function"}},
		"a time-out beyond the answer":    {"", `use = "script"` + "\nscript = \"scripts/stages/tag.js\"\ntimeout = \"3s\"", []string{"timeout is 3s and may be 2s, a quarter of server.ack_within"}},
		"no time at all":                  {"", `use = "script"` + "\nscript = \"scripts/stages/tag.js\"\ntimeout = \"0s\"", []string{"pipeline[0].stage[0].timeout: must be above 0s"}},
		"another word for a failure":      {"", `use = "script"` + "\nscript = \"scripts/stages/tag.js\"\non_failure = \"ignore\"", []string{"on_failure: must be one of continue, reject"}},
		"a source without a file":         {`source = "script"`, `use = "persist"`, []string{"pipeline[0].script: is required", "name the file"}},
		"a file without such a source":    {`source = "pipedrive"` + "\nscript = \"scripts/sources/acme.js\"", `use = "persist"`, []string{`pipeline[0].script: is for source = "script"`}},
		"options without such a source":   {`source = "pipedrive"` + "\nsource_options = { timeout = \"1s\" }", `use = "persist"`, []string{`pipeline[0].source_options: is for source = "script"`}},
		"a source that takes too long": {`source = "script"` + "\nscript = \"scripts/sources/acme.js\"\nsource_options = { timeout = \"3s\" }", `use = "persist"`,
			[]string{"pipeline[0].source_options.timeout: must be at most 2s, a quarter of server.ack_within"}},
		"a source with the name of another": {`source = "script"` + "\nscript = \"scripts/sources/pipedrive.js\"", `use = "persist"`, []string{"pipeline[0].script: scripts/sources/pipedrive.js would be the source pipedrive"}},
		"a broken source":                   {`source = "script"` + "\nscript = \"scripts/sources/broken.js\"", `use = "persist"`, []string{"broken.js:1:"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProject(t, testdb.SQLite(t), "", nil)
			if test.pipeline == "" {
				test.pipeline = `source = "pipedrive"`
			}
			p.write(t, "pipeline.toml", "[[pipeline]]\nname = \"a\"\npath = \"/a\"\n"+test.pipeline+"\n[[pipeline.stage]]\n"+test.stage+"\n")
			for file, text := range map[string]string{
				"stages/tag.js": "export default () => {}", "stages/data.js": "export const a = 1", "sources/acme.js": acme, "sources/pipedrive.js": acme, "sources/broken.js": "export default (",
			} {
				p.write(t, "scripts/"+file, text)
			}
			code, _, errs := command(t, "check", "--config", p.config)
			for _, text := range test.want {
				if code != exitUsage || !strings.Contains(errs, text) {
					t.Errorf("exit code %d, without %q:\n%s", code, text, errs)
				}
			}
		})
	}
	p, _ := shop(t, testdb.SQLite(t), "validate authenticate persist dispatch")
	code, out, errs := command(t, "check", "--config", p.config)
	if code != exitDone || !strings.Contains(out, "the source is a script and authenticate is not the first stage") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
}
