package script_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/stages/script"
)

// fake is a script that comes to something without being run.
type fake struct {
	result  script.Result
	timeout time.Duration
	within  time.Duration
}

func (*fake) Name() string { return "tag" }

func (f *fake) Run(ctx context.Context, _ *core.Event, timeout time.Duration) script.Result {
	f.timeout = timeout
	if deadline, ok := ctx.Deadline(); ok {
		f.within = time.Until(deadline)
	}
	return f.result
}

// stage makes one with a configuration that set fills in.
func stage(t *testing.T, f *fake, set func(*script.Config)) core.Stage {
	t.Helper()
	s, err := build(f, set, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func build(f *fake, set func(*script.Config), longest time.Duration) (core.Stage, error) {
	factory := script.Factory(script.Deps{Longest: longest, Open: func(script.Spec) (script.Runner, error) { return f, nil }})
	return factory.New(func(into any) error {
		conf := into.(*script.Config)
		conf.Script = "scripts/stages/tag.js"
		if set != nil {
			set(conf)
		}
		return nil
	}, core.Place{Pipeline: "crm", Kinds: []string{"script"}})
}

func deal() *core.Event {
	return &core.Event{
		ID: "id", Action: core.Updated, Object: "deal", ObjectID: "7",
		Current: json.RawMessage(`{"id":9007199254740993,"value":1.50,"tags":[1.0,2],"title":"x"}`), Previous: json.RawMessage(`{"value":1.50}`),
	}
}

func returned(value string) *fake { return &fake{result: script.Result{Value: []byte(value)}} }

// walk lets the stage see a deal, as a chain does.
func walk(t *testing.T, s core.Stage, ev *core.Event) (core.Receipt, string, error) {
	t.Helper()
	p := &core.Pipeline{Name: "crm", Source: source{}, Steps: []core.Step{{Name: s.(fmt.Stringer).String(), Stage: s}}, Log: silent}
	r, err := p.Run(t.Context(), ev)
	last := ev.Steps[len(ev.Steps)-1]
	return r, last.Stage + ": " + last.Verdict, err
}

func TestWhatAScriptReturnsChangesTheEvent(t *testing.T) {
	const was = `updated.deal 7 map[] {"id":9007199254740993,"value":1.50,"tags":[1.0,2],"title":"x"}`
	for _, test := range []struct{ name, value, step, want string }{
		{"nothing", ``, "continue", was},
		{"null", `null`, "continue", was},
		{"an empty object", `{}`, "continue", was},
		{"labels", `{"labels":{"size":"large","gone":null}}`, "changed labels", strings.Replace(was, "map[]", "map[size:large]", 1)},
		{"an action", `{"action":"create"}`, "changed action", strings.Replace(was, "updated", "added", 1)},
		{"an object and a number as its id", `{"object":"lead","objectId":12}`, "changed object, objectId", strings.Replace(was, "deal 7", "lead 12", 1)},
		{"no id", `{"objectId":null}`, "changed objectId", strings.Replace(was, "deal 7", "deal ", 1)},
		{"the same values as JavaScript writes them", `{"current":{"id":"9007199254740993","value":1.5,"tags":[1,2],"title":"x"}}`, "continue", was},
		{"one other value", `{"current":{"id":"9007199254740993","value":1.5,"tags":[1,2],"title":"y<"}}`, "changed current",
			`updated.deal 7 map[] {"id":9007199254740993,"tags":[1.0,2],"title":"y<","value":1.50}`},
		{"a number that was made text", `{"current":{"value":"1.50"}}`, "changed current", `updated.deal 7 map[] {"value":"1.50"}`},
		{"no values", `{"current":null}`, "changed current", `updated.deal 7 map[] `},
	} {
		t.Run(test.name, func(t *testing.T) {
			ev := deal()
			_, step, err := walk(t, stage(t, returned(test.value), nil), ev)
			if err != nil || step != "script tag: "+test.step {
				t.Errorf("%s, %v", step, err)
			}
			if got := fmt.Sprintf("%s %s %v %s", ev.Type(), ev.ObjectID, ev.Labels, ev.Current); got != test.want {
				t.Errorf("is   %s\nwant %s", got, test.want)
			}
			if ev.Changed("value") && test.name != "a number that was made text" && test.name != "no values" {
				t.Error("a value that nobody touched has changed")
			}
		})
	}
}

func TestWhatAStageCanNotReturnIsAFailureThatNamesTheKey(t *testing.T) {
	const place = "script tag: failed: scripts/stages/tag.js: it returned what a stage can't: "
	for value, want := range map[string]string{
		`5`:                             "it must return nothing or an object, and returned a number",
		`[1]`:                           "it must return nothing or an object, and returned an array",
		`{`:                             "it must return nothing or an object, and returned an object",
		`{"label":{}}`:                  `unknown key "label": a stage may return labels, action, object, objectId, current, previous`,
		`{"labels":[]}`:                 "labels: must be an object, is an array",
		`{"labels":{"size":5}}`:         "labels.size: must be text, is a number",
		`{"labels":{"Size":"5"}}`:       `labels: "Size" can't be a key: take 1 to 64 of a-z, 0-9, dot, - and _`,
		`{"action":null}`:               "action: must be text, is null",
		`{"action":"a.b"}`:              `action: "a.b" can't be one: take 1 to 64 bytes without spaces and without any of * .`,
		`{"objectId":1.5}`:              "objectId: is a number that JavaScript may have rounded: return it as text",
		`{"objectId":9007199254740992}`: "objectId: is a number that JavaScript may have rounded: return it as text",
		`{"objectId":true}`:             "objectId: must be text, is true or false",
		`{"current":[]}`:                "current: must be an object or null, is an array",
		`{"object":"x","current":"y"}`:  "current: must be an object or null, is text",
		`{"current":` + strings.Repeat(`[`, 600) + strings.Repeat(`]`, 600) + `}`: "it is nested deeper than 512",
	} {
		ev := deal()
		_, step, err := walk(t, stage(t, returned(value), nil), ev)
		if err != nil || step != place+want {
			t.Errorf("%.40s: %s\nwant %s, %v", value, step, place+want, err)
		}
		if ev.Type() != "updated.deal" || ev.Overlay != "" || ev.Labels != nil {
			t.Errorf("%.40s: it has changed", value)
		}
	}
}

func TestAScriptDropsAndRejects(t *testing.T) {
	reason := "a test"
	r, step, err := walk(t, stage(t, &fake{result: script.Result{Drop: &reason}}, nil), deal())
	if err != nil || !r.Dropped || step != "script tag: dropped: a test" {
		t.Errorf("%+v, %s, %v", r, step, err)
	}
	for status, kind := range map[int]core.Kind{
		400: core.Malformed, 401: core.Unauthenticated, 403: core.Forbidden, 409: core.Conflict, 413: core.TooLarge, 415: core.UnsupportedMediaType,
		422: core.Invalid, 429: core.RateLimited, 503: core.Unavailable,
	} {
		_, step, err := walk(t, stage(t, &fake{result: script.Result{Reject: &script.Reject{Status: status, Msg: "no"}}}, nil), deal())
		e, ok := errors.AsType[*core.Error](err)
		if !ok || e.Kind != kind || e.Msg != "no" || step != "script tag: refused" || (status == 401) != (e.Challenge != "") {
			t.Errorf("%d: %v, %s", status, err, step)
		}
	}
	_, step, err = walk(t, stage(t, &fake{result: script.Result{Reject: &script.Reject{Status: 500}}}, nil), deal())
	if err != nil || step != "script tag: failed: scripts/stages/tag.js: ctx.reject(500): the status must be one of 400, 401, 403, 409, 413, 415, 422, 429, 503" {
		t.Errorf("%s, %v", step, err)
	}
	_, _, err = walk(t, stage(t, &fake{result: script.Result{Reject: &script.Reject{Status: 400, Msg: strings.Repeat("é", 600)}}}, nil), deal())
	if e, ok := errors.AsType[*core.Error](err); !ok || len(e.Msg) > 520 {
		t.Errorf("a long message: %v", err)
	}
}

func TestAFailureLetsTheEventGoOnOrTellsTheSenderToTryAgain(t *testing.T) {
	f := &fake{result: script.Result{Err: errors.New("tag.js:3:9: TypeError: no"), Value: []byte(`{"object":"x"}`)}}
	ev := deal()
	_, step, err := walk(t, stage(t, f, nil), ev)
	if err != nil || step != "script tag: failed: tag.js:3:9: TypeError: no" || ev.Object != "deal" {
		t.Errorf("continue: %s, %v", step, err)
	}
	_, step, err = walk(t, stage(t, f, func(c *script.Config) { c.OnFailure = "reject" }), deal())
	e, ok := errors.AsType[*core.Error](err)
	if !ok || e.Kind != core.Unavailable || strings.Contains(e.Msg, "TypeError") || !strings.Contains(err.Error(), "tag.js:3:9") || step != "script tag: refused" {
		t.Errorf("reject: %s, %v", step, err)
	}
	f.result.Err = &core.Error{Kind: core.Failed, Msg: "later", RetryAfter: time.Minute}
	if _, _, err = walk(t, stage(t, f, func(c *script.Config) { c.OnFailure = "reject" }), deal()); core.RetryAfter(err) != time.Minute {
		t.Errorf("a wait that was asked for: %v", err)
	}
}

func TestAScriptGetsHalfOfTheTimeThatIsLeft(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	f := &fake{}
	if _, err := stage(t, f, func(c *script.Config) { c.Timeout = 2 * time.Second }).Process(ctx, deal()); err != nil {
		t.Fatal(err)
	}
	if f.timeout != 2*time.Second || f.within > 31*time.Minute || f.within < 20*time.Minute {
		t.Errorf("timeout %s within %s", f.timeout, f.within)
	}
}

func TestATimeoutFitsIntoTheAnswersTime(t *testing.T) {
	if _, err := build(&fake{}, func(c *script.Config) { c.Timeout = 3 * time.Second }, 2*time.Second); err == nil || !strings.Contains(err.Error(), "may be 2s, a quarter of server.ack_within") {
		t.Errorf("%v", err)
	}
	f := &fake{}
	s, err := build(f, nil, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Process(t.Context(), deal()); err != nil || f.timeout != 100*time.Millisecond {
		t.Errorf("the usual timeout is %s, %v", f.timeout, err)
	}
}

// A script may return anything: reading it ends, and what is taken can be kept and read back.
func FuzzReturned(f *testing.F) {
	for _, seed := range []string{`{"labels":{"a":"b"}}`, `{"current":{"id":"9007199254740993"}}`, `{"objectId":5,"action":"create"}`, `{"previous":null}`, `[`, `{"current":{"tags":[1e400,"\ud800"]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		ev := deal()
		if _, err := stage(t, &fake{result: script.Result{Value: value}}, nil).Process(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
		back := deal()
		back.Overlay, back.Labels = ev.Overlay, core.ParseLabels(ev.LabelsText())
		if err := back.Restore(func(*core.Event) error { return nil }); err != nil {
			t.Fatalf("%q: %v", ev.Overlay, err)
		}
		if back.Type() != ev.Type() || back.ObjectID != ev.ObjectID || len(back.Labels) != len(ev.Labels) || (back.Current == nil) != (ev.Current == nil) {
			t.Fatalf("%+v became %+v", ev, back)
		}
	})
}
