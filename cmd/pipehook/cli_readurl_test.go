package main

import (
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/testdb"
)

func TestWorkByHandNeedsNoMoreOfTheConfigurationThanTheDatabase(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	p.write(t, "scripts/ok.js", `export default () => {}`)
	stop := p.serve(t)
	id := p.post(t, sampleBody(t)).ID
	p.events(t)
	stop()
	good := readFile(t, p.config)
	commands := [][]string{
		{"events", "list"}, {"events", "show", id}, {"events", "explain", id}, {"deliveries", "list"}, {"migrate"},
		{"deliveries", "cancel", id}, {"events", "replay", "--listener", "ok", "--dry-run"}, {"listeners", "pause", "ok"},
		{"kv", "list"}, {"kv", "set", "--shared", "k", "1"},
	}
	all := func(t *testing.T, code int, want string, more ...string) {
		t.Helper()
		for _, args := range commands {
			got, out, errs := command(t, append(append([]string{"--config", p.config}, args...), more...)...)
			if got != code || !strings.Contains(errs, want) {
				t.Errorf("%v: exit code %d\n%s%s", args, got, out, errs)
			}
		}
	}
	p.replace(t, strings.Replace(good, `password = "secret of the tests"`, `password = "${NOT_SET_HERE}"`, 1)+"nonsense = true\n")
	all(t, exitDone, "")

	p.replace(t, strings.Replace(good, `url = "`+p.storeURL, `url = "${NOT_SET_HERE}`, 1))
	all(t, exitUsage, "pipehook: hint: mend the configuration, or name the database with --store URL")
	all(t, exitDone, "", "--store", p.storeURL)

	p.replace(t, strings.Replace(good, "[store]", "[stroe]", 1))
	all(t, exitUsage, "--store URL")

	p.replace(t, "this is no TOML")
	all(t, exitUsage, "--store URL")
	all(t, exitDone, "", "--store", p.storeURL)
	if code, _, errs := command(t, "events", "list", "--config", p.config, "--store", "mysql:x"); code != exitUsage || !strings.Contains(errs, "--store: ") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}
