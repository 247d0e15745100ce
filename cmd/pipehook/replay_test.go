package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/samples"
)

// replayProject has stored a changed deal and a new person; the listener minds deals.
func replayProject(t *testing.T) *project {
	t.Helper()
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	p.write(t, "scripts/told.js", "export const match = ['*.deal'];\nexport default async (event, ctx) => {}")
	stop := p.serve(t)
	for _, name := range []string{"updated.deal", "added.person", "added.deal"} {
		_, body, _ := samples.For(name)
		want(t, p.post(t, body), 200, "accepted")
	}
	stop()
	p.write(t, "scripts/told.js", "export const match = ['*.deal'];\nexport default async (event, ctx) => {\n  const n = await ctx.kv.update('n', (n = 0) => n + 1);\n  if (event.isUpdate()) await ctx.fetch('https://chat.example.com/', { method: 'POST', body: event.action + n });\n}")
	return p
}

func TestAnEditedScriptIsComparedWithTheOneThatIsLive(t *testing.T) {
	p := replayProject(t)
	p.write(t, "scripts/_told.js", "export const match = ['*.deal', '*.person'];\nexport default async (event, ctx) => {\n  if (event.isObjectType('person')) return void (await ctx.emit('added.notice'));\n  const n = await ctx.kv.update('n', (n = 0) => n + 1);\n  if (event.isUpdate()) await ctx.fetch('https://chat.example.com/', { method: 'POST', body: 'moved ' + n });\n}")
	args := []string{"test", "--replay", "--since", "1h", "--script", p.dir + "/scripts/_told.js", "--listener", "told", "--config", p.config}
	says(t, exitDone, args,
		"updated.deal", "  changed\n", `    - fetch POST https://chat.example.com/ "updated1" → 200 OK`, `    + fetch POST https://chat.example.com/ "moved 1" → 200 OK`,
		"added.person", "  only new\n", "    + emit added.notice",
		"3 events looked at, 3 matched: 1 same, 1 changed, 1 only new, 0 only old, 0 without effects. Nothing was done.")
	var answer struct {
		Events                                           []replayed
		Looked, Same, Changed, OnlyNew, OnlyOld, Nothing int
	}
	if err := json.Unmarshal([]byte(says(t, exitDone, append(args, "--json"))), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Looked != 3 || answer.Same != 1 || answer.Changed != 1 || answer.OnlyNew != 1 || len(answer.Events) != 3 || answer.Events[0].Type != "updated.deal" || answer.Events[0].Old == nil {
		t.Errorf("%+v", answer)
	}
	_, kept, _ := command(t, "kv", "list", "--listener", "told", "--json", "--config", p.config)
	if strings.Contains(kept, `"n"`) {
		t.Errorf("a replay has written: %s", kept)
	}
	if len(p.events(t)) != 3 {
		t.Error("a replay has emitted")
	}
	says(t, exitDone, append(args, "--limit", "1"), "1 event looked at, 1 matched")
}

func TestAnEditedScriptAloneShowsWhatItDoes(t *testing.T) {
	p := replayProject(t)
	args := []string{"test", "--replay", "--script", p.dir + "/scripts/told.js", "--config", p.config}
	says(t, exitDone, args, "updated.deal", `    fetch POST https://chat.example.com/ "updated1" → 200 OK`, "3 events looked at, 2 matched: 2 with effects, 0 without effects. Nothing was done.")
	p.write(t, "scripts/told.js", "export default (event, ctx) => {\n  if (event.isUpdate()) throw new Error('no title');\n}")
	says(t, exitDone, args, "failed: Error: no title", "3 events looked at, 3 matched: 1 with effects, 2 without effects, 1 failed.")
}

func TestAReplayThatCantBeIsRefusedWithAHint(t *testing.T) {
	p := replayProject(t)
	file := p.dir + "/scripts/told.js"
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no script":          {nil, "--replay needs the script"},
		"other files":        {[]string{"--script", file, "a.test.ts"}, "no other files"},
		"a script not there": {[]string{"--script", "nosuch.ts"}, "there is no file nosuch.ts"},
		"no such listener":   {[]string{"--script", file, "--listener", "other"}, `there is no listener "other" that is a script`},
		"with itself":        {[]string{"--script", file, "--listener", "told"}, "there is nothing to compare it with"},
		"a negative time":    {[]string{"--script", file, "--since", "-1h"}, "must be above 0"},
	} {
		t.Run(name, func(t *testing.T) {
			says(t, exitUsage, append([]string{"test", "--replay", "--config", p.config}, test.args...), test.want, "pipehook: hint: ")
		})
	}
}
