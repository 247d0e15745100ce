package spool_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestEventsThatWereLeftAreNotBlamedOnTheStore(t *testing.T) {
	dir, _ := left(t, "a")
	var log bytes.Buffer
	opts := options(t, newMemory())
	opts.Dir, opts.Log = dir, slog.New(slog.NewTextHandler(&log, nil))
	open(t, opts)
	if text := log.String(); strings.Contains(text, "does not take events") || !strings.Contains(text, "an earlier process left events") {
		t.Errorf("it says %s", text)
	}
}
