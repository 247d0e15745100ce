// Command plugin is the compiled plugin that the torture program has pipehook run. It keeps a ledger
// of what it did, which outlives it, and hangs, ends, babbles or is late when an event says so.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/pipehook/pipehook/plugins/sdk"
)

// orphanEnv names the ledger to a child that does nothing but live.
const orphanEnv = "TORTURE_ORPHAN"

func main() {
	if path := os.Getenv(orphanEnv); path != "" {
		l := &listener{Ledger: path}
		for range time.Tick(5 * time.Millisecond) {
			l.note("orphan", os.Getenv("TORTURE_HOST"))
		}
	}
	l := &listener{}
	sdk.Serve(sdk.Plugin{Name: "torture", Version: "1", Config: l, Listener: l})
}

type listener struct {
	Ledger string `json:"ledger"`
	Child  bool   `json:"child"` // start one that leaves the group
}

// Start is part of what sdk.Plugin asks for.
func (l *listener) Start(context.Context, *sdk.Host) error {
	l.note("start", fmt.Sprint(os.Getppid()))
	if !l.Child {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), orphanEnv+"="+l.Ledger, fmt.Sprint("TORTURE_HOST=", os.Getppid()))
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return child.Start()
}

// asked is what an event wants done with it.
type asked struct {
	MS   int    `json:"torture_ms"`
	Loop bool   `json:"torture_loop"`
	End  string `json:"torture_end"`  // of the process, and how
	Say  int    `json:"torture_say"`  // a line of so many megabytes, on stdout
	Late bool   `json:"torture_late"` // answer after the deadline
}

// Handle is part of sdk.Listener.
func (l *listener) Handle(ctx context.Context, ev sdk.Event) error {
	l.note("torture begin", ev.ID)
	var asked asked
	if err := json.Unmarshal(ev.Current, &asked); err != nil {
		return sdk.Permanent(err)
	}
	switch asked.End {
	case "panic":
		panic("torture")
	case "exit":
		os.Exit(7)
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	if asked.Say > 0 {
		for part := bytes.Repeat([]byte("x"), 1<<20); asked.Say > 0; asked.Say-- {
			_, _ = os.Stdout.Write(part)
		}
		fmt.Println()
	}
	if asked.Late {
		<-ctx.Done()
		time.Sleep(300 * time.Millisecond)
	}
	for end := time.Now().Add(time.Duration(asked.MS) * time.Millisecond); asked.Loop || time.Now().Before(end); {
	}
	l.note("torture end", ev.ID)
	return nil
}

// note adds a line with one write, so that no other stands in it. What is lost here is missed later.
func (l *listener) note(what, of string) {
	f, err := os.OpenFile(l.Ledger, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	if _, err := fmt.Fprintf(f, "%d\t%d\t%s\t%s\n", time.Now().UnixNano(), os.Getpid(), what, of); err != nil {
		panic(err)
	}
	_ = f.Close()
}
