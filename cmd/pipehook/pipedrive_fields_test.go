package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

const dealFields = `{"company":"acme","objects":{"deal":[{"key":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","label":"Contract end","type":"date","custom":true},
{"key":"title","label":"Title","type":"varchar"}]}}`

const fieldsPipeline = `
[[pipeline]]
name = "crm"
path = "/hook"
source = "pipedrive"

  [[pipeline.stage]]
  use = "persist"

[[listener]]
name = "deals"
script = "deals.js"
match = ["updated.deal"]
changed = ["fields.contract_end"]
`

func TestCheckKnowsCustomFieldsByName(t *testing.T) {
	t.Chdir(t.TempDir())
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("deals.js", "export default () => {}")
	put("pipeline.toml", fieldsPipeline)
	says(t, exitDone, []string{"check"}, "whether there are fields.contract_end is not known: run pipehook pipedrive fields pull")
	says(t, exitFailed, []string{"pipedrive", "fields", "list"}, "there is no pipedrive.fields.json")
	put("pipedrive.fields.json", dealFields)
	says(t, exitDone, []string{"check"})
	says(t, exitDone, []string{"pipedrive", "fields", "list"}, "deal    contract_end  date  Contract end", "lead    contract_end")
	says(t, exitDone, []string{"pipedrive", "fields", "list", "deal", "--json"}, `"name": "contract_end"`)
	put("pipeline.toml", strings.Replace(fieldsPipeline, "contract_end", "contract_ends", 1))
	says(t, exitUsage, []string{"check"}, "there is no custom field fields.contract_ends of deal", `did you mean "contract_end"?`)
	put("pipeline.toml", strings.Replace(fieldsPipeline, "updated.deal", "updated.note", 1))
	says(t, exitUsage, []string{"check"}, "there is no custom field fields.contract_end of note: notes have no custom fields", "leave it out")
	says(t, exitUsage, []string{"pipedrive", "fields", "list", "deals"}, `"deals" is no object of Pipedrive's`, `did you mean "deal"?`)
	says(t, exitUsage, []string{"pipedrive", "fields", "list", "note"}, "notes have no custom fields")
	put("pipedrive.fields.json", strings.Replace(dealFields, "}]}}", "}]}", 1))
	says(t, exitUsage, []string{"check"}, "pipedrive.fields: definitions of fields: not valid JSON at byte")
}

func TestMistakesInNamesOfCustomFieldsAreLogged(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"deals.js": "export default () => {}", "pipedrive.fields.json": dealFields, "pipeline.toml": strings.Replace(fieldsPipeline, "contract_end", "contract_ends", 1)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := cli{path: "pipeline.toml"}
	conf, err := c.load(nil)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	tellFields(t.Context(), conf, slog.New(slog.NewTextHandler(&log, nil)))
	for _, want := range []string{"level=WARN", "there is no custom field fields.contract_ends of deal", `did you mean \"contract_end\"?`, "line=10"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in %s", want, &log)
		}
	}
}

// fakeFields has one field more each time it is asked.
type fakeFields struct{ asked atomic.Int32 }

func (f *fakeFields) Fields(context.Context) (*shape.Fields, error) {
	list := []shape.Field{{Key: strings.Repeat("b", 40), Label: "Tier", Custom: true}, {Key: strings.Repeat("a", 40), Label: "Tier", Custom: true}}
	return shape.NewFields("acme", map[string][]shape.Field{"deal": list[2-min(2, f.asked.Add(1)):]}), nil
}

func TestAnUnknownFieldHasTheDefinitionsPulledOnce(t *testing.T) {
	conf := &config.Config{Path: filepath.Join(t.TempDir(), "pipeline.toml")}
	conf.Pipedrive = config.Pipedrive{Company: "acme", APIToken: "x", Fields: "f.json"}
	path, api, unknown := beside(conf, "f.json"), &fakeFields{}, make(chan string, 1)
	k := &fieldsKeeper{
		conf: func() *config.Config { return conf }, unknown: unknown, log: slog.New(slog.DiscardHandler), again: time.Millisecond,
		open: func(*config.Config) (fieldsAPI, error) { return api, nil },
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = k.Run(ctx) })
	defer running.Wait()
	defer cancel()
	var d definitionsFile
	d.use(&config.Config{Path: conf.Path, Pipedrive: conf.Pipedrive})
	for want := 1; want <= 2; want++ {
		unknown <- "deal.x"
		eventually(t, "the definitions are pulled", func() bool { return d.look() == nil && len(d.known.Load().Of("deal")) == want })
	}
	if old, ok := d.known.Load().ByName("deal", "tier"); !ok || old.Key[0] != 'a' {
		t.Errorf("%+v has the name of the field that was there first: %s", old, readFile(t, path))
	}
}
