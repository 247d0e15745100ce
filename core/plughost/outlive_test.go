//go:build unix

package plughost_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
)

// A host that is killed takes its plugins with it, and what they have started and hidden is ended
// before the next host starts anything.
func TestNothingOutlivesAHostThatIsKilled(t *testing.T) {
	if !onLinux() {
		t.Skip("the system does not end children with their parent")
	}
	dir := filepath.Join(t.TempDir(), "plugins")
	cmd := exec.Command(labSpec("").Path)
	cmd.Env = append(os.Environ(), hostEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var pids []int
	for len(pids) < 2 && lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(lines.Text())
		}
		pids = append(pids, pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	_ = cmd.Wait() // it was killed
	until(t, "the plugin is gone", func() bool { return !alive(pids[0]) })
	if took := time.Since(killed); took > time.Second {
		t.Errorf("the plugin lived on for %s", took)
	}
	if !alive(pids[1]) {
		t.Fatal("the plugin's child, which left its group, is gone already: the test tests nothing")
	}
	b := &bench{dir: dir}
	b.Host, err = plughost.Open(plughost.Options{Dir: dir, Log: discard()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	if alive(pids[1]) {
		t.Errorf("process %d lives on", pids[1])
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
	if err := handle(t, b.lab(t, ""), "nothing"); err != nil {
		t.Error(err)
	}
}

func TestWhatAPluginHasStartedEndsWithTheHost(t *testing.T) {
	t.Parallel()
	if !onLinux() {
		t.Skip("what has left its group is not found on this system")
	}
	dir := filepath.Join(t.TempDir(), "plugins")
	h, err := plughost.Open(plughost.Options{Dir: dir, Log: discard()})
	if err != nil {
		t.Fatal(err)
	}
	p := h.Start(labSpec(t.TempDir()))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	child, err := strconv.Atoi(p.Handle(ctx, core.Event{ID: "1", Object: "fork far"}).Error())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	until(t, "the child is gone", func() bool { return !alive(child) })
}
