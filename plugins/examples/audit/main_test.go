package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/sdktest"
)

func run(t *testing.T, config any) (*sdktest.Plugin, error) {
	t.Helper()
	a := &audit{Path: filepath.Join(t.TempDir(), "audit.log")}
	return sdktest.TryStart(t, sdk.Plugin{Name: "audit", Version: "0", Config: a, Listener: a}, sdktest.Options{Config: config})
}

func TestEveryEventIsALineOfTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	listener, err := run(t, map[string]any{"path": path})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"one", "two"} {
		ev := sdk.Event{
			ID: id, Action: "updated", Object: "deal", ObjectID: "7", ReceivedAt: time.Unix(1, 0),
			Current: []byte(`{"stage_id":2,"title":"a"}`), Previous: []byte(`{"stage_id":1}`),
		}
		if err := listener.Handle(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var last line
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 2 || last.ID != "two" || last.Type != "updated.deal" || len(last.Changed) != 1 || last.Changed[0] != "stage_id" {
		t.Errorf("lines %q, the last means %+v", lines, last)
	}
}

func TestAPathThatCanNotBeIsAMistakeOfTheConfiguration(t *testing.T) {
	for name, config := range map[string]map[string]any{
		"path: ":        {"path": t.TempDir()},
		"path: must be": {"path": 3},
		"pth: unknown":  {"pth": "a"},
	} {
		if _, err := run(t, config); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("error %v, want %s", err, name)
		}
	}
}

func TestAFileThatIsGoneIsAFailure(t *testing.T) {
	a := &audit{Path: filepath.Join(t.TempDir(), "audit.log")}
	listener := sdktest.Start(t, sdk.Plugin{Name: "audit", Version: "0", Config: a, Listener: a}, sdktest.Options{})
	if err := a.file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := listener.Handle(t.Context(), sdk.Event{ID: "1"}); err == nil || !strings.Contains(err.Error(), "can't be written") {
		t.Errorf("error %v", err)
	}
}
