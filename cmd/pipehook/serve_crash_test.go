package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/coretest/testdb"
)

const sleeper = `export default async () => { await new Promise((done) => setTimeout(done, 60000)) }`

// A process that is ended from outside again and again is no event's fault, when the script has a
// process of its own; one that crashes may be.
func TestOnlyACrashIsHeldAgainstWhatRanElsewhere(t *testing.T) {
	bin := buildBinary(t)
	for _, test := range []struct {
		name   string
		signal os.Signal
		want   int
	}{{"killed", syscall.SIGKILL, 0}, {"crashed", syscall.SIGQUIT, 1}} {
		t.Run(test.name, func(t *testing.T) {
			p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "[[listener]]\nname = \"slow\"\nscript = \"slow.js\"\ntimeout = \"2m\"\n"})
			p.write(t, "slow.js", sleeper)
			cmd := start(t, p, bin)
			p.post(t, sampleBody(t))
			eventually(t, "the attempt is noted", func() bool { return noted(t, p) })
			if err := cmd.Process.Signal(test.signal); err != nil {
				t.Fatal(err)
			}
			died(t, cmd)

			p.write(t, "slow.js", `export default () => {}`)
			pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
			d := p.events(t)[0].Deliveries[0]
			if d.State != core.Done || d.Crashes != test.want {
				t.Errorf("state %v after %d crashes, want done after %d", d.State, d.Crashes, test.want)
			}
			pr.says(t, "the last process ended while this attempt ran", 1)
			if got := len(pr.said(t, "the last process here crashed")); got != test.want {
				t.Errorf("a crash is told %d times, want %d", got, test.want)
			}
			kept, _ := os.ReadFile(filepath.Join(p.dir, "pipehook.spool", "1", crashFile+".last"))
			if strings.Contains(string(kept), "SIGQUIT") != (test.want == 1) {
				t.Errorf("kept of the crash: %q", kept)
			}
			pr.stop(t, p, pr.cmd.Process.Pid)
		})
	}
}

// What runs in pipehook's own process may be why it is ended from outside, for its memory say.
func TestWhatRunsInThisProcessIsNotApart(t *testing.T) {
	for isolation, want := range map[string]map[string]bool{
		"process": {"script": true, "plugin": true, "tables": false},
		"none":    {"script": false, "plugin": true, "tables": false},
	} {
		conf := &config.Config{Listeners: []config.Listener{{Name: "script"}, {Name: "plugin", Plugin: "audit"}, {Name: "tables", Use: "pipedrive_sync"}}}
		conf.Scripts.Isolation = isolation
		for listener, want := range want {
			if got := apart(conf, listener); got != want {
				t.Errorf("isolation %s: is %s apart: %v", isolation, listener, got)
			}
		}
	}
}
