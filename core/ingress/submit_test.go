package ingress

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
)

func TestAnEventThatIsSubmittedWalksItsChain(t *testing.T) {
	made := core.Event{Pipeline: "crm", Origin: core.OriginReconcile, Body: []byte("{}"), Plan: core.Plan{After: 7}}
	with := func(change func(ev *core.Event)) core.Event {
		ev := made
		change(&ev)
		return ev
	}
	denied := gateFunc(func(ev *core.Event) error {
		if ev.Origin == "" {
			return &core.Error{Kind: core.Unauthenticated, Msg: "no"}
		}
		return nil
	})
	slow := stepFunc(func(ctx context.Context, _ *core.Event) (core.Verdict, error) {
		<-ctx.Done()
		return core.Continue, ctx.Err()
	})
	dropping := stepFunc(func(context.Context, *core.Event) (core.Verdict, error) { return core.Dropped, nil })
	tests := []struct {
		name   string
		stage  core.Stage
		ev     core.Event
		status int // 0 for one that nobody is told of
		code   string
		kind   core.Kind
	}{
		{"accepted", failing(nil), made, 200, "accepted", 0},
		{"past a gate that lets no request in", denied, made, 200, "accepted", 0},
		{"dropped", dropping, made, 200, "dropped", 0},
		{"refused by a stage", failing(&core.Error{Kind: core.Invalid, Msg: "no"}), made, 422, "invalid", core.Invalid},
		{"a stage that panics", stepFunc(nil), made, 500, "internal", core.Internal},
		{"a stage that takes too long", slow, made, 503, "unavailable", core.Internal},
		{"too large", failing(nil), with(func(ev *core.Event) { ev.Body = make([]byte, 200) }), 413, "too_large", core.TooLarge},
		{"without an origin", failing(nil), with(func(ev *core.Event) { ev.Origin = "" }), 0, "", core.Invalid},
		{"for no pipeline", failing(nil), with(func(ev *core.Event) { ev.Pipeline = "other" }), 0, "", core.Invalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var seen []Outcome
			stored := &shelf{}
			h := storing(Options{MaxBody: 100, AckWithin: 50 * time.Millisecond, Observe: func(o Outcome) { seen = append(seen, o) }}, stored, test.stage)
			receipt, err := h.Submit(t.Context(), test.ev)
			if core.KindOf(err) != test.kind || (err == nil) != (test.status == 200) {
				t.Fatalf("%v", err)
			}
			if test.status == 0 {
				if len(seen) != 0 || stored.count() != 0 {
					t.Errorf("observed %+v", seen)
				}
				return
			}
			if len(seen) != 1 {
				t.Fatalf("observed %d times", len(seen))
			}
			o := seen[0]
			ev := o.Event
			if o.Status != test.status || o.Code != test.code || ev.Pipeline != "crm" || ev.Source != "test" || ev.Origin != core.OriginReconcile || ev.ReceivedAt.IsZero() {
				t.Errorf("observed %d %s, %+v", o.Status, o.Code, ev)
			}
			if err == nil && (receipt.ID != ev.ID || len(ev.ID) != 36 || ev.Plan.After != 7) {
				t.Errorf("receipt %+v of %+v", receipt, ev)
			}
			if core.OriginOf(ev.Overlay) != core.OriginReconcile && test.code != "too_large" {
				t.Errorf("its origin is not kept: %q", ev.Overlay)
			}
		})
	}
}

func TestAnEventGoesByTheHooksOfTheMoment(t *testing.T) {
	first, second := &shelf{}, &shelf{}
	h := storing(Options{}, first)
	ev := core.Event{Pipeline: "crm", Origin: core.OriginReconcile, Body: []byte("{}")}
	if _, err := h.Submit(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	for _, hook := range storing(Options{}, second).rules.Load().hooks {
		h.SetHooks([]Hook{*hook})
	}
	if _, err := h.Submit(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	if first.count() != 1 || second.count() != 1 {
		t.Errorf("%d and %d were stored", first.count(), second.count())
	}
	h.SetHooks(nil)
	if _, err := h.Submit(t.Context(), ev); core.KindOf(err) != core.Invalid {
		t.Errorf("without hooks: %v", err)
	}
}

func TestNothingIsSubmittedForOneWhoHasGone(t *testing.T) {
	stored := &shelf{}
	h := storing(Options{}, stored)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if _, err := h.Submit(ctx, core.Event{Pipeline: "crm", Origin: core.OriginReconcile}); !errors.Is(err, gone) || stored.count() != 0 {
		t.Errorf("%v, %d stored", err, stored.count())
	}
}

// Nothing that a request brings is an origin.
func TestARequestHasNoOrigin(t *testing.T) {
	var seen *core.Event
	h := storing(Options{Observe: func(o Outcome) { seen = o.Event }}, &shelf{})
	r := crmPost(`{"origin":"reconcile","Origin":"reconcile","meta":{"origin":"reconcile"}}`)
	for _, name := range []string{"Origin", "X-Origin", "X-Pipehook-Origin", "Pipehook-Origin"} {
		r.Header.Set(name, core.OriginReconcile)
	}
	r.URL.RawQuery = "origin=reconcile"
	if a := ask(t, h, r); a.Code != http.StatusOK {
		t.Fatalf("answer %d", a.Code)
	}
	if seen.Origin != "" || seen.Overlay != "" {
		t.Errorf("its origin is %q, the overlay %q", seen.Origin, seen.Overlay)
	}
}
