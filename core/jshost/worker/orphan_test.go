//go:build unix

package worker_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/bundle"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker"
)

// victimEnv has the test's binary be a parent that is to be killed, with the script that it names.
const victimEnv = "WORKER_TEST_VICTIM"

// victim runs a script that never ends, and tells its process's number.
func victim() {
	code, err := bundle.Make(os.Getenv(victimEnv))
	if err != nil {
		panic(err)
	}
	var p *worker.Process
	p = worker.New(worker.Options{Name: "orphan", Code: code, Said: func(engine.Line) { fmt.Println(p.Pid()) }})
	p.Run(context.Background(), []engine.Call{{Event: &core.Event{ID: "1"}, Timeout: time.Hour}}, func(int, engine.Result) {})
	panic("the call has ended")
}

func TestAProcessEndsWithItsParentHoweverThatEnds(t *testing.T) {
	for name, loop := range map[string]string{
		"in a loop":                           `for (;;);`,
		"in a function that never ends":       `/(a+)+\1$/.test("a".repeat(60) + "!")`,
		"waiting for a promise":               `await new Promise((done) => setTimeout(done, 1e8))`,
		"while its memory is being collected": `for (;;) new Array(1000).fill({})`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "it.js")
			if err := os.WriteFile(path, []byte(`export default async () => { console.log("begun"); `+loop+` }`), 0o600); err != nil {
				t.Fatal(err)
			}
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), victimEnv+"="+path)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var pid int
			if _, err := fmt.Fscan(bufio.NewReader(out), &pid); err != nil || pid == 0 {
				t.Fatalf("no process: %v", err)
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			killed := time.Now()
			until(t, "the end of the child", func() bool { return !alive(pid) })
			t.Logf("gone %s after its parent", time.Since(killed).Round(time.Millisecond))
		})
	}
}

// alive reports whether a process runs. One that waits for whoever adopted it does not.
func alive(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		_, noProc := os.Stat("/proc/self/stat")
		return noProc != nil && syscall.Kill(pid, 0) == nil
	}
	for i := len(status) - 1; i > 1; i-- {
		if status[i-1] == ')' {
			return status[i+1] != 'Z'
		}
	}
	return true
}
