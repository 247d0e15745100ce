package echo_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/stages/echo"
)

type fakeLedger struct {
	by   string
	near bool
	err  error

	window time.Duration
}

func (l *fakeLedger) Find(_ context.Context, _ *core.Event, window time.Duration) (string, bool, error) {
	l.window = window
	return l.by, l.near, l.err
}

func TestWhatTheStageMakesOfWhatTheLedgerSays(t *testing.T) {
	down := errors.New("down")
	for _, test := range []struct {
		name    string
		ledger  fakeLedger
		mode    string
		verdict core.Verdict
		label   string
		counted string
		kept    bool
	}{
		{name: "nobody wrote it", mode: "mark"},
		{name: "a listener wrote it", ledger: fakeLedger{by: "writer"}, mode: "mark", label: "writer", counted: "marked"},
		{name: "it is dropped", ledger: fakeLedger{by: "writer"}, mode: "drop", verdict: core.Dropped, counted: "dropped"},
		{name: "it is dropped for all but the tables", ledger: fakeLedger{by: "writer"}, mode: "drop", kept: true, label: "writer", counted: "dropped"},
		{name: "other values", ledger: fakeLedger{near: true}, mode: "drop", counted: "near_miss"},
		{name: "the ledger is away", ledger: fakeLedger{err: down}, mode: "drop"},
		{name: "it was found and could not be used up", ledger: fakeLedger{by: "writer", err: down}, mode: "mark", label: "writer", counted: "marked"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var counted string
			deps := echo.Deps{Ledger: &test.ledger, Seen: func(pipeline, result string) { counted += result }, Kept: func() bool { return test.kept }}
			stage, err := echo.Factory(deps).New(func(into any) error { into.(*echo.Config).Mode = test.mode; return nil }, core.Place{Pipeline: "crm"})
			if err != nil {
				t.Fatal(err)
			}
			ev := &core.Event{Labels: map[string]string{"kept": "1"}}
			verdict, err := stage.Process(t.Context(), ev)
			if verdict != test.verdict || err != nil || ev.Labels[echo.Label] != test.label || ev.Labels["kept"] != "1" || counted != test.counted {
				t.Errorf("got %v %v %v, counted %q", verdict, err, ev.Labels, counted)
			}
			if ev.Plan.Withheld != test.kept {
				t.Errorf("withheld: %v", ev.Plan.Withheld)
			}
			if test.ledger.window != 10*time.Minute {
				t.Errorf("asked for %s", test.ledger.window)
			}
		})
	}
}
