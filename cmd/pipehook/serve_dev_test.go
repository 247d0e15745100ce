package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
)

// screen is what the program prints, readable while it runs.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// shows waits until the text is there.
func (s *screen) shows(t *testing.T, text string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(s.String(), text); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it never showed %q but\n%s", text, s)
		}
	}
}

// startDev runs pipehook dev in the current folder until the test ends.
func startDev(t *testing.T) (*screen, []string) {
	t.Helper()
	environ := []string{"PIPEHOOK_SERVER__LISTEN=" + program.FreeAddress(), "PIPEHOOK_ADMIN__LISTEN=" + program.FreeAddress()}
	out := &screen{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"dev"}, environ, strings.NewReader(""), out, out) }()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != exitDone {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
	return out, environ
}

func edit(t *testing.T, path, old, text string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	after := strings.Replace(string(before), old, text, 1)
	if after == string(before) {
		t.Fatalf("%s does not hold %q", path, old)
	}
	if err := os.WriteFile(path, []byte(after), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDevInAnEmptyFolderShowsAHandledWebhookAndReloadsTheScript(t *testing.T) {
	t.Chdir(t.TempDir())
	out, environ := startDev(t)
	out.shows(t, "moved from stage 3 to 4")
	out.shows(t, "✓ deal-moved")
	script := filepath.Join(devFolder, "scripts", "deal-moved.js")
	edit(t, script, "moved from stage", "hopped from stage")
	out.shows(t, "hopped from stage 3 to 4")
	edit(t, script, "export default", "export default default")
	out.shows(t, "its last good version goes on")
	out.shows(t, " | export default default function")
	if code := run(t.Context(), []string{"trigger", "updated.deal"}, environ, nil, io.Discard, out); code != exitDone {
		t.Errorf("trigger: exit code %d", code)
	}
	var listed bytes.Buffer
	if code := run(t.Context(), []string{"events", "list"}, environ, nil, &listed, out); code != exitDone || strings.Count(listed.String(), "updated.deal") < 3 {
		t.Errorf("events list: exit code %d\n%s", code, listed.String())
	}
}

func TestDevReloadsTheConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	if code := run(t.Context(), []string{"init"}, nil, nil, io.Discard, os.Stderr); code != exitDone {
		t.Fatalf("init: exit code %d", code)
	}
	out, environ := startDev(t)
	out.shows(t, "✓ deal-moved")
	edit(t, defaultConfig, "use = \"dispatch\"", "use = \"despatch\"")
	out.shows(t, "the old one goes on")
	edit(t, defaultConfig, "use = \"despatch\"", "use = \"dispatch\"\n  [[pipeline.stage]]\n  use = \"validate\"")
	out.shows(t, "validate stands more than once")
	if code := run(t.Context(), []string{"trigger", "added.person"}, environ, nil, io.Discard, out); code != exitDone {
		t.Errorf("trigger: exit code %d", code)
	}
	out.shows(t, "added.person")
}

func TestAScriptThatIsMendedIsTriedAtOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	out, _ := startDev(t)
	out.shows(t, "✓ deal-moved")
	script := filepath.Join(devFolder, "scripts", "deal-moved.js")
	whole, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`export default (event, ctx) => ctx.retryAfter("1h", "broken")`)
	out.shows(t, "again in 1h")
	write(`export default (event, ctx) => ctx.retryAfter("1h", "broken still")`)
	out.shows(t, "broken still")
	write(strings.Replace(string(whole), "moved from stage", "mended from stage", 1))
	out.shows(t, "mended from stage 3 to 4")
	out.shows(t, "✓ deal-moved  ")
}

func TestTheSampleIsWhatTheSavedScriptWants(t *testing.T) {
	t.Chdir(t.TempDir())
	out, _ := startDev(t)
	out.shows(t, "✓ deal-moved")
	script := filepath.Join(devFolder, "scripts", "greet.js")
	if err := os.WriteFile(script, []byte("export const match = 'added.person';\nexport default () => {};\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out.shows(t, "✓ greet")
	edit(t, script, "added.person", "added.lead")
	out.shows(t, "added.lead")
}
