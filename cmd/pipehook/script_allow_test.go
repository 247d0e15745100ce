package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/effect"
)

func TestWhatAScriptMayReachIsReadFromTheConfiguration(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": `
[scripts]
allow_hosts = ["chat.example.com"]
allow_private = ["10.1.0.0/16"]
secrets = { A = "${CANARY}", B = "b" }
[[listener]]
name = "one"
script = "one.js"
allow_hosts = ["*.pipedrive.com"]
secrets = { B = "own" }
`})
	p.write(t, ".env", "CANARY=canary-value\n")
	p.write(t, "one.js", "export default () => {}")
	c := &cli{path: p.config}
	conf, err := c.readWhole(nil)
	if err != nil {
		t.Fatal(err)
	}
	l := conf.Listeners[0]
	on := termsOf(conf, 1, l.AllowHosts, l.Secrets)
	if got := fmt.Sprint(on.isolated, on.memory, on.allowHosts, on.allowPrivate[0], on.secrets); got != "true 134217728 [chat.example.com *.pipedrive.com] 10.1.0.0/16 map[A:canary-value B:own]" {
		t.Errorf("got %s", got)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v", conf.Scripts, conf.Scripts, conf.Scripts), fmt.Sprintf("%#v", conf.Listeners)} {
		if strings.Contains(text, "canary") {
			t.Error("a secret shows")
		}
	}
}

func TestWhatIsNoHostIsFoundByCheck(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": `
[scripts]
allow_hosts = ["chat.example.com", "https://a.example/canary"]
[[listener]]
name = "one"
script = "one.js"
allow_hosts = ["*", "${CANARY}"]
`})
	p.write(t, "one.js", "export default () => {}")
	p.write(t, ".env", "CANARY=canary value\n")
	code, _, errs := command(t, "check", "--config", p.config)
	for _, want := range []string{
		`scripts.allow_hosts[1]: "https://a.example/canary" is not a host such as`, "without https://", `listener[0].allow_hosts[0]: "*" is not a host`, "listener[0].allow_hosts[1]: is not a host",
	} {
		if !strings.Contains(errs, want) {
			t.Errorf("%q is missing in\n%s", want, errs)
		}
	}
	if code != exitUsage || strings.Contains(errs, "canary value") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

func TestWhatIsNoHostForAScriptInAChainIsFoundByCheckAtItsPlace(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), "", nil)
	p.write(t, "pipeline.toml", `
[[pipeline]]
name = "a"
path = "/a"
source = "script"
script = "scripts/sources/acme.js"
source_options = { allow_hosts = ["chat.example.com", "a b", "${CANARY}"] }
[[pipeline.stage]]
use = "script"
script = "scripts/stages/Tag.js"
allow_hosts = ["*", "chat.example.com", "${CANARY}", "c/d"]
`)
	p.write(t, ".env", "CANARY=canary value\n")
	p.write(t, "scripts/sources/acme.js", acme)
	code, _, errs := command(t, "check", "--config", p.config)
	for _, want := range []string{
		`:7:55: pipeline[0].source_options.allow_hosts[1]: "a b" is not a host`, "pipeline[0].source_options.allow_hosts[2]: is not a host",
		`:11:16: pipeline[0].stage[0].allow_hosts[0]: "*" is not a host`, "pipeline[0].stage[0].allow_hosts[2]: is not a host",
		`pipeline[0].stage[0].allow_hosts[3]: "c/d" is not a host`, ":10:1: pipeline[0].stage[0].script: scripts/stages/Tag.js can't name a stage",
	} {
		if !strings.Contains(errs, want) {
			t.Errorf("%q is missing in\n%s", want, errs)
		}
	}
	if code != exitUsage || strings.Contains(errs, "canary value") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

func TestNoPipelineHasDerivedEventsAsItsSource(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	p.replace(t, strings.Replace(readFile(t, p.config), `source = "pipedrive"`, `source = "derived"`, 1))
	if code, _, errs := command(t, "check", "--config", p.config); code != exitUsage || !strings.Contains(errs, `there is no source "derived"`) {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

func TestTheCauseOfAnEmittedEventIsShown(t *testing.T) {
	url := "sqlite:" + filepath.Join(t.TempDir(), "test.db")
	var id string
	t.Run("emit", func(t *testing.T) { // the store is closed behind it
		w := newWorld(t, url, nil)
		e, err := w.hostOf(t, hostSpec{name: "won", emits: true}).Emit(t.Context(), callOf("won", "0197"), &effect.Emit{Action: "added", Object: "invoice"})
		if err != nil {
			t.Fatal(err)
		}
		id = e.ID
	})
	for _, args := range [][]string{{"events", "show", id}, {"events", "explain", id}} {
		if code, out, errs := command(t, append(args, "--store", url)...); code != exitDone || !strings.Contains(out, "listener won, of event 0197 (1 deep)") {
			t.Errorf("%v: %d %s%s", args, code, out, errs)
		}
		if code, out, errs := command(t, append(args, "--store", url, "--json")...); code != exitDone || !strings.Contains(strings.Join(strings.Fields(out), ""), `"cause":{"event":"0197","listener":"won","depth":1}`) {
			t.Errorf("%v: %d %s%s", args, code, out, errs)
		}
	}
}
