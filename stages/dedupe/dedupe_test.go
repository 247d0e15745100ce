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
	times int
	only  string // the answer is for this key alone
}

func (m *memory) Seen(_ context.Context, _ string, key []byte, since time.Time) (string, bool, error) {
	m.asked = since
	m.times++
	if m.only != "" && m.only != string(key) {
		return "", false, nil
	}
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

// A state is asked for beside the key, and counts in the plan; a key that is the state itself says it all.
func TestAStateIsPlannedAndAskedForBesideTheKey(t *testing.T) {
	for _, test := range []struct {
		name       string
		key, state string
		want       string // of the plan
		asked      int
	}{
		{name: "a state of its own", key: "k", state: "s", want: "s", asked: 2},
		{name: "no state", key: "k", asked: 1},
		{name: "the key is the state", key: "s", state: "s", asked: 1},
		{name: "a state without a key", state: "s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := &memory{}
			ev := core.Event{}
			if test.key != "" {
				ev.Key = []byte(test.key)
			}
			if test.state != "" {
				ev.State = []byte(test.state)
			}
			if _, err := stage(t, log, "dedupe", "script").Process(t.Context(), &ev); err != nil {
				t.Fatal(err)
			}
			if string(ev.Plan.State) != test.want || (ev.Plan.State == nil) != (test.want == "") || log.times != test.asked {
				t.Errorf("the plan's state is %q, asked %d times", ev.Plan.State, log.times)
			}
		})
	}
	ev := core.Event{Key: []byte("k"), State: []byte("s")}
	log := &memory{first: "x", only: "s"}
	if verdict, err := stage(t, log, "dedupe", "script").Process(t.Context(), &ev); verdict != core.Settled || err != nil {
		t.Errorf("known by its state: %v, %v", verdict, err)
	}
}
