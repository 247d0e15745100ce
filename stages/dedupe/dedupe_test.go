package dedupe_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/stages/dedupe"
)

// memory is a log with one answer.
type memory struct {
	first string
	err   error
	asked time.Time
}

func (m *memory) Seen(_ context.Context, _ string, _ []byte, since time.Time) (string, bool, error) {
	m.asked = since
	return m.first, m.first != "", m.err
}

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func stage(t *testing.T, log *memory, chain ...string) core.Stage {
	t.Helper()
	f := dedupe.Factory(dedupe.Deps{Log: log, Now: func() time.Time { return now }})
	s, err := f.New(func(any) error { return nil }, core.Place{Kinds: chain})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDedupePlansAndLooksOnlyWhereStagesFollow(t *testing.T) {
	for _, test := range []struct {
		name    string
		chain   []string
		log     memory
		ev      core.Event
		verdict core.Verdict
		fails   bool
		planned bool
		asked   bool
	}{
		{name: "persist comes next and decides", chain: []string{"dedupe", "persist"}, log: memory{first: "x"}, ev: core.Event{Key: []byte("k")}, planned: true},
		{name: "another stage comes next and must not see a duplicate", chain: []string{"dedupe", "script", "persist"}, log: memory{first: "x"}, ev: core.Event{Key: []byte("k")}, verdict: core.Settled, asked: true},
		{name: "another stage comes next and the event is new", chain: []string{"dedupe", "script"}, ev: core.Event{Key: []byte("k")}, planned: true, asked: true},
		{name: "the log is away", chain: []string{"dedupe", "script"}, log: memory{err: errors.New("down")}, ev: core.Event{Key: []byte("k")}, fails: true, asked: true},
		{name: "the source can't tell", chain: []string{"dedupe", "script"}, log: memory{first: "x"}},
		{name: "persist was passed: the duplicate is kept", chain: []string{"dedupe"}, log: memory{first: "x"}, ev: core.Event{Key: []byte("k"), Plan: core.Plan{Store: true}}, planned: true, asked: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			verdict, err := stage(t, &test.log, test.chain...).Process(t.Context(), &test.ev)
			if verdict != test.verdict || (err != nil) != test.fails {
				t.Errorf("verdict %v, error %v", verdict, err)
			}
			if planned := test.ev.Plan.Key != nil; planned != test.planned || planned && test.ev.Plan.Window != 24*time.Hour {
				t.Errorf("plan %+v", test.ev.Plan)
			}
			if asked := !test.log.asked.IsZero(); asked != test.asked || asked && test.log.asked != now.Add(-24*time.Hour) {
				t.Errorf("asked for what came since %v", test.log.asked)
			}
		})
	}
}

func TestWhatStoodBeforeDedupeIsKeptForADuplicate(t *testing.T) {
	ev := core.Event{Key: []byte("k"), Plan: core.Plan{Store: true, Listeners: []string{"a"}}}
	if _, err := stage(t, &memory{}, "dedupe").Process(t.Context(), &ev); err != nil {
		t.Fatal(err)
	}
	if !ev.Plan.StoreDuplicate || !ev.Plan.DeliverDuplicate {
		t.Errorf("plan %+v", ev.Plan)
	}
}
