package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/pipehook/pipehook/core"
)

func TestAWhereIsReadFromTheFile(t *testing.T) {
	conf, err := load(`
[[listener]]
name = "a"
script = "a.js"
match = ["updated.deal"]
where."current.stage.0" = [1, "one"]

  [listener.where."current.time"]
  gte = 2026-01-31
  lt = 2026-02-01T00:00:00+02:00
  not = [2026-01-31T12:00:00, "noon"]
`)
	if err != nil {
		t.Fatal(err)
	}
	for current, want := range map[string]bool{
		`{"stage":[1],"time":"2026-01-31"}`:                    true,
		`{"stage":["one"],"time":"2026-01-31T21:59:59Z"}`:      true,
		`{"stage":["one"],"time":"2026-01-31T22:00:00Z"}`:      false,
		`{"stage":["one"],"time":"2026-01-31T13:00:00+01:00"}`: false,
		`{"stage":["1"],"time":"2026-01-31"}`:                  false,
		`{"stage":[1]}`:                                        false,
	} {
		if ok, why := conf.Listeners[0].Where.Decide(&core.Event{Current: json.RawMessage(current)}); ok != want {
			t.Errorf("%s: %v, want %v (%s)", current, ok, want, why)
		}
	}
}

var tomlExample = regexp.MustCompile("(?s)```toml\n(.*?)```")

func TestTheExamplesOfThePageAreGood(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	examples := tomlExample.FindAllStringSubmatch(string(page), -1)
	for _, m := range examples {
		if conf, err := load(m[1]); err != nil || len(conf.Listeners) == 0 {
			t.Errorf("%v in\n%s", err, m[1])
		}
	}
	if len(examples) == 0 {
		t.Error("no examples")
	}
}

var (
	filterRow = regexp.MustCompile("(?m)^\\| `(= .*)` \\|")
	between   = regexp.MustCompile("`, `(= )?")
)

func TestEveryFormOfTheFiltersPageIsRead(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	forms := 0
	for _, m := range filterRow.FindAllStringSubmatch(string(page), -1) {
		for _, form := range between.Split(m[1][2:], -1) {
			forms++
			if _, err := load("[[listener]]\nname = \"a\"\nscript = \"a.js\"\nwhere = { \"current.a\" = " + form + " }\n"); err != nil {
				t.Errorf("%s: %v", form, err)
			}
		}
	}
	if forms < 15 {
		t.Errorf("%d forms", forms)
	}
}
