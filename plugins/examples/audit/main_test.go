package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/sdktest"
)

func plugin(a *audit) sdk.Plugin {
	return sdk.Plugin{Name: "audit", Version: "0", Config: a, Listener: a}
}

func TestEveryEventIsALineOfTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	p := sdktest.Start(t, plugin(&audit{}), sdktest.Options{Config: map[string]any{"path": path}})
	first, second := sdktest.Event(t, "added.deal"), sdktest.Event(t, "updated.deal")
	for _, ev := range []sdk.Event{first, second} {
		if err := p.Handle(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.Count("lines"); got != 2 {
		t.Errorf("it counted %v lines", got)
	}
	p.Stop()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var last line
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 2 || last.ID != second.ID || last.Type != "updated.deal" || last.ObjectID != second.ObjectID || !slices.Contains(last.Changed, "stage_id") {
		t.Errorf("lines %q, the last means %+v", lines, last)
	}
}

// A new process may run beside the one that it replaces.
func TestTheNextProcessAddsToTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	options := sdktest.Options{Config: map[string]any{"path": path}}
	for range 2 {
		if err := sdktest.Start(t, plugin(&audit{}), options).Handle(t.Context(), sdktest.Event(t, "added.deal")); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), "\n") != 2 {
		t.Errorf("the file is %q, %v", text, err)
	}
}

func TestAPathThatCanNotBeIsAMistakeOfTheConfiguration(t *testing.T) {
	for want, config := range map[string]map[string]any{
		"path: must not be empty": {"path": ""},
		"path: open ":             {"path": t.TempDir()},
		"path: must be text":      {"path": 3},
		"pth: unknown":            {"pth": "a"},
	} {
		if _, err := sdktest.TryStart(t, plugin(&audit{Path: filepath.Join(t.TempDir(), "a.log")}), sdktest.Options{Config: config}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestAFileThatCanNotBeWrittenIsAFailure(t *testing.T) {
	a := &audit{Path: filepath.Join(t.TempDir(), "audit.log")}
	p := sdktest.Start(t, plugin(a), sdktest.Options{})
	if err := a.file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Handle(t.Context(), sdktest.Event(t, "added.deal")); err == nil || !strings.Contains(err.Error(), "can't be written") || sdktest.IsPermanent(err) {
		t.Errorf("error %v", err)
	}
}
