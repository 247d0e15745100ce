package plugin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/stages/plugin"
)

// fake is a plugin that comes to something without being run.
type fake struct{ result plugin.Result }

func (*fake) Name() string { return "enrich" }

func (f *fake) Run(context.Context, *core.Event, time.Duration) plugin.Result { return f.result }

// source has named the event already.
type source struct{}

func (source) Name(*core.Event) error { return nil }

func build(f *fake, set func(*plugin.Config), opened *plugin.Config) (core.Stage, error) {
	factory := plugin.Factory(plugin.Deps{
		Longest: 2 * time.Second, Limits: core.ProgramLimits{Memory: 64 << 20, OpenFiles: 100},
		Open: func(conf plugin.Config) (plugin.Runner, error) {
			if opened != nil {
				*opened = conf
			}
			return f, nil
		},
	})
	return factory.New(func(into any) error {
		conf := into.(*plugin.Config)
		conf.Plugin = "enrich"
		if set != nil {
			set(conf)
		}
		return nil
	}, core.Place{Pipeline: "crm", Kinds: []string{"plugin"}})
}

func walk(t *testing.T, f *fake, set func(*plugin.Config)) (ev *core.Event, r core.Receipt, step string, err error) {
	t.Helper()
	s, err := build(f, set, nil)
	if err != nil {
		t.Fatal(err)
	}
	ev = &core.Event{
		ID: "id", Action: core.Updated, Object: "deal", ObjectID: "7",
		Current: json.RawMessage(`{"id":9007199254740993,"value":1.50}`), Previous: json.RawMessage(`{"value":1.50}`),
	}
	p := &core.Pipeline{Name: "crm", Source: source{}, Steps: []core.Step{{Name: s.(fmt.Stringer).String(), Stage: s}}, Log: slog.New(slog.DiscardHandler)}
	r, err = p.Run(t.Context(), ev)
	last := ev.Steps[len(ev.Steps)-1]
	return ev, r, last.Stage + ": " + last.Verdict, err
}

func amended(a core.Amendment) *fake { return &fake{plugin.Result{Amendment: a}} }

func TestWhatAPluginSaysChangesTheEvent(t *testing.T) {
	lead, text := "lead", json.RawMessage(`{"id":"9007199254740993","value":1.5}`)
	for _, test := range []struct {
		name, step, want string
		a                core.Amendment
	}{
		{"nothing", "continue", `updated.deal map[] {"id":9007199254740993,"value":1.50}`, core.Amendment{}},
		{"a label and an object", "changed labels, object", `updated.lead map[size:large] {"id":9007199254740993,"value":1.50}`,
			core.Amendment{Labels: map[string]string{"size": "large"}, Object: &lead}},
		{"a number that it made text", "changed current", `updated.deal map[] {"id":"9007199254740993","value":1.50}`, core.Amendment{Current: text}},
		{"no values", "changed current", "updated.deal map[] ", core.Amendment{Current: json.RawMessage("null")}},
	} {
		ev, _, step, err := walk(t, amended(test.a), nil)
		if err != nil || step != "plugin enrich: "+test.step {
			t.Errorf("%s: %s, %v", test.name, step, err)
		}
		if got := fmt.Sprintf("%s %v %s", ev.Type(), ev.Labels, ev.Current); got != test.want {
			t.Errorf("%s: is %s, want %s", test.name, got, test.want)
		}
	}
}

func TestWhatAStageCanNotSayIsAFailureThatNamesThePart(t *testing.T) {
	const place = "plugin enrich: failed: enrich: it returned what a stage can't: "
	word, deep := "a b", json.RawMessage(`{"a":`+strings.Repeat("[", 600)+strings.Repeat("]", 600)+`}`)
	for want, a := range map[string]core.Amendment{
		`labels: "Size" can't be a key`:                   {Labels: map[string]string{"Size": "x"}},
		`action: "a b" can't be one`:                      {Action: &word},
		"current: must be an object or null, is an array": {Current: json.RawMessage(`[1]`)},
		"current: is not JSON":                            {Current: json.RawMessage(`{"a":`)},
		"previous: is nested deeper than 512":             {Previous: deep},
	} {
		ev, _, step, err := walk(t, amended(a), nil)
		if err != nil || !strings.HasPrefix(step, place+want) {
			t.Errorf("%s, want %s, %v", step, want, err)
		}
		if ev.Overlay != "" || ev.Labels != nil {
			t.Errorf("%s: it has changed", want)
		}
	}
}

func TestAPluginDropsRejectsAndFails(t *testing.T) {
	reason, none := "a test", ""
	for _, test := range []struct {
		name, step, failure string
		result              plugin.Result
		kind                core.Kind
		wait                time.Duration
		dropped             bool
	}{
		{name: "dropped", step: "dropped: a test", result: plugin.Result{Drop: &reason}, dropped: true},
		{name: "dropped without a reason", step: "dropped", result: plugin.Result{Drop: &none}, dropped: true},
		{name: "rejected for a while", step: "refused", result: plugin.Result{Reject: &plugin.Reject{Status: 429, Msg: "later", RetryAfter: time.Minute}}, kind: core.RateLimited, wait: time.Minute},
		{name: "a status there is not", step: "failed: enrich: sdk.Reject(500): the status must be one of 400, ", result: plugin.Result{Reject: &plugin.Reject{Status: 500}}},
		{name: "it failed", step: "failed: no luck", result: plugin.Result{Err: errors.New("no luck")}},
		{name: "it failed and the sender is to try again", failure: "reject", step: "refused", result: plugin.Result{Err: errors.New("no luck")}, kind: core.Unavailable},
	} {
		_, r, step, err := walk(t, &fake{test.result}, func(c *plugin.Config) {
			if test.failure != "" {
				c.OnFailure = test.failure
			}
		})
		if !strings.HasPrefix(step, "plugin enrich: "+test.step) || r.Dropped != test.dropped || (err != nil) != (test.kind != core.Internal) {
			t.Errorf("%s: %s, %+v, %v", test.name, step, r, err)
		}
		if err != nil && (core.KindOf(err) != test.kind || core.RetryAfter(err) != test.wait) {
			t.Errorf("%s: %v is of kind %s, after %s", test.name, err, core.KindOf(err), core.RetryAfter(err))
		}
	}
}

func TestTheLogSaysWhatBecameOfAnEventWhosePluginFailed(t *testing.T) {
	for onFailure, want := range map[string]string{
		"continue": `event=id then="the event goes on as it was" err="no luck"`,
		"reject":   `event=id then="its sender is told to try again" err="no luck"`,
	} {
		var log bytes.Buffer
		f := &fake{plugin.Result{Err: errors.New("no luck")}}
		factory := plugin.Factory(plugin.Deps{
			Open: func(plugin.Config) (plugin.Runner, error) { return f, nil }, Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		s, err := factory.New(func(into any) error {
			into.(*plugin.Config).OnFailure = onFailure
			return nil
		}, core.Place{Pipeline: "crm"})
		if err != nil {
			t.Fatal(err)
		}
		if _, _ = s.Process(t.Context(), &core.Event{ID: "id"}); !strings.Contains(log.String(), `msg="a plugin in the chain fails"`) || !strings.Contains(log.String(), want) {
			t.Errorf("%s: the log has %s", onFailure, &log)
		}
	}
}

func TestWhoTriesAPluginIsToldWhatAChainWouldNotTake(t *testing.T) {
	for want, result := range map[string]plugin.Result{
		"enrich: it returned what a stage can't: current: must be": {Amendment: core.Amendment{Current: json.RawMessage(`[1]`)}},
		"enrich: sdk.Reject(500): the status must be one of 400":   {Reject: &plugin.Reject{Status: 500}},
		"no luck": {Err: errors.New("no luck")},
	} {
		if r := plugin.Try(t.Context(), "enrich", &fake{result}, time.Second, &core.Event{}); r.Err == nil || !strings.HasPrefix(r.Err.Error(), want) || r.Reject != nil {
			t.Errorf("%+v, want %s", r, want)
		}
	}
	ev := &core.Event{Action: "added", Object: "deal"}
	if r := plugin.Try(t.Context(), "enrich", amended(core.Amendment{Labels: map[string]string{"a": "b"}}), time.Second, ev); r.Err != nil || ev.Labels["a"] != "b" {
		t.Errorf("%+v, %v", r, ev.Labels)
	}
}

func TestAStageHasTheLimitsThatAllHaveUnlessItsOwnAreWritten(t *testing.T) {
	var opened plugin.Config
	if _, err := build(&fake{}, func(c *plugin.Config) { c.Limits.OpenFiles = 64 }, &opened); err != nil {
		t.Fatal(err)
	}
	if opened.Limits != (core.ProgramLimits{Memory: 64 << 20, OpenFiles: 64}) || opened.TLS != "auto" || opened.Timeout != 500*time.Millisecond || opened.Concurrency != 8 {
		t.Errorf("it is opened with %+v", opened)
	}
	if _, err := build(&fake{}, func(c *plugin.Config) { c.Timeout = 3 * time.Second }, nil); err == nil || !strings.Contains(err.Error(), "may be 2s") {
		t.Errorf("a long timeout: %v", err)
	}
}
