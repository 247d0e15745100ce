package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/store"
)

// crashFile is where in its seat a process leaves what the runtime says when it ends it.
const crashFile = "crash"

// keepCrash has a crash of this process written to its seat, and returns the first line of what the last
// process there left: empty when that was ended from outside, or ended well.
func keepCrash(seat string) (last string, err error) {
	path := filepath.Join(seat, crashFile)
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if len(text) > 0 { // kept for whoever looks for the reason
		if err := os.Rename(path, path+".last"); err != nil {
			return "", err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // the runtime has its own
	last, _, _ = strings.Cut(strings.TrimSpace(string(text)), "\n")
	return last, debug.SetCrashOutput(f, debug.CrashOptions{})
}

// countCrashes tells the store which attempts the last process in this seat did not live to end, as far as
// they may be the reason. What runs in a process of its own can't end this one from outside; it may be
// the reason of a crash of pipehook itself.
func (a *app) countCrashes(ctx context.Context, s *store.Store) error {
	var crashes []store.Crash
	for _, left := range a.seat.Left {
		a.log.Warn("the last process ended while this attempt ran", "listener", left.Listener, "seq", left.Seq, "attempt", left.Number)
		if a.crashed || !apart(a.conf.Load(), left.Listener) {
			crashes = append(crashes, store.Crash{DeliveryKey: left.DeliveryKey, Number: left.Number})
		}
	}
	if err := s.Crashed(ctx, crashes); err != nil {
		return err
	}
	a.seat.Forget()
	return nil
}

// apart reports whether a listener runs in a process of its own.
func apart(conf *config.Config, listener string) bool {
	for _, l := range conf.Listeners {
		if l.Name == listener && !l.IsScript() {
			return l.Plugin != ""
		}
	}
	return isolated(conf)
}
