//go:build unix

package plughost_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
)

func TestAPluginThatTakesTooMuchMemoryDiesOfThatAlone(t *testing.T) {
	if !onLinux() {
		t.Skip("the system does not limit a process's memory")
	}
	b := newBench(t, plughost.Limits{})
	p := b.lab(t, "", func(s *plughost.Spec) { s.Memory = 64 << 20 })
	other := b.lab(t, "", func(s *plughost.Spec) { s.Memory = 1 << 30 })
	otherPid := number(t, other, "pid")
	err := handle(t, p, "hoard")
	if core.KindOf(err) != core.Crashed || !strings.Contains(err.Error(), "memory limit of 64MiB exceeded") {
		t.Errorf("kind %s: %v", core.KindOf(err), err)
	}
	if err := handle(t, p, "nothing"); err != nil {
		t.Errorf("the next process: %v", err)
	}
	if now := number(t, other, "pid"); now != otherPid {
		t.Error("the other plugin was ended")
	}
}

func TestAPluginMayHaveSoManyOpenFiles(t *testing.T) {
	t.Parallel()
	if !onLinux() {
		t.Skip("the system does not limit a process's files from outside")
	}
	b := newBench(t, plughost.Limits{})
	p := b.lab(t, "", func(s *plughost.Spec) { s.OpenFiles = 40 })
	if err := handle(t, p, "files"); err == nil || !strings.Contains(err.Error(), "too many open files") || len(err.Error()) > 0 && err.Error()[0] == '4' {
		t.Errorf("error %v", err)
	}
}

// Too few to start with is an error with its reason.
func TestAPluginThatMayHaveNoFilesSaysWhyItEnds(t *testing.T) {
	t.Parallel()
	if !onLinux() {
		t.Skip("the system does not limit a process's files from outside")
	}
	b := newBench(t, plughost.Limits{FirstPause: time.Hour})
	spec := labSpec(t.TempDir())
	spec.OpenFiles = 6
	if err := b.Start(spec).Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "limit of 6 open files exceeded") {
		t.Errorf("error %v", err)
	}
}

// Also what Go's runtime raises at its own start is lowered again before the plugin is told anything.
func TestLimitsHoldBeforeTheConfigurationComes(t *testing.T) {
	t.Parallel()
	if !onLinux() {
		t.Skip("limits are not set on this system")
	}
	b := newBench(t, plughost.Limits{})
	p := b.lab(t, "", func(s *plughost.Spec) { s.OpenFiles, s.Memory = 64, 256<<20 })
	text := handle(t, p, "limits").Error()
	for _, want := range []string{"Max open files 64 64 files", "Max core file size 0 0 bytes"} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
			t.Errorf("not %s:\n%s", want, text)
		}
	}
	if strings.Contains(strings.Join(strings.Fields(text), " "), "Max data size unlimited") {
		t.Errorf("memory is not limited:\n%s", text)
	}
	if env := handle(t, p, "environ").Error(); !strings.Contains(env, "GOMEMLIMIT=241591905") {
		t.Errorf("Go does not know the limit:\n%s", env)
	}
}

func TestAPluginServesWithOrWithoutTLSAsItIsToldTo(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{FirstPause: time.Hour})
	p := b.lab(t, "", func(s *plughost.Spec) { s.Plain = true })
	if err := handle(t, p, "nothing"); err != nil {
		t.Error(err)
	}
	if env := handle(t, p, "environ").Error(); strings.Contains(env, "CERT=") {
		t.Errorf("it got a certificate:\n%s", env)
	}
	certificate := strings.Repeat("A", 600)
	for name, test := range map[string]struct {
		plain        bool
		script, want string
	}{
		"without, and it must":         {false, `echo "1|1|unix|$PLUGIN_UNIX_SOCKET_DIR/x|grpc|"; sleep 60`, `it serves without TLS: write tls = "off" for it`},
		"without, and no empty part":   {false, `echo "1|1|unix|$PLUGIN_UNIX_SOCKET_DIR/x|grpc"; sleep 60`, `it serves without TLS`},
		"with, and it must not":        {true, `echo "1|1|unix|$PLUGIN_UNIX_SOCKET_DIR/x|grpc|` + certificate + `"; sleep 60`, `it serves with TLS`},
		"elsewhere without":            {true, `echo "1|1|unix|$PLUGIN_UNIX_SOCKET_DIR/../../x|grpc|"; sleep 60`, `must serve at a socket in`},
		"with one that is none":        {false, `echo "1|1|unix|$PLUGIN_UNIX_SOCKET_DIR/x|grpc|` + certificate + `"; sleep 60`, `certificate`},
		"at a port":                    {true, `echo "1|1|tcp|127.0.0.1:1|grpc|"; sleep 60`, `must serve at a socket in`},
		"at a socket that nobody made": {true, `echo "1|1|unix|$PLUGIN_UNIX_SOCKET_DIR/x|grpc|"; sleep 60`, `no such file`},
	} {
		p := b.Start(plughost.Spec{Path: script(t, test.script), Plain: test.plain})
		if err := p.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

func script(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
