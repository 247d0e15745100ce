// Package dispatch is the stage that gives an event to its listeners: it plans a durable delivery
// for each, or, in a chain that did not store the event, hands it over in memory. It knows neither
// the listeners nor how they are called.
package dispatch

import (
	"context"

	"github.com/pipehook/pipehook/core"
)

// Config is the stage's table in the file.
type Config struct {
	// Mode is "async": answer first, or "inline": the listeners' first attempts come before the
	// answer, and a failure answers 5xx.
	Mode string `koanf:"mode" validate:"oneof=async inline"`
}

// Deliverer knows the listeners.
type Deliverer interface {
	// Route lists the listeners that want the event, and the rules that refused it for others.
	Route(ev *core.Event) (names []string, refused []core.Refusal)
	// Offer hands over an event that is not stored.
	Offer(ev core.Event, listeners []string) error
	// Watch watches the next attempt of each listener: wait waits for all, forget ends it.
	Watch(event string, listeners []string) (wait func(ctx context.Context) error, forget func())
}

// Deps are what Factory needs.
type Deps struct {
	Deliverer Deliverer
	Committer core.Committer
}

// Factory makes dispatch stages.
func Factory(deps Deps) core.Factory {
	return core.Factory{Kind: "dispatch", New: func(decode core.Decode, _ core.Place) (core.Stage, error) {
		conf := Config{Mode: "async"}
		if err := decode(&conf); err != nil {
			return nil, err
		}
		if conf.Mode == "inline" {
			return &inline{deps}, nil
		}
		return &async{deps}, nil
	}}
}

type async struct{ deps Deps }

func (s *async) Process(_ context.Context, ev *core.Event) (core.Verdict, error) {
	listeners := route(ev, s.deps.Deliverer)
	if ev.Plan.Store {
		ev.Plan.Listeners = append(ev.Plan.Listeners, listeners...)
		return core.Continue, nil
	}
	return core.Continue, s.deps.Deliverer.Offer(*ev, listeners)
}

type inline struct{ deps Deps }

func (s *inline) Process(ctx context.Context, ev *core.Event) (core.Verdict, error) {
	listeners := route(ev, s.deps.Deliverer)
	if len(listeners) == 0 {
		return core.Continue, nil
	}
	wait, forget := s.deps.Deliverer.Watch(ev.ID, listeners)
	defer forget()
	if !ev.Plan.Store {
		if err := s.deps.Deliverer.Offer(*ev, listeners); err != nil {
			return core.Continue, err
		}
		return core.Continue, wait(ctx)
	}
	// Stored first: a listener should not run for an event that is then lost.
	ev.Plan.Listeners = append(ev.Plan.Listeners, listeners...)
	receipt, err := ev.Commit(ctx, s.deps.Committer)
	if err != nil || receipt.Duplicate {
		return core.Continue, err
	}
	return core.Continue, wait(ctx)
}

// route asks who wants the event, and notes who almost did.
func route(ev *core.Event, d Deliverer) []string {
	names, refused := d.Route(ev)
	ev.Refused = append(ev.Refused, refused...)
	return fresh(ev, names)
}

// fresh leaves out the listeners that an earlier dispatch of the chain has planned: there is one
// delivery for each event and listener.
func fresh(ev *core.Event, listeners []string) []string {
	if len(ev.Plan.Listeners) == 0 {
		return listeners
	}
	planned := make(map[string]bool, len(ev.Plan.Listeners))
	for _, name := range ev.Plan.Listeners {
		planned[name] = true
	}
	var left []string
	for _, name := range listeners {
		if !planned[name] {
			left = append(left, name)
		}
	}
	return left
}
