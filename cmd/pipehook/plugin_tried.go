package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/scripttest"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/core/source/guest"
	stage "github.com/pipehook/pipehook/stages/plugin"
)

// triedEvent is what came of one event.
type triedEvent struct {
	Event  string `json:"event"` // its id
	Type   string `json:"type"`
	TookUS int64  `json:"tookUs"`
	scripttest.Result
}

// pluginResult shows what came of a call as it is shown of scripts, without secrets.
func pluginResult(r *engine.Result, heard []heardLine, effects []scripttest.Effect, secrets map[string]string) scripttest.Result {
	lines := make([]engine.Line, len(heard))
	for i, l := range heard {
		lines[i] = l.Line
	}
	if r == nil {
		r = &engine.Result{}
	}
	return scripttest.ResultOf(*r, lines, effects, secrets)
}

// triedPlugin is a plugin that stands in a chain of its own, and keeps what it said.
type triedPlugin struct {
	*plughost.Plugin
	name string
	said json.RawMessage
}

// Name is part of stage.Runner and guest.Runner.
func (t *triedPlugin) Name() string { return t.name }

// triedStage is a triedPlugin as a stage wants it.
type triedStage struct{ *triedPlugin }

// Run implements stage.Runner.
func (t triedStage) Run(ctx context.Context, ev *core.Event, _ time.Duration) stage.Result {
	said, err := t.Process(ctx, ev)
	t.said = changedText(&said.Amendment)
	return stageResult(said, err)
}

// stage has the event judged as in a chain.
func (t *triedPlugin) stage(ctx context.Context, u *placedPlugin, ev *core.Event) engine.Result {
	r := stage.Try(ctx, t.name, triedStage{t}, u.timeout, ev)
	switch {
	case r.Reject != nil:
		return engine.Result{Err: &engine.Rejected{Status: r.Reject.Status, Msg: r.Reject.Msg}}
	case r.Drop != nil:
		return engine.Result{Err: &engine.Dropped{Reason: *r.Drop}}
	}
	return engine.Result{Err: r.Err, Value: t.said}
}

// triedSource is a triedPlugin as a source wants it.
type triedSource struct{ *triedPlugin }

// Run implements guest.Runner.
func (t triedSource) Run(ctx context.Context, ev *core.Event, _ time.Duration) (*guest.Said, error) {
	named, err := t.Plugin.Name(ctx, ev)
	if err == nil {
		t.said = namedText(named)
	}
	return sourceResult(named, err)
}

// source has the request named as in a chain.
func (t *triedPlugin) source(ctx context.Context, u *placedPlugin, ev *core.Event) engine.Result {
	asked := core.Event{ID: ev.ID, Source: t.name, Pipeline: ev.Pipeline, ReceivedAt: ev.ReceivedAt, Header: ev.Header, Body: ev.Body}
	err := guest.New(guest.Options{Word: "plugin", Runner: triedSource{t}, Timeout: u.timeout, Headers: u.headers}).Try(ctx, &asked)
	return engine.Result{Err: err, Value: t.said}
}

// changedText is what a stage changed, as a script would return it; nil for nothing.
func changedText(a *core.Amendment) json.RawMessage {
	said := map[string]any{}
	for name, word := range map[string]*string{"action": a.Action, "object": a.Object, "objectId": a.ObjectID} {
		if word != nil {
			said[name] = *word
		}
	}
	for name, value := range map[string]json.RawMessage{"current": a.Current, "previous": a.Previous} {
		if value != nil {
			said[name] = value
		}
	}
	if len(a.Labels) > 0 {
		said["labels"] = a.Labels
	}
	return jsonText(said)
}

// namedText is what a source said of a request, as a script would return it.
func namedText(ev *core.Event) json.RawMessage {
	said := map[string]any{}
	for name, word := range map[string]string{"action": ev.Action, "object": ev.Object, "objectId": ev.ObjectID, "version": ev.Version, "key": string(ev.Key), "flaw": ev.Flaw} {
		if word != "" {
			said[name] = word
		}
	}
	for name, value := range map[string]json.RawMessage{"current": ev.Current, "previous": ev.Previous, "meta": ev.Meta} {
		if value != nil {
			said[name] = value
		}
	}
	if !ev.OccurredAt.IsZero() {
		said["occurredAt"] = ev.OccurredAt
	}
	return jsonText(said)
}

func jsonText(said map[string]any) json.RawMessage {
	if len(said) == 0 {
		return nil
	}
	text, err := json.Marshal(said)
	if err != nil { // the plugin's own JSON is none
		text, _ = json.Marshal(fmt.Sprint(err))
	}
	return text
}

func (c *cli) printTried(u *placedPlugin, tried []triedEvent, measured []string) error {
	failed := 0
	for _, one := range tried {
		if !one.OK {
			failed++
		}
	}
	if c.json {
		err := c.printJSON(map[string]any{"kind": u.spec.Kind, "name": u.spec.Name, "events": orEmpty(tried), "failed": failed, "measured": orEmpty(measured)})
		return errors.Join(err, failedOf(failed, len(tried)))
	}
	v := newTestView(c.stdout)
	for _, one := range tried {
		showRan(v, ran{Name: u.spec.Name, Event: one.Event, Type: one.Type, TookUS: one.TookUS, Result: one.Result}, "")
		if one.Error != nil {
			fmt.Fprintf(v.w, "  failed: %s\n", plain(one.Error.Message))
		}
	}
	for _, m := range measured {
		fmt.Fprintf(v.w, "%s %s\n", v.paint(yellow, "→"), plain(m))
	}
	fmt.Fprintf(v.w, "\n%s, %d failed. Nothing was stored, remembered or emitted.\n", counted(len(tried), "event"), failed)
	return failedOf(failed, len(tried))
}

func failedOf(failed, all int) error {
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %s failed", failed, counted(all, "event"))
}

// orEmpty is the list as JSON shall have it when there is nothing in it.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
