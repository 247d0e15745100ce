package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/coretest/testdb"
)

// install puts the plugin of the tests into the folder of plugins, at once. What is behind a binary makes
// it another file, and the same program.
func (p *project) install(t testing.TB, name, behind string) {
	t.Helper()
	p.installText(t, name, testPlugin.text(t)+behind)
}

func (p *project) installText(t testing.TB, name, text string) {
	t.Helper()
	installFile(t, filepath.Join(p.dir, "plugins", "bin", name), text)
}

const pluginChain = "authenticate validate plugin dedupe persist dispatch"

// pluggedIn is a project with a plugin as a stage, and two listeners.
func pluggedIn(t *testing.T, url, chain, details string) (p *project, logFile string) {
	t.Helper()
	logFile = filepath.Join(t.TempDir(), "log.json")
	p = newProject(t, url, chain, map[string]string{
		"":       "[log]\nfile = \"" + logFile + "\"\n[[listener]]\nname = \"large\"\nscript = \"scripts/lib/large.js\"\nwhere = { \"labels.size\" = \"large\" }\n",
		"plugin": "plugin = \"tag\"\n  " + details,
	})
	p.write(t, "scripts/crm/all.js", tellAll)
	p.write(t, "scripts/lib/large.js", tellAll)
	p.install(t, "tag", "")
	return p, logFile
}

func TestAPluginInTheChainLabelsChangesDropsAndRejects(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p, logFile := pluggedIn(t, url, pluginChain, "")
		stop := p.serve(t)
		ids := map[string]string{}
		for _, test := range []struct {
			title, word, says string
		}{
			{"plain", "accepted", "continue"}, {"large", "accepted", "changed labels"}, {"change", "accepted", "changed labels, action, object, objectId, current"},
			{"throw", "accepted", "failed: no luck"}, {"hang", "accepted", "failed: the plugin did not answer within 500ms"}, {"crash", "accepted", "failed: the plugin "},
			{"wrong", "accepted", `failed: tag: it returned what a stage can't: labels: "Size" can't be a key`}, {"drop", "dropped", "dropped: a test"},
		} {
			began := time.Now()
			r := p.post(t, titled(t, test.title))
			want(t, r, 200, test.word)
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("%s: the sender waits for %s", test.title, took)
			}
			ids[test.title] = r.ID
			if got := verdictOf(p.told(t, r.ID), "plugin tag"); !strings.HasPrefix(got, test.says) {
				t.Errorf("%s: explain says %q, want %q", test.title, got, test.says)
			}
			eventually(t, "the plugin runs again", func() bool {
				return !strings.HasPrefix(verdictOf(p.told(t, p.post(t, titled(t, "between")).ID), "plugin tag"), "failed")
			})
		}
		rejected := p.post(t, titled(t, "reject"))
		want(t, rejected, 409, "conflict")
		if rejected.Error.Message != "we have that" {
			t.Errorf("the sender reads %q", rejected.Error.Message)
		}
		if x := p.told(t, ids["change"]); x.Labels["size"] != "large" || x.Type != "added.lead" {
			t.Errorf("of what was changed it tells %+v", x)
		}
		p.events(t)
		stop()
		all, large := saw(t, logFile, "crm-all", false), saw(t, logFile, "large", false)
		if got := all[ids["change"]].String(); !strings.HasPrefix(got, "pipedrive added.lead lead-1 map[size:large] changed changed=") {
			t.Errorf("a listener saw %s", got)
		}
		if len(large) != 2 || large[ids["large"]].ID == "" || large[ids["change"]].ID == "" {
			t.Errorf("%v reached who wants what is large", large)
		}

		// Another process, without the plugin, reads it out of the store.
		p.replace(t, strings.Replace(readFile(t, p.config), "use = \"plugin\"\n  plugin = \"tag\"", `use = "validate"`, 1))
		stop = p.serve(t)
		if code, _, errs := command(t, "events", "replay", ids["change"], "--listener", "crm-all", "--config", p.config); code != exitDone {
			t.Fatalf("replay: %s", errs)
		}
		p.events(t)
		stop()
		if got := saw(t, logFile, "crm-all", true)[ids["change"]]; got.String() != all[ids["change"]].String() {
			t.Errorf("a replay saw %s, and before %s", got, all[ids["change"]])
		}
	})
}

func TestAPluginThatFailsMayTurnRequestsAway(t *testing.T) {
	p, _ := pluggedIn(t, testdb.SQLite(t), pluginChain, `on_failure = "reject"`)
	stop := p.serve(t)
	accepted := map[string]bool{}
	for _, title := range []string{"throw", "hang", "crash", "wrong"} {
		r := p.post(t, titled(t, title))
		want(t, r, http.StatusServiceUnavailable, "unavailable")
		if strings.Contains(r.Error.Message, "plugin") || strings.Contains(r.Error.Message, "luck") {
			t.Errorf("the sender reads %q", r.Error.Message)
		}
		eventually(t, "the plugin runs again", func() bool {
			r := p.post(t, titled(t, "plain"))
			accepted[r.ID] = r.status == http.StatusOK
			return accepted[r.ID]
		})
	}
	events := p.events(t)
	stop()
	for _, ev := range events {
		if !accepted[ev.ID] {
			t.Errorf("stored: %+v", ev)
		}
	}
}

// A stage that is a plugin stands where the file says, as a built-in one does.
func TestThePlaceOfAPluginInTheChainIsWhatTheFileSays(t *testing.T) {
	for _, test := range []struct {
		chain         string
		stored, large int    // events, and deliveries to who wants what is large
		again         string // the answer to a repetition
		dropped       int    // deliveries of what the plugin drops
	}{
		{pluginChain, 1, 1, "duplicate", 0},
		{"authenticate validate dedupe plugin persist dispatch", 1, 1, "duplicate", 0},
		{"plugin authenticate validate dedupe persist dispatch", 1, 1, "duplicate", 0},
		{"authenticate validate dedupe persist plugin dispatch", 2, 1, "duplicate", 0},
		{"authenticate validate dedupe persist dispatch plugin", 2, 0, "duplicate", 1},
		{"authenticate validate persist plugin dispatch", 3, 2, "accepted", 0},
		{"authenticate validate plugin dispatch persist dedupe", 2, 0, "duplicate", 0},
	} {
		t.Run(test.chain, func(t *testing.T) {
			p, _ := pluggedIn(t, testdb.SQLite(t), test.chain, "")
			stop := p.serve(t)
			large, drop := titled(t, "large"), titled(t, "drop")
			want(t, p.post(t, large), 200, "accepted")
			want(t, p.post(t, large), 200, test.again)
			dropped := p.post(t, drop)
			want(t, dropped, 200, "dropped")
			events := p.events(t)
			stop()
			toLarge, toDropped := 0, 0
			for _, ev := range events {
				for _, d := range ev.Deliveries {
					if d.Listener == "large" {
						toLarge++
					}
					if ev.ID == dropped.ID {
						toDropped++
					}
				}
			}
			if len(events) != test.stored || toLarge != test.large || toDropped != test.dropped {
				t.Errorf("%d stored, %d deliveries of what is large, %d of what was dropped; want %d, %d and %d", len(events), toLarge, toDropped, test.stored, test.large, test.dropped)
			}
		})
	}
}

// Stages that are the same share a process, and one that is another has its own. A reload starts what
// is new and leaves the rest alone.
func TestTheSameStageInTwoPipelinesIsOneProcess(t *testing.T) {
	p, logFile := pluggedIn(t, testdb.SQLite(t), pluginChain, `config = { mark = "a" }`)
	const other = "\n[[pipeline]]\nname = \"second\"\npath = \"/second\"\nsource = \"pipedrive\"\n  [[pipeline.stage]]\n  use = \"plugin\"\n  plugin = \"tag\"\n  config = { mark = %q }\n  [[pipeline.stage]]\n  use = \"persist\"\n"
	before := readFile(t, p.config)
	p.replace(t, before+fmt.Sprintf(other, "a"))
	logged := func(text string) int { return strings.Count(readFile(t, logFile), text) }
	stop := p.serve(t)
	eventually(t, "it has begun", func() bool { return logged("the stage has begun") > 0 })
	mark := func() string {
		r := p.post(t, titled(t, "plain"))
		want(t, r, 200, "accepted")
		return p.told(t, r.ID).Labels["mark"]
	}
	if got := mark(); got != "a" || logged("the stage has begun") != 1 {
		t.Errorf("the mark is %q, %d processes", got, logged("the stage has begun"))
	}
	p.replace(t, before+fmt.Sprintf(other, "b"))
	eventually(t, "the other is taken", func() bool { return logged("configuration reloaded") == 1 })
	if got := mark(); got != "a" || logged("the stage has begun") != 2 || logged("plugin stopped") != 0 {
		t.Errorf("the mark is %q, %d processes", got, logged("the stage has begun"))
	}
	p.replace(t, strings.Replace(before, `mark = "a"`, `mark = "c"`, 1))
	eventually(t, "another mark is taken", func() bool { return mark() == "c" })
	p.replace(t, strings.Replace(before, `mark = "a"`, `mark = "d", bad = true`, 1))
	eventually(t, "it is refused", func() bool { return logged("pipeline[0].stage[2].config.bad: must not be true") > 0 })
	if got := mark(); got != "c" {
		t.Errorf("after a reload that was refused the mark is %q", got)
	}
	stop()
	p.replace(t, strings.Replace(before, `mark = "a"`, `bad = true`, 1))
	if code, _, errs := command(t, "serve", "--config", p.config); code != exitUsage || !strings.Contains(errs, "pipeline[0].stage[2].config.bad: must not be true") {
		t.Errorf("a start with it: exit code %d\n%s", code, errs)
	}
}

// A stage whose process is killed all the time costs no sender his 2xx.
func TestAStageThatIsKilledUnderLoadCostsNoRequest(t *testing.T) {
	bin := buildBinary(t)
	p, _ := pluggedIn(t, testdb.SQLite(t), pluginChain, `config = { mark = "on" }`)
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	pr.says(t, "plugin started", 1)
	l, stop := p.press(t, 50, nil)
	for n := range 5 {
		l.more(t, 20)
		pr.signal(t, pr.says(t, "the stage has begun", n+1).Data.Pid, syscall.SIGKILL)
		pr.says(t, "the stage has begun", n+2)
	}
	l.more(t, 20)
	stop()
	if l.slowest > 8*time.Second {
		t.Errorf("the slowest answer took %s", l.slowest)
	}
	l.flawless(t, p)
	var marked int
	for _, ev := range p.events(t) {
		if ev.Labels != "" {
			marked++
		}
	}
	if marked < 100 {
		t.Errorf("the stage has marked %d events", marked)
	}
	pr.stop(t, p, pr.cmd.Process.Pid)
}

func TestAStageThatDoesNotRunKeepsNobodyFromServing(t *testing.T) {
	p, logFile := pluggedIn(t, testdb.SQLite(t), pluginChain, "")
	bin := filepath.Join(p.dir, "plugins", "bin", "tag")
	if err := os.Remove(bin); err != nil {
		t.Fatal(err)
	}
	stop := p.serve(t)
	r := p.post(t, titled(t, "large"))
	want(t, r, 200, "accepted")
	if got := verdictOf(p.told(t, r.ID), "plugin tag"); !strings.HasPrefix(got, "failed: the plugin does not run: there is no "+bin) {
		t.Errorf("explain says %q", got)
	}
	if log := readFile(t, logFile); !strings.Contains(log, "a plugin does not run; its on_failure says what becomes of each event") {
		t.Errorf("the log says\n%s", log)
	}
	p.install(t, "tag", "")
	eventually(t, "it runs", func() bool { return p.told(t, p.post(t, titled(t, "large")).ID).Labels["size"] == "large" })
	stop()
}

func TestAPluginIsASource(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p, logFile := shop(t, url, "authenticate validate dedupe persist dispatch")
		p.replace(t, strings.Replace(readFile(t, p.config), "source = \"script\"\nscript = \"scripts/sources/acme.js\"", "source = \"plugin\"\nplugin = \"orders\"", 1))
		p.install(t, "orders", "")
		stop := p.serve(t)
		const created = `{"type":"create","order":{"id":"o-1","title":"first","value":2.50},"was":{"value":1}}`
		first := p.signed(t, created, "1")
		want(t, first, 200, "accepted")
		if again := p.signed(t, created, "1"); again.Status != "duplicate" || again.ID != first.ID {
			t.Errorf("a repetition is answered %+v", again)
		}
		want(t, p.signed(t, created, "2"), 200, "accepted")
		refusal := p.signed(t, `{"type":"create"}`, "3")
		want(t, refusal, 422, "invalid")
		if refusal.Error.Message != "order is missing" {
			t.Errorf("the sender reads %q", refusal.Error.Message)
		}
		hung := p.signed(t, `{"order":{"id":"hang"}}`, "4")
		want(t, hung, 200, "accepted")
		events := p.events(t)
		stop()
		if len(events) != 3 || events[2].Source != "orders" || events[2].Action != "added" || events[2].ObjectID != "o-1" || events[0].Action != "unknown" {
			t.Errorf("stored: %+v", events)
		}
		if got := verdictOf(p.told(t, hung.ID), "source orders"); !strings.HasPrefix(got, "failed: the plugin did not answer within 500ms") {
			t.Errorf("explain says %q", got)
		}
		before := saw(t, logFile, "all", false)[first.ID]
		if got := before.String(); got != "orders added.order o-1 map[] first changed=true" {
			t.Errorf("a listener saw %s", got)
		}
		if strings.Contains(events[2].Overlay, "secret") {
			t.Errorf("it has seen a credential: %s", events[2].Overlay)
		}

		// What is stored needs no source.
		p.replace(t, strings.Replace(readFile(t, p.config), "source = \"plugin\"\nplugin = \"orders\"", `source = "pipedrive"`, 1))
		if err := os.Remove(filepath.Join(p.dir, "plugins", "bin", "orders")); err != nil {
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

func TestCheckFindsWhatIsWrongWithPluginsInChains(t *testing.T) {
	const source, stage = "source = \"plugin\"\nplugin = \"orders\"\n", "use = \"plugin\"\nplugin = \"tag\"\n"
	for name, test := range map[string]struct {
		pipeline, stage, want string
	}{
		"a stage without a binary":        {"", `use = "plugin"`, "pipeline[0].stage[0].plugin: is required"},
		"a binary that is not there":      {"", "use = \"plugin\"\nplugin = \"none\"", "pipeline[0].stage[0].plugin: there is no "},
		"another file than pinned":        {"", stage + `sha256 = "` + strings.Repeat("0", 64) + `"`, "pipeline[0].stage[0].sha256: "},
		"a time-out beyond the answer":    {"", stage + `timeout = "3s"`, "timeout is 3s and may be 2s, a quarter of server.ack_within"},
		"a time-out beside no binary":     {"", "use = \"plugin\"\nplugin = \"none\"\n" + `timeout = "3s"`, "timeout is 3s and may be 2s\npipeline[0].stage[0].plugin: there is no "},
		"a time-out beside a wrong key":   {"", stage + "timeuot = 1\n" + `timeout = "3s"`, "timeout is 3s and may be 2s\npipeline[0].stage[0].timeuot: unknown key"},
		"hosts, which are for scripts":    {"", stage + `allow_hosts = []`, "pipeline[0].stage[0].allow_hosts: unknown key"},
		"limits that are none":            {"", stage + `limits = { memory = "1MiB" }`, "pipeline[0].stage[0].limits.memory: must be at least 32MiB"},
		"a name that is no name":          {"", "use = \"plugin\"\nplugin = \"./plugins/bin/Tag\"", "pipeline[0].stage[0].plugin: ./plugins/bin/Tag can't name a stage"},
		"a script of the same name":       {"", stage + "[[pipeline.stage]]\nuse = \"script\"\nscript = \"scripts/stages/tag.js\"", "pipeline[0].stage[1].script: scripts/stages/tag.js and "},
		"a plugin of a script's name":     {"", "use = \"script\"\nscript = \"scripts/stages/tag.js\"\n[[pipeline.stage]]\n" + stage, "pipeline[0].stage[1].plugin: tag and "},
		"a source without a binary":       {`source = "plugin"`, `use = "persist"`, "pipeline[0].plugin: is required"},
		"a source that is not there":      {"source = \"plugin\"\nplugin = \"none\"", `use = "persist"`, "pipeline[0].plugin: there is no "},
		"a source that is not the pinned": {source + `source_options = { sha256 = "` + strings.Repeat("0", 64) + `" }`, `use = "persist"`, "pipeline[0].source_options.sha256: "},
		"a source with another's name":    {"source = \"plugin\"\nplugin = \"pipedrive\"", `use = "persist"`, "pipeline[0].plugin: pipedrive would be the source pipedrive"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProject(t, testdb.SQLite(t), "", nil)
			if test.pipeline == "" {
				test.pipeline = `source = "pipedrive"`
			}
			p.write(t, "pipeline.toml", "[[pipeline]]\nname = \"a\"\npath = \"/a\"\n"+test.pipeline+"\n[[pipeline.stage]]\n"+test.stage+"\n")
			p.write(t, "scripts/stages/tag.js", "export default () => {}")
			for _, name := range []string{"tag", "orders"} {
				p.installText(t, name, "#!/bin/sh\ntouch ran\n")
			}
			code, _, errs := command(t, "check", "--config", p.config)
			for want := range strings.SplitSeq(test.want, "\n") {
				if code != exitUsage || !strings.Contains(errs, want) {
					t.Errorf("exit code %d, without %q:\n%s", code, want, errs)
				}
			}
			if _, err := os.Stat(filepath.Join(p.dir, "ran")); err == nil {
				t.Error("check has started a plugin")
			}
		})
	}
	p := newProject(t, testdb.SQLite(t), "validate authenticate persist dispatch", nil)
	p.replace(t, strings.Replace(readFile(t, p.config), "source = \"pipedrive\"\n", source, 1))
	p.installText(t, "orders", "#!/bin/sh\n")
	code, out, errs := command(t, "check", "--config", p.config)
	if code != exitDone || !strings.Contains(out, "the source is a plugin and authenticate is not the first stage: a stranger's body runs through your plugin") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
}
