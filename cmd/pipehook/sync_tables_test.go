package main

import (
	"os"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/mirror"
)

// crmPipeline stores what Pipedrive sends, and does no more.
const crmPipeline = `
[[pipeline]]
name = "crm"
path = "/hook"
source = "pipedrive"

  [[pipeline.stage]]
  use = "persist"
`

const tablesPipeline = crmPipeline + `
[[listener]]
name = "tables"
use = "pipedrive_sync"

[pipedrive.sync]
objects = ["deal"]
`

func TestTheListenerThatKeepsLocalTables(t *testing.T) {
	t.Chdir(t.TempDir())
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile("pipeline.toml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(tablesPipeline)
	says(t, exitDone, []string{"check"}, "1 pipeline, 1 listener")
	put(strings.Replace(tablesPipeline, "use = \"pipedrive_sync\"", "match = [\"*.person\", \"*.deal\"]\nuse = \"pipedrive_sync\"", 1))
	says(t, exitDone, []string{"check"}, "1 pipeline, 1 listener")
	put(tablesPipeline)
	says(t, exitFailed, []string{"pipedrive", "tables"}, "there are no local tables at ", "hint: pipehook sync, or pipehook serve")
	says(t, exitUsage, []string{"sync", "deals"}, `"deals" is no object of Pipedrive's`, `did you mean "deal"?`)
	says(t, exitUsage, []string{"reconcile", "deals"}, `did you mean "deal"?`)
	says(t, exitUsage, []string{"events", "list", "--origin", "nonsense"}, "it is one of webhook, reconcile")
	says(t, exitDone, []string{"pipedrive", "tables", "--schema"}, "CREATE TABLE pipedrive_deals (\n    id INTEGER PRIMARY KEY")
	m, err := mirror.Open(t.Context(), mirror.Options{URL: "sqlite:pipedrive.db"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	says(t, exitDone, []string{"pipedrive", "tables", "--json"}, `"table": "pipedrive_deals"`, `"rows": 0`)
	for old, wrong := range map[string][2]string{
		`["deal"]`:                   {`["deals"]`, `did you mean "deal"?`},
		`use = "pipedrive_sync"`:     {`use = "pipedrive_sinc"`, "listener[0].use"},
		`source = "pipedrive"`:       {"source = \"script\"\nscript = \"s.js\"", "no pipeline has them"},
		"name = \"tables\"\n":        {"name = \"tables\"\nmatch = [\"*.person\", \"updated.deal\"]\n", "listener[0].match: keeps events from the local tables"},
		"[[listener]]\nname":         {"[[listener]]\nchanged = [\"status\"]\nname", "listener[0].changed: keeps events from the local tables"},
		"[[listener]]\n":             {"[[listener]]\nwhere = { \"origin\" = \"webhook\" }\n", "listener[0].where: keeps events from the local tables"},
		`name = "tables"`:            {"name = \"tables\"\nscript = \"a.js\"", "stands beside script or plugin"},
		"[pipedrive.sync]":           {"[[listener]]\nname = \"again\"\nuse = \"pipedrive_sync\"\n[pipedrive.sync]", "is that of the listener tables too"},
		"use = \"pipedrive_sync\"\n": {"use = \"pipedrive_sync\"\nsha256 = \"" + strings.Repeat("0", 64) + "\"\nallow_hosts = [\"a.com\"]\n", "is for plugins"},
	} {
		put(strings.Replace(tablesPipeline, old, wrong[0], 1))
		says(t, exitUsage, []string{"check"}, wrong[1])
	}
}
