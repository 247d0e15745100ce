package core_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
)

type verdictStage struct {
	verdict core.Verdict
	remark  string
}

func (s verdictStage) Process(_ context.Context, ev *core.Event) (core.Verdict, error) {
	if s.remark != "" {
		ev.Remark(s.remark)
	}
	return s.verdict, nil
}

func TestADroppedEventIsStoredOnlyWhenItWasToBeBefore(t *testing.T) {
	plan := func(p core.Plan) core.Stage {
		return stageFunc(func(ev *core.Event) error { ev.Plan = p; return nil })
	}
	drop := verdictStage{core.Dropped, "dropped: a test"}
	never := stageFunc(func(*core.Event) error { return errors.New("it went on") })
	for _, test := range []struct {
		name      string
		steps     []core.Stage
		committed bool
		want      core.Receipt
	}{
		{"alone", []core.Stage{drop, never}, false, core.Receipt{ID: "id", Dropped: true}},
		{"after dedupe its key is not remembered", []core.Stage{plan(core.Plan{Key: []byte("k")}), drop, never}, false, core.Receipt{ID: "id", Dropped: true}},
		{"after persist it is stored", []core.Stage{plan(core.Plan{Store: true}), drop, never}, true, core.Receipt{ID: "id", Dropped: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			committed := false
			p := &core.Pipeline{
				Name: "crm", Source: sourceFunc(func() error { return nil }), Log: slog.New(slog.DiscardHandler),
				Committer: committerFunc(func() error { committed = true; return nil }),
			}
			for _, s := range test.steps {
				p.Steps = append(p.Steps, core.Step{Name: "s", Stage: s})
			}
			ev := &core.Event{ID: "id"}
			got, err := p.Run(t.Context(), ev)
			if err != nil || got != test.want || committed != test.committed {
				t.Errorf("%+v, committed %v, %v", got, committed, err)
			}
			if last := ev.Steps[len(ev.Steps)-1]; last.Verdict != "dropped: a test" {
				t.Errorf("the trace says %q", last.Verdict)
			}
			if r := core.Reject(ev, 200, "dropped", 0, nil); r.Reason != "s: dropped: a test" || len(r.Steps) != len(ev.Steps) {
				t.Errorf("kept as %+v", r)
			}
		})
	}
}

func TestARemarkIsOfOneStepAndBounded(t *testing.T) {
	p := &core.Pipeline{
		Source: sourceFunc(func() error { return nil }), Log: slog.New(slog.DiscardHandler), Committer: committerFunc(func() error { return nil }),
		Steps: []core.Step{
			{Name: "a", Stage: verdictStage{core.Continue, "failed: " + strings.Repeat("é", 500)}}, {Name: "b", Stage: verdictStage{}},
		},
	}
	ev := &core.Event{ID: "id"}
	if _, err := p.Run(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	if len(ev.Steps[0].Verdict) > 410 || !strings.HasPrefix(ev.Steps[0].Verdict, "failed: é") || ev.Steps[1].Verdict != "continue" {
		t.Errorf("%+v", ev.Steps)
	}
}

func TestAnAlarmIsSaidOnceAMinuteHoweverOftenItComesAndGoes(t *testing.T) {
	var said []string
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := core.Alarm{Log: slog.New(messages{&said}), Failing: "it fails", Over: "it works", Now: func() time.Time { return now }}
	bad := errors.New("bad")
	for range 100 { // a second each
		a.Note(bad)
		a.Note(nil)
		now = now.Add(time.Second)
	}
	if got := strings.Join(said, ", "); got != "it fails, it fails" {
		t.Errorf("in 100 seconds: %s", got)
	}
	now = now.Add(time.Minute)
	a.Note(nil)
	a.Note(nil)
	if got := strings.Join(said, ", "); got != "it fails, it fails, it works" {
		t.Errorf("afterwards: %s", got)
	}
}

type messages struct{ into *[]string }

func (m messages) Enabled(context.Context, slog.Level) bool { return true }
func (m messages) Handle(_ context.Context, r slog.Record) error {
	*m.into = append(*m.into, r.Message)
	return nil
}
func (m messages) WithAttrs([]slog.Attr) slog.Handler { return m }
func (m messages) WithGroup(string) slog.Handler      { return m }

func TestHalfOfTheTimeIsLeft(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	half, end := core.Half(ctx)
	defer end()
	deadline, ok := half.Deadline()
	if left := time.Until(deadline); !ok || left > 31*time.Minute || left < 20*time.Minute {
		t.Errorf("%s are left", left)
	}
	if none, _ := core.Half(t.Context()); none != t.Context() {
		if _, bounded := none.Deadline(); bounded {
			t.Error("what has no end got one")
		}
	}
}
