package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// These are found before a test goes to a folder of its own, and has a TMPDIR of its own.
var (
	moduleRoot, errModuleRoot = filepath.Abs("../..")
	buildsIn                  = os.TempDir()
)

// programBuild is a package of the module, with this text as its main.go when there is one.
type programBuild struct{ pkg, main, ldflags string }

var programBuilds sync.Map // by programBuild what builds it once

// binary is the file that comes of it. It is built once for all tests, and belongs to all of them.
func (b programBuild) binary(t testing.TB) (path string) {
	t.Helper()
	once, _ := programBuilds.LoadOrStore(b, sync.OnceValues(b.build))
	path, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// text is what the binary consists of.
func (b programBuild) text(t testing.TB) string {
	t.Helper()
	return readFile(t, b.binary(t))
}

// install puts a copy of the binary to where it is wanted.
func (b programBuild) install(t testing.TB, into string) {
	t.Helper()
	installFile(t, into, b.text(t))
}

// removeBuilds is called when all tests have ended.
func removeBuilds() {
	for _, once := range programBuilds.Range {
		if path, err := once.(func() (string, error))(); err == nil {
			_ = os.RemoveAll(filepath.Dir(path))
		}
	}
}

// installFile makes a program of the text, at once: nobody sees half of it.
func installFile(t testing.TB, into, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(into), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(into+".new", []byte(text), 0o700), os.Rename(into+".new", into)); err != nil {
		t.Fatal(err)
	}
}

func (b programBuild) build() (path string, err error) {
	dir, err := os.MkdirTemp(buildsIn, "pipehook-test-")
	if err := errors.Join(err, errModuleRoot); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "program")
	args := []string{"build", "-ldflags", b.ldflags, "-o", bin}
	if b.main != "" {
		overlay, err := b.overlay(dir)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.Command("go", append(args, "./"+b.pkg)...)
	cmd.Dir = moduleRoot
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
}

// overlay has Go read the text as the package's main.go.
func (b programBuild) overlay(dir string) (path string, err error) {
	source, path := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(moduleRoot, b.pkg, "main.go"): source}})
	return path, errors.Join(err, os.WriteFile(source, []byte(b.main), 0o600), os.WriteFile(path, list, 0o600))
}

// buildBinary is a pipehook of the test's own.
func buildBinary(t testing.TB) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "pipehook")
	if err := os.Link(programBuild{pkg: "cmd/pipehook"}.binary(t), bin); err != nil { // no test writes over it
		t.Fatal(err)
	}
	return bin
}

// buildPlugin builds a plugin of the module, or one of this text.
func buildPlugin(t testing.TB, into, pkg, text string) {
	t.Helper()
	programBuild{pkg: pkg, main: text}.install(t, into)
}

// testPlugin is the plugin in testdata.
var testPlugin = programBuild{pkg: "cmd/pipehook/testdata/plugin"}

// pickyPlugin is a testPlugin whose stage refuses every configuration.
var pickyPlugin = programBuild{pkg: testPlugin.pkg, ldflags: "-X main.picky=yes"}
