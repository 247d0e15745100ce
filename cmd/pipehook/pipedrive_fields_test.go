package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

const dealFields = `{"company":"acme","objects":{"deal":[{"key":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","label":"Contract end","type":"date","custom":true},
{"key":"title","label":"Title","type":"varchar"}]}}`

const fieldsPipeline = crmPipeline + `
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

// fakeFields has one field more each time it is asked, up to two.
type fakeFields struct {
	mu    sync.Mutex
	asked int
	err   error
}

// after waits, and returns how often it was asked. From then on it fails with err.
func (f *fakeFields) after(wait time.Duration, err error) int {
	time.Sleep(wait)
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	return f.asked
}

func (f *fakeFields) Fields(_ context.Context, urgent bool) (*shape.Fields, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked++; urgent {
		return nil, errors.New("nobody waits for it")
	}
	list := []shape.Field{{Key: strings.Repeat("b", 40), Label: "Tier", Custom: true}, {Key: strings.Repeat("a", 40), Label: "Tier", Custom: true}}
	return shape.NewFields("acme", map[string][]shape.Field{"deal": list[2-min(2, f.asked):]}), f.err
}

// keepFields runs a keeper of definitions, in a bubble of its own, and has said what it logs.
func keepFields(t *testing.T, file string, do func(t *testing.T, d *definitionsFile, api *fakeFields), said ...string) {
	t.Helper()
	conf := &config.Config{Path: filepath.Join(t.TempDir(), "pipeline.toml")}
	conf.Pipedrive = config.Pipedrive{Company: "acme", APIToken: "x", Fields: file}
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		d, api := &definitionsFile{lacking: newLackingFields()}, &fakeFields{}
		d.use(conf)
		k := &fieldsKeeper{
			conf: func() *config.Config { return conf }, definitions: d, log: slog.New(slog.NewTextHandler(&log, nil)),
			open: func(*config.Config) (fieldsAPI, error) { return api, nil },
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = k.Run(ctx) })
		do(t, d, api)
		cancel()
		running.Wait()
		for _, want := range said {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%q is not in %s", want, &log)
			}
		}
	})
}

// has has an event with custom fields come every minute.
func (d *definitionsFile) has(within time.Duration, keys ...string) {
	for range within / time.Minute {
		d.lacking.add("deal", keys)
		time.Sleep(time.Minute)
	}
}

func TestAnUnknownFieldHasTheDefinitionsPulledOnce(t *testing.T) {
	keepFields(t, "f.json", func(t *testing.T, d *definitionsFile, api *fakeFields) {
		for i, key := range []string{strings.Repeat("a", 40), strings.Repeat("b", 40)} {
			d.lacking.add("deal", []string{key})
			synctest.Wait()
			d.lacking.add("deal", []string{key}) // by an event that was named before the file was read
			time.Sleep(time.Hour)
			synctest.Wait()
			if err := d.look(); err != nil || len(d.known.Load().Of("deal")) != i+1 || api.asked != i+1 {
				t.Errorf("error %v, asked %d times for %+v", err, api.asked, d.known.Load().Of("deal"))
			}
		}
		if old, ok := d.known.Load().ByName("deal", "tier"); !ok || old.Key[0] != 'a' {
			t.Errorf("%+v has the name of the field that was there first", old)
		}
	}, "pulled the definitions")
}

func TestAFieldThatAPullDoesNotBringIsAskedForOnceADay(t *testing.T) {
	keepFields(t, "f.json", func(t *testing.T, d *definitionsFile, api *fakeFields) {
		d.has(23*time.Hour, "hidden", "deleted")
		if api.asked != 1 {
			t.Errorf("asked %d times in a day", api.asked)
		}
		d.has(time.Hour, "hidden", "deleted", strings.Repeat("b", 40))
		if api.asked != 2 {
			t.Errorf("asked %d times once a field is new", api.asked)
		}
		d.has(48*time.Hour, "hidden", "deleted")
		if api.asked != 4 {
			t.Errorf("asked %d times in three days", api.asked)
		}
		d.use(&config.Config{Pipedrive: config.Pipedrive{Company: "other"}})
		d.has(time.Hour, "hidden")
		if api.asked != 5 {
			t.Errorf("asked %d times once the account is another", api.asked)
		}
	}, "does not define custom fields that events have", "fields=2")
}

func TestDefinitionsThatCanNotBePulledAreAskedForLessAndLess(t *testing.T) {
	keepFields(t, "f.json", func(t *testing.T, d *definitionsFile, api *fakeFields) {
		api.err = errors.New("no answer")
		d.has(10*24*time.Hour, "new")
		if api.asked < 15 || api.asked > 20 {
			t.Errorf("asked %d times in ten days", api.asked)
		}
		api.asked, api.err = 0, nil
		d.has(25*time.Hour, strings.Repeat("a", 40))
		if api.asked != 1 || len(d.fields().Of("deal")) != 1 {
			t.Errorf("afterwards: asked %d times for %+v", api.asked, d.fields().Of("deal"))
		}
	}, "could not be pulled", "again=10m0s", "again=24h0m0s")
}

func TestAPullThatFailedIsTriedAgainThoughNoOtherEventComes(t *testing.T) {
	keepFields(t, "f.json", func(t *testing.T, d *definitionsFile, api *fakeFields) {
		away := errors.New("no answer")
		api.after(0, away)
		d.lacking.add("deal", []string{strings.Repeat("a", 40)})
		for i, wait := range []time.Duration{0, pullAgain, 2 * pullAgain, 4 * pullAgain} {
			if n := api.after(wait, away); n != i+1 {
				t.Errorf("asked %d times, want %d", n, i+1)
			}
		}
		api.after(0, nil)
		if n := api.after(48*time.Hour, nil); n != 5 || len(d.fields().Of("deal")) == 0 {
			t.Errorf("afterwards: asked %d times for %+v", n, d.fields().Of("deal"))
		}
	})
}

func TestDefinitionsThatCanNotBeKeptAreNotAskedFor(t *testing.T) {
	keepFields(t, "nosuch/f.json", func(t *testing.T, d *definitionsFile, api *fakeFields) {
		d.has(time.Hour, "new")
		if api.asked != 0 {
			t.Errorf("asked %d times", api.asked)
		}
	}, "the definitions can't be written", "nosuch")
}

type untilStopped struct{}

func (untilStopped) Fields(ctx context.Context, _ bool) (*shape.Fields, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAPullThatAStopEndsIsNotSaidToBeDone(t *testing.T) {
	conf := &config.Config{Path: filepath.Join(t.TempDir(), "pipeline.toml")}
	conf.Pipedrive = config.Pipedrive{Company: "acme", APIToken: "x", Fields: "f.json"}
	var log strings.Builder
	d := &definitionsFile{lacking: newLackingFields()}
	d.use(conf)
	k := &fieldsKeeper{
		conf: func() *config.Config { return conf }, definitions: d, log: slog.New(slog.NewTextHandler(&log, nil)),
		open: func(*config.Config) (fieldsAPI, error) { return untilStopped{}, nil },
	}
	d.lacking.add("deal", []string{"new"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k.pull(ctx)
	if log.Len() > 0 {
		t.Error(log.String())
	}
}
