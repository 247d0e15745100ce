package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/testdb"
)

func TestHowToDebugAPluginIsSaid(t *testing.T) {
	labProject(t, moody("first", "good", "timeout = \"7s\""))
	says(t, exitDone, []string{"plugin", "debug", "first"},
		"build it anew, since its code is optimized", "go build -gcflags='all=-N -l' -o ", "    dlv exec plugins/bin/lab -- --debug\n    PIPEHOOK_REATTACH='…' pipehook dev\n",
		"no process of it is known to run now")
	var answer debugging
	if err := json.Unmarshal([]byte(says(t, exitDone, []string{"plugin", "debug", "lab", "--json"})), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Exec != "dlv exec plugins/bin/lab -- --debug" || answer.Why == "" || len(answer.Running) != 0 {
		t.Errorf("%+v", answer)
	}
	says(t, exitUsage, []string{"plugin", "debug", "nosuch"}, "there is no plugin nosuch", "pipehook: hint: known here: first, lab")

	if err := os.WriteFile("plugins/bin/churn", []byte("#!/usr/bin/env node\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out := says(t, exitDone, []string{"plugin", "debug", "churn"}, "churn is not a Go program", "the debugger of its own language", "no process of it is known", "PIPEHOOK_REATTACH is for programs"); strings.Contains(out, "dlv") {
		t.Errorf("Delve can't help: %s", out)
	}
	says(t, exitDone, []string{"plugin", "debug", "churn", "--json"}, `"notGo": true`)

	inFolder(t)
	made := makePlugin(t, "deal-audit")
	shell(t, made.Next[2])
	says(t, exitDone, []string{"plugin", "debug", "deal-audit"}, "go -C plugins/deal-audit build -gcflags='all=-N -l' -o ../bin/deal-audit .")
	shell(t, "go -C plugins/deal-audit build -gcflags='all=-N -l' -o ../bin/deal-audit .")
	if out := says(t, exitDone, []string{"plugin", "debug", "deal-audit"}); strings.Contains(out, "build it anew") {
		t.Errorf("it is good now: %s", out)
	}
}

// debugged starts the plugin of the tests as somebody does who debugs it, and returns what it says that
// pipehook has to be told.
func (p *project) debugged(t *testing.T) (reattach string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(p.dir, "plugins", "bin", "plugin"), "--debug")
	log := filepath.Join(t.TempDir(), "debug.log")
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = file, file
	if err := errors.Join(cmd.Start(), file.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	eventually(t, "it says how it is found", func() bool {
		_, rest, _ := strings.Cut(readFile(t, log), reattachEnv+"='")
		said, _, whole := strings.Cut(rest, "'")
		reattach = said
		return whole
	})
	return reattach
}

func TestAPluginInADebuggerIsAttachedTo(t *testing.T) {
	p, _ := pluggedIn(t, testdb.SQLite(t), pluginChain, `config = { mark = "debugged" }`)
	p.replace(t, strings.Replace(readFile(t, p.config), `plugin = "tag"`, `plugin = "plugin"`, 1))
	p.install(t, "plugin", "")
	cmd := exec.Command(buildBinary(t), "serve", "--config", p.config)
	cmd.Env = append(os.Environ(), reattachEnv+"="+p.debugged(t))
	if err := os.Remove(filepath.Join(p.dir, "plugins", "bin", "plugin")); err != nil { // it is not what runs
		t.Fatal(err)
	}
	pr := launch(t, p, cmd)
	mark := func() string { return p.told(t, p.post(t, titled(t, "plain")).ID).Labels["mark"] }
	eventually(t, "it is attached to", func() bool { return mark() == "debugged" })
	edit(t, p.config, `mark = "debugged"`, `mark = "again"`)
	eventually(t, "it has its new configuration", func() bool { return mark() == "again" })
	pr.stop(t, p, pr.cmd.Process.Pid)
	if code := serveWith(t, p, reattachEnv+"={"); code != exitUsage {
		t.Errorf("with a word that is none: exit code %d", code)
	}
}

func serveWith(t *testing.T, p *project, environ ...string) int {
	t.Helper()
	return run(t.Context(), []string{"serve", "--config", p.config}, environ, nil, io.Discard, io.Discard)
}
