package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestANewScriptHasATestThatPassesAndTypes(t *testing.T) {
	for name, test := range map[string]struct {
		args  []string
		files []string
		toml  string
	}{
		"a listener":             {[]string{"deal-told", "--match", "updated.deal"}, []string{"scripts/deal-told.test.ts", "scripts/deal-told.ts"}, "script  = \"scripts/deal-told.ts\""},
		"in JavaScript":          {[]string{"deal-told", "--js"}, []string{"scripts/deal-told.js", "scripts/deal-told.test.js"}, "[[listener]]"},
		"of several events":      {[]string{"all", "--match", "added.deal", "--match", "*.person"}, []string{"scripts/all.test.ts", "scripts/all.ts"}, "name    = \"all\""},
		"of what nobody sends":   {[]string{"paid", "--match", "added.invoice"}, []string{"scripts/paid.test.ts", "scripts/paid.ts"}, "[[listener]]"},
		"in a folder":            {[]string{"crm/eu/deal-told"}, []string{"scripts/crm/eu/deal-told.test.ts", "scripts/crm/eu/deal-told.ts"}, "name    = \"crm-eu-deal-told\"\nscript  = \"scripts/crm/eu/deal-told.ts\""},
		"a stage":                {[]string{"tag-it", "--kind", "stage"}, []string{"scripts/stages/tag-it.test.ts", "scripts/stages/tag-it.ts"}, "script = \"scripts/stages/tag-it.ts\""},
		"a stage in JavaScript":  {[]string{"tag-it", "--kind", "stage", "--js"}, []string{"scripts/stages/tag-it.js", "scripts/stages/tag-it.test.js"}, "use    = \"script\""},
		"a source":               {[]string{"acme", "--kind", "source"}, []string{"scripts/sources/acme.test.ts", "scripts/sources/acme.ts"}, "source = \"script\""},
		"a source in JavaScript": {[]string{"acme", "--kind", "source", "--js"}, []string{"scripts/sources/acme.js", "scripts/sources/acme.test.js"}, "${ACME_SECRET}"},
	} {
		t.Run(name, func(t *testing.T) {
			inFolder(t)
			out := says(t, exitDone, append([]string{"script", "new", "--json"}, test.args...))
			var answer struct {
				Files      []string
				TOML, Kind string
				Next       []string
			}
			if err := json.Unmarshal([]byte(out), &answer); err != nil {
				t.Fatal(err)
			}
			want := append(test.files, "scripts/pipehook.d.ts", "scripts/tsconfig.json")
			if strings.Join(answer.Files, " ") != strings.Join(want, " ") || !strings.Contains(answer.TOML, test.toml) {
				t.Errorf("%+v", answer)
			}
			says(t, exitDone, []string{"test"}, "passed in 1 file")
			for _, next := range answer.Next {
				if args := strings.Fields(strings.ReplaceAll(next, "'", ""))[1:]; args[0] == "test" || args[0] == "script" {
					says(t, exitDone, args)
				}
			}
		})
	}
}

func TestANewScriptsTableIsGoodConfiguration(t *testing.T) {
	t.Setenv("ACME_SECRET", "a secret of good length")
	for _, kind := range []string{"listener", "stage", "source"} {
		inFolder(t)
		var answer struct{ TOML string }
		if err := json.Unmarshal([]byte(says(t, exitDone, []string{"script", "new", "acme", "--kind", kind, "--json"})), &answer); err != nil {
			t.Fatal(err)
		}
		const pipeline = "[[pipeline]]\nname = \"crm\"\npath = \"/crm\"\nsource = \"pipedrive\"\n"
		text := map[string]string{"listener": pipeline + "[[pipeline.stage]]\nuse = \"persist\"\n" + answer.TOML, "stage": pipeline + answer.TOML, "source": answer.TOML}[kind]
		if err := os.WriteFile("pipeline.toml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(".env", []byte("ACME_SECRET=a secret of good length\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		says(t, exitDone, []string{"check"})
	}
}

func TestNothingIsOverwrittenByANewScript(t *testing.T) {
	inFolder(t, "scripts/told.js", "// mine\n", "scripts/pipehook.d.ts", "// mine too\n", "scripts/tsconfig.json", "{}")
	says(t, exitUsage, []string{"script", "new", "told"}, "scripts/told.js is there already", "pipehook: hint: choose another name")
	out := says(t, exitDone, []string{"script", "new", "other"}, "wrote scripts/other.ts")
	if strings.Contains(out, "pipehook.d.ts") || strings.Contains(out, "tsconfig") || readFile(t, "scripts/pipehook.d.ts") != "// mine too\n" || readFile(t, "scripts/tsconfig.json") != "{}" {
		t.Errorf("%s", out)
	}
}

func TestANewScriptThatCantBeIsRefusedWithAHint(t *testing.T) {
	inFolder(t)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"a name that is none":    {[]string{"Deal Told"}, "can't name a script"},
		"a folder above":         {[]string{"../told"}, "can't name a script"},
		"a folder for others":    {[]string{"lib/told"}, "what is in a folder named lib is no listener"},
		"a stage in a folder":    {[]string{"crm/tag", "--kind", "stage"}, "a stage is written into the folder stages"},
		"a kind that is none":    {[]string{"x", "--kind", "handler"}, `there is no kind of script "handler"`},
		"a pattern that is none": {[]string{"x", "--match", "deal"}, "--match: "},
		"a stage with a pattern": {[]string{"x", "--kind", "stage", "--match", "*.deal"}, "a stage is called for everything"},
		"no name":                {nil, "accepts 1 arg(s)"},
	} {
		t.Run(name, func(t *testing.T) {
			says(t, exitUsage, append([]string{"script", "new"}, test.args...), test.want, "pipehook: hint: ")
		})
	}
	if _, err := os.Stat("scripts"); err == nil {
		t.Error("a folder was made all the same")
	}
}
