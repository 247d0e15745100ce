package main

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/coretest/testdb"
)

// forever is a listener whose attempt outlasts every stop.
const forever = "[[listener]]\nname = \"slow\"\nscript = \"slow.js\"\ntimeout = \"10m\"\n"

func TestAStopDoesNotFailBecauseAnAttemptTakesLong(t *testing.T) {
	bin := buildBinary(t)
	testdb.Each(t, func(t *testing.T, url string) {
		p := newProject(t, url, fullChain, map[string]string{"": forever})
		edit(t, p.config, "[store]", "shutdown_grace = \"10s\"\n[store]")
		p.write(t, "slow.js", `export default () => { for (;;); }`)
		pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
		id := p.post(t, sampleBody(t)).ID
		eventually(t, "the attempt runs", func() bool { return noted(t, p) })
		begun := time.Now()
		pr.signal(t, pr.cmd.Process.Pid, syscall.SIGTERM)
		pr.says(t, "stopping; a second signal ends it at once", 1)
		<-pr.exit
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("the stop took %s", took)
		}
		if code := pr.cmd.ProcessState.ExitCode(); code != exitDone {
			t.Errorf("exit code %d", code)
		}
		pr.says(t, "attempts that still run are left behind", 1)
		pr.says(t, "pipehook has stopped", 1)

		p.write(t, "slow.js", `export default () => {}`)
		pr = launch(t, p, exec.Command(bin, "serve", "--config", p.config))
		p.events(t)
		_, out, _ := command(t, "events", "show", id, "--json", "--config", p.config)
		if !strings.Contains(out, `"done"`) || !strings.Contains(out, `"attempts": 1,`) {
			t.Errorf("the attempt that was left behind was held against the event: %s", out)
		}
		if len(pr.said(t, "the last process ended while this attempt ran")) > 0 {
			t.Error("what was left behind counts as a crash")
		}
		pr.stop(t, p, pr.cmd.Process.Pid)
	})
}

// noted reports whether the process has noted an attempt that runs.
func noted(t *testing.T, p *project) bool {
	t.Helper()
	return strings.Contains(readFile(t, p.dir+"/pipehook.spool/1/running"), "slow")
}

// Under a service manager the attempts end before the requests.
func TestAManagedStopDoesNotFailBecauseAnAttemptTakesLong(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": forever})
	edit(t, p.config, "[store]", "shutdown_grace = \"10s\"\n[store]")
	p.write(t, "slow.js", `export default () => { for (;;); }`)
	pr, _, _ := underManager(t, p, buildBinary(t))
	p.post(t, sampleBody(t))
	eventually(t, "the attempt runs", func() bool { return noted(t, p) })
	pr.stopManaged(t)
	if code := pr.cmd.ProcessState.ExitCode(); code != exitDone {
		t.Errorf("exit code %d", code)
	}
	pr.says(t, "attempts that still run are left behind", 1)
}
