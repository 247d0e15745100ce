package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/plughost"
)

func pluginListener(name, more string) string {
	return fmt.Sprintf("[[listener]]\nname = %q\nplugin = %q\n%s\n", name, name, more)
}

func TestCheckFindsWhatIsWrongWithAPlugin(t *testing.T) {
	wrong := strings.Repeat("0", 64)
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "[plugins]\ndir = \"bin\"\n" + pluginListener("gone", "") +
		pluginListener("other", "sha256 = \""+wrong+"\"") + "[[listener]]\nname = \"both\"\nplugin = \"./bin/other\"\nscript = \"a.js\"\n"})
	p.write(t, "bin/other", "#!/bin/sh\ntouch ran\n")
	other := filepath.Join(p.dir, "bin", "other")
	if err := os.Chmod(other, 0o700); err != nil {
		t.Fatal(err)
	}
	sum, err := plughost.Check(other, "")
	if err != nil {
		t.Fatal(err)
	}
	code, _, errs := command(t, "check", "--config", p.config)
	for _, want := range []string{
		"listener[0].plugin: there is no " + filepath.Join(p.dir, "bin", "gone"), "listener[1].sha256: " + other + " has the SHA-256 " + sum,
		"listener[2].plugin: stands beside script",
	} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
	if code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "ran")); err == nil {
		t.Error("check has started a plugin")
	}
}

func auditLines(p *project, name string) int {
	text, _ := os.ReadFile(filepath.Join(p.dir, name))
	return strings.Count(string(text), "\n")
}

// A plugin that did not change is the same process after a reload; one whose config changed is
// another, and none is lost on the way. A config that its plugin refuses changes nothing.
func TestAReloadSwapsThePluginsThatChanged(t *testing.T) {
	bin := buildBinary(t)
	const one, two = `config = { path = "one.log" }`, `config = { path = "two.log" }`
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": pluginListener("audit", one) + "[[listener]]\nname = \"second\"\nplugin = \"./plugins/bin/audit\"\n" + two + "\n"})
	buildPlugin(t, filepath.Join(p.dir, "plugins", "bin", "audit"), "plugins/examples/audit", "")
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	pr.says(t, "plugin started", 2)
	p.post(t, sampleOf(t, 1))
	eventually(t, "both have noted it", func() bool { return auditLines(p, "one.log") == 1 && auditLines(p, "two.log") == 1 })

	edit(t, p.config, one, `config = { path = "three.log" }`)
	pr.says(t, "configuration reloaded", 1)
	pr.says(t, "plugin stopped", 1)
	p.post(t, sampleOf(t, 2))
	eventually(t, "the new one and the old one have noted it", func() bool { return auditLines(p, "three.log") == 1 && auditLines(p, "two.log") == 2 })
	if n := len(pr.said(t, "plugin started")); n != 3 || auditLines(p, "one.log") != 1 {
		t.Errorf("%d starts", n)
	}

	edit(t, p.config, two, `config = { path = "", pth = 1 }`)
	refused := pr.says(t, "the configuration was not reloaded", 1)
	if refused.Key != "listener[1].config.path" || refused.Line == 0 {
		t.Errorf("the reload was refused with %+v", refused)
	}
	p.post(t, sampleOf(t, 3))
	eventually(t, "both go on", func() bool { return auditLines(p, "three.log") == 2 && auditLines(p, "two.log") == 3 })
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGTERM)
	<-pr.exit
	if code := pr.cmd.ProcessState.ExitCode(); code != exitDone {
		t.Errorf("exit code %d", code)
	}
	if left, err := filepath.Glob(filepath.Join(p.dir, "pipehook.spool", "*", "plugins")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	if code, _, errs := command(t, "serve", "--config", p.config); code != exitUsage || !strings.Contains(errs, "listener[1].config.pth: unknown key") {
		t.Errorf("a start with it: exit code %d\n%s", code, errs)
	}
}

// Who sends events does not notice that a plugin is not there; its deliveries wait for it.
func TestAPluginThatIsNotThereKeepsNobodyFromServing(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": pluginListener("audit", `retry = { attempts = 100, first = "100ms", max = "100ms" }`)})
	p.serve(t)
	want(t, p.post(t, sampleBody(t)), 200, "accepted")
	buildPlugin(t, filepath.Join(p.dir, "plugins", "bin", "audit"), "plugins/examples/audit", "")
	eventually(t, "the event is noted", func() bool { return auditLines(p, "audit.log") == 1 })
}

// What a plugin is does not change by itself: to wait for it would be to wait for ever.
func TestAPluginThatIsNamedAsWhatItIsNotEndsAStart(t *testing.T) {
	p := labProject(t, "[[listener]]\nname = \"misplaced\"\nplugin = \"labstage\"\n")
	code, _, errs := command(t, "serve", "--config", p.config)
	if want := "listener[0].plugin: lab is a stage, and is named as a listener\n"; code != exitUsage || !strings.Contains(errs, want) {
		t.Errorf("exit code %d, and not %q\n%s", code, want, errs)
	}
}
