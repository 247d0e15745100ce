package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/stages"
	"github.com/pipehook/pipehook/stages/authenticate"
	"github.com/pipehook/pipehook/stages/dedupe"
	"github.com/pipehook/pipehook/stages/dispatch"
	echostage "github.com/pipehook/pipehook/stages/echo"
	"github.com/pipehook/pipehook/stages/persist"
	"github.com/pipehook/pipehook/stages/plugin"
	"github.com/pipehook/pipehook/stages/script"
	"github.com/pipehook/pipehook/stages/validate"
)

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tableKey is a key in the first column of a table.
var tableKey = regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\|")

func compare(t *testing.T, name string, keys []string) {
	t.Helper()
	documented := map[string]bool{}
	for _, m := range tableKey.FindAllStringSubmatch(page(t, name), -1) {
		documented[m[1]] = true
	}
	for _, key := range keys {
		if !documented[key] {
			t.Errorf("%s does not describe %s", name, key)
		}
		delete(documented, key)
	}
	for key := range documented {
		t.Errorf("%s describes %s, which there is not", name, key)
	}
}

func TestEveryKeyIsDescribed(t *testing.T) {
	compare(t, "docs/configuration.md", config.Keys())
	for kind, conf := range map[string]any{
		"authenticate": authenticate.Config{}, "validate": validate.Config{}, "echo": echostage.Config{}, "dedupe": dedupe.Config{},
		"persist": persist.Config{}, "dispatch": dispatch.Config{}, "script": script.Config{},
		"plugin": plugin.Config{},
	} {
		compare(t, "docs/stages/"+kind+".md", config.StageKeys(conf))
	}
}

func TestEveryKindOfStageHasAPage(t *testing.T) {
	for _, f := range stages.All(stages.Deps{}) {
		page(t, "docs/stages/"+f.Kind+".md")
	}
}

var tomlExample = regexp.MustCompile("(?s)```toml\n(.*?)```")

// The examples of the stages' pages are stages; those of the README are a whole pipeline, and what is put at its end.
func TestTheExamplesInTheDocumentsAreGood(t *testing.T) {
	for _, name := range []string{"README.md", "docs/stages/authenticate.md", "docs/stages/dedupe.md", "docs/stages/persist.md", "docs/stages/dispatch.md"} {
		var before string
		for _, m := range tomlExample.FindAllStringSubmatch(page(t, name), -1) {
			p := newProject(t, testdb.SQLite(t), "", nil)
			text := before + m[1]
			if name == "README.md" {
				before = text
			}
			if !strings.Contains(text, "[[pipeline]]") {
				text = "[[pipeline]]\nname = \"a\"\npath = \"/a\"\nsource = \"pipedrive\"\n" + text
			}
			p.write(t, "pipeline.toml", text)
			p.write(t, ".env", "PIPEDRIVE_WEBHOOK_PASSWORD=password\nHOOK_SECRET=a secret of good length\n")
			if code, _, errs := command(t, "check", "--config", p.config); code != exitDone {
				t.Errorf("%s: exit code %d\n%s", name, code, errs)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)\)`)

// eachPage calls f with the file of every page there is, and its text.
func eachPage(t *testing.T, f func(name string, text []byte)) {
	t.Helper()
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "scripts/*.md", "plugins/*/*.md"} {
		names, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			f(name, text)
		}
	}
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	eachPage(t, func(name string, text []byte) {
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	})
}

// A file that belongs nowhere is one that nobody finds.
func TestEveryFileOfThisPackageBelongsSomewhere(t *testing.T) {
	_, rooms, found := strings.Cut(page(t, "docs/architecture.md"), "## Where things are in cmd/pipehook")
	files, err := filepath.Glob("*.go")
	if err != nil || !found || len(files) == 0 {
		t.Fatal(found, files, err)
	}
	rooms, _, _ = strings.Cut(rooms, "\n## ")
	for _, file := range files {
		room := strings.FieldsFunc(file, func(r rune) bool { return r == '_' || r == '.' })[0]
		if !strings.Contains(rooms, "`"+room+"`") && !strings.HasSuffix(file, "_test.go") {
			t.Errorf("%s: architecture.md does not say what %q is", file, room)
		}
	}
}
