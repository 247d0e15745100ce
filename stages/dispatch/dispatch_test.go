package dispatch_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/stages/dispatch"
)

// post is a deliverer and a store that remember.
type post struct {
	offered   []string
	committed bool
	duplicate bool
	outcome   error
}

func (p *post) Route(*core.Event) ([]string, []core.Refusal) { return []string{"a", "b"}, nil }

func (p *post) Offer(_ core.Event, listeners []string) error {
	p.offered = listeners
	return nil
}

func (p *post) Watch(string, []string) (func(context.Context) error, func()) {
	return func(context.Context) error { return p.outcome }, func() {}
}

func (p *post) Commit(_ context.Context, ev *core.Event) (core.Receipt, error) {
	p.committed = true
	return core.Receipt{ID: ev.ID, Duplicate: p.duplicate}, nil
}

func stage(t *testing.T, p *post, mode string) core.Stage {
	t.Helper()
	f := dispatch.Factory(dispatch.Deps{Deliverer: p, Committer: p})
	s, err := f.New(func(into any) error { into.(*dispatch.Config).Mode = mode; return nil }, core.Place{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDispatchGivesAnEventToItsListeners(t *testing.T) {
	failed := errors.New("no")
	for _, test := range []struct {
		name      string
		mode      string
		plan      core.Plan
		p         post
		planned   []string
		offered   []string
		committed bool
		err       error
	}{
		{name: "stored, async: planned", mode: "async", plan: core.Plan{Store: true}, planned: []string{"a", "b"}},
		{name: "stored, async, a second time: only who is left", mode: "async", plan: core.Plan{Store: true, Listeners: []string{"a"}}, planned: []string{"a", "b"}},
		{name: "not stored, async: offered", mode: "async", offered: []string{"a", "b"}},
		{name: "stored, inline: committed and waited for", mode: "inline", plan: core.Plan{Store: true}, p: post{outcome: failed}, planned: []string{"a", "b"}, committed: true, err: failed},
		{name: "stored, inline, a duplicate: nobody to wait for", mode: "inline", plan: core.Plan{Store: true}, p: post{outcome: failed, duplicate: true}, planned: []string{"a", "b"}, committed: true},
		{name: "not stored, inline: offered and waited for", mode: "inline", p: post{outcome: failed}, offered: []string{"a", "b"}, err: failed},
	} {
		t.Run(test.name, func(t *testing.T) {
			ev := &core.Event{ID: "id", Plan: test.plan}
			_, err := stage(t, &test.p, test.mode).Process(t.Context(), ev)
			if !errors.Is(err, test.err) || test.err == nil && err != nil {
				t.Errorf("error %v", err)
			}
			if !slices.Equal(ev.Plan.Listeners, test.planned) || !slices.Equal(test.p.offered, test.offered) || test.p.committed != test.committed {
				t.Errorf("planned %v, offered %v, committed %v", ev.Plan.Listeners, test.p.offered, test.p.committed)
			}
		})
	}
}
