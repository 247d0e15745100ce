// Command ledger is the plugin of the tests that kill: it notes in a file what it does, in a way that
// survives it.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/pipehook/pipehook/plugins/sdk"
)

type ledger struct {
	Path string `json:"path"`
	file *os.File
}

func main() {
	l := &ledger{}
	sdk.Serve(sdk.Plugin{Name: "ledger", Version: "1.0.0", Config: l, Listener: l})
}

// Start is part of what sdk.Plugin asks for.
func (l *ledger) Start(context.Context, *sdk.Host) (err error) {
	if l.file, err = os.OpenFile(l.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	return l.note("start", "-")
}

// Handle is part of sdk.Listener.
func (l *ledger) Handle(ctx context.Context, ev sdk.Event) error {
	if err := l.note("begin", ev.ID); err != nil {
		return err
	}
	select {
	case <-time.After(time.Duration(ev.ID[len(ev.ID)-1]%4) * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	return l.note("end", ev.ID)
}

// note adds a line with one write: what was written is there when this process is killed.
func (l *ledger) note(what, id string) error {
	_, err := fmt.Fprintf(l.file, "%s %d %d %s\n", what, os.Getpid(), os.Getppid(), id)
	return err
}
