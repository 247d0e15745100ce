package coretest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
)

// ObedientStage is the stage that Stage is about, in Go: it does what the event's object says with the body
// as its text. Other implementations do the same.
//
//	continue            the event goes on as it is
//	label, labels       it gets the label key=value; it gets as many as the text says
//	unlabel             it has the label of that key no more
//	action, object, objectid, current, previous
//	                    that is the text from now on; for values null takes them away
//	retitle             current has that title, and all else stays
//	drop                it is not wanted, because of the text
//	reject              the sender is told the text, with the status that is the object id
//	fail                the stage fails with the text
//	slow                it does not end before it is stopped
//	tell                it is dropped because of what the stage sees of it: the part that the action names
//	scribble            the stage changes everything that it may not
//
// Anything else is a failure.
type ObedientStage struct {
	// Directly has it change the event itself, as a plugin may, and not with Amend.
	Directly bool

	// Reject makes the error that a sender is answered with; nil for core's own.
	Reject func(status int, msg string) error
}

// Kinds are those of the errors that the statuses stand for which a stage may choose.
var Kinds = map[int]core.Kind{
	400: core.Malformed, 401: core.Unauthenticated, 403: core.Forbidden, 409: core.Conflict, 413: core.TooLarge,
	415: core.UnsupportedMediaType, 422: core.Invalid, 429: core.RateLimited, 503: core.Unavailable,
}

// Process is part of core.Stage.
func (s ObedientStage) Process(ctx context.Context, ev *core.Event) (core.Verdict, error) {
	text := string(ev.Body)
	switch ev.Object {
	case "continue":
		return core.Continue, nil
	case "drop":
		ev.Remark(text)
		return core.Dropped, nil
	case "tell":
		ev.Remark("[" + Tell(ctx, ev, ev.Action) + "]")
		return core.Dropped, nil
	case "reject":
		status, err := strconv.Atoi(ev.ObjectID)
		if err != nil {
			return core.Continue, err
		}
		return core.Continue, s.reject(status, text)
	case "fail":
		return core.Continue, errors.New(text)
	case "slow":
		<-ctx.Done()
		return core.Continue, ctx.Err()
	case "scribble":
		scribble(ev)
		return core.Continue, nil
	}
	a, err := amendment(ev, text)
	if err != nil {
		return core.Continue, err
	}
	return core.Continue, s.amend(ev, a)
}

func (s ObedientStage) reject(status int, msg string) error {
	if s.Reject != nil {
		return s.Reject(status, msg)
	}
	kind, ok := Kinds[status]
	if !ok {
		return fmt.Errorf("%d is no status for a stage", status)
	}
	e := &core.Error{Kind: kind, Msg: cmp.Or(msg, "turned away")}
	if kind == core.Unauthenticated {
		e.Challenge = "Custom"
	}
	return e
}

func (s ObedientStage) amend(ev *core.Event, a core.Amendment) error {
	if !s.Directly {
		if _, err := ev.Amend(a); err != nil { // the stage is at fault, not the sender
			return errors.New(err.Error())
		}
		return nil
	}
	for key, value := range a.Labels {
		if value == "" {
			delete(ev.Labels, key)
			continue
		}
		if ev.Labels == nil {
			ev.Labels = map[string]string{}
		}
		ev.Labels[key] = value
	}
	for _, word := range []struct{ said, into *string }{{a.Action, &ev.Action}, {a.Object, &ev.Object}, {a.ObjectID, &ev.ObjectID}} {
		if word.said != nil {
			*word.into = *word.said
		}
	}
	for _, doc := range []struct {
		said json.RawMessage
		into *json.RawMessage
	}{{a.Current, &ev.Current}, {a.Previous, &ev.Previous}} {
		switch {
		case string(doc.said) == "null":
			*doc.into = nil
		case doc.said != nil:
			*doc.into = doc.said
		}
	}
	return nil
}

// amendment is what an order asks for that changes the event.
func amendment(ev *core.Event, text string) (a core.Amendment, err error) {
	switch ev.Object {
	case "label":
		key, value, _ := strings.Cut(text, "=")
		a.Labels = map[string]string{key: value}
	case "unlabel":
		a.Labels = map[string]string{text: ""}
	case "labels":
		n, err := strconv.Atoi(text)
		if err != nil {
			return a, err
		}
		a.Labels = map[string]string{}
		for i := range n {
			a.Labels[fmt.Sprint("label", i)] = "x"
		}
	case "action":
		a.Action = &text
	case "object":
		a.Object = &text
	case "objectid":
		a.ObjectID = &text
	case "current":
		a.Current = json.RawMessage(text)
	case "previous":
		a.Previous = json.RawMessage(text)
	case "retitle":
		fields := map[string]json.RawMessage{}
		if err := json.Unmarshal(ev.Current, &fields); err != nil {
			return a, err
		}
		if fields["title"], err = json.Marshal(text); err == nil {
			a.Current, err = json.Marshal(fields)
		}
	default:
		err = fmt.Errorf("nobody has said what %q means", ev.Object)
	}
	return a, err
}

func scribble(ev *core.Event) {
	ev.ID, ev.Pipeline, ev.Source, ev.ReceivedAt, ev.Remote = "x", "x", "x", time.Unix(1, 0), netip.MustParseAddr("192.0.2.9")
	ev.Header.Set("X-Scribble", "x")
	ev.Body[0] = '!'
	ev.Meta, ev.Version, ev.Attempt, ev.OccurredAt, ev.Facts = json.RawMessage(`{"x":1}`), "x", 99, time.Unix(2, 0), core.Facts{UserID: "x"}
	ev.AlsoAction, ev.Key, ev.Flaw, ev.Replayed, ev.Gathered, ev.Overlay = "x", []byte("x"), "x", false, nil, `{"action":"x"}`
	ev.Plan, ev.Steps = core.Plan{Store: true}, []core.StepTrace{{Stage: "x"}}
}
