package core_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
)

func TestWhatGoesOnFailingIsSaidOnceAMinuteAndWhenItIsOver(t *testing.T) {
	var log strings.Builder
	text := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	var trouble core.Trouble
	now := time.Unix(0, 0)
	note := func(err error) { trouble.Note(text, now, err, "it fails", "it works again", "what", 1) }
	note(nil)
	for range 121 { // two minutes
		note(errors.New("no"))
		now = now.Add(time.Second)
	}
	note(nil)
	note(nil)
	note(errors.New("anew"))
	want := `level=ERROR msg="it fails" what=1 err=no
level=ERROR msg="it fails" what=1 since=1970-01-01T00:00:00Z failed=61 err=no
level=ERROR msg="it fails" what=1 since=1970-01-01T00:00:00Z failed=121 err=no
level=INFO msg="it works again" after=2m1s failed=121
level=ERROR msg="it fails" what=1 err=anew
`
	if log.String() != want {
		t.Errorf("the log says\n%s, want\n%s", log.String(), want)
	}
}
