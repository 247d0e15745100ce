package script_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/source/script"
)

// fake is a script that comes to something without being run.
type fake struct {
	value   string
	err     error
	asked   *core.Event
	timeout time.Duration
}

func (*fake) Name() string { return "acme" }

func (f *fake) Run(_ context.Context, ev *core.Event, timeout time.Duration) ([]byte, error) {
	f.asked, f.timeout = ev, timeout
	return []byte(f.value), f.err
}

func named(t testing.TB, f *fake, headers ...string) *core.Event {
	t.Helper()
	ev := &core.Event{
		ID: "id", Pipeline: "shop", Source: "acme", Body: []byte(`{"order":1}`),
		Header: http.Header{"Authorization": {"Basic x"}, "X-Acme-Token": {"t"}, "X-Acme-Delivery": {"d"}},
	}
	s := script.New(script.Options{Runner: f, Timeout: time.Second, Headers: headers, Log: slog.New(slog.DiscardHandler)})
	if err := s.Ask(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	return ev
}

func TestAnEventIsWhatTheScriptSays(t *testing.T) {
	f := &fake{value: `{"action":"create","object":"order.line","objectId":12,"current":{"n":1.50},"previous":[1],"meta":"m","occurredAt":"2026-01-05T10:00:00.123456+01:00",
		"version":3,"attempt":2,"userId":"u","companyId":7,"changeSource":"api","key":"k"}`}
	ev := named(t, f)
	got := fmt.Sprint(ev.Type(), " ", ev.ObjectID, " ", string(ev.Current), string(ev.Previous), string(ev.Meta), " ", ev.OccurredAt, " ", ev.Version, ev.Attempt, ev.Facts, len(ev.Key), ev.Flaw)
	const want = `added.order.line 12 {"n":1.50}[1]"m" 2026-01-05 09:00:00.123456 +0000 UTC 32 {u 7 api false} 24`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if f.timeout != time.Second {
		t.Errorf("the timeout is %s", f.timeout)
	}
	back := &core.Event{ID: "id", Source: "acme", Body: ev.Body, Overlay: ev.Overlay}
	if err := back.Restore(func(*core.Event) error { return errors.New("it was asked again") }); err != nil {
		t.Fatal(err)
	}
	if again := fmt.Sprint(back.Type(), " ", back.ObjectID, " ", string(back.Current), string(back.Previous), string(back.Meta), " ", back.OccurredAt, " ", back.Version, back.Attempt, back.Facts, len(ev.Key), back.Flaw); again != want {
		t.Errorf("read back as %s", again)
	}
}

func TestWhatIsLeftOutIsNotKnown(t *testing.T) {
	for _, value := range []string{``, `null`, `{}`, `{"action":null,"objectId":null,"current":null,"occurredAt":null,"key":null}`, `{"key":""}`} {
		ev := named(t, &fake{value: value})
		if ev.Type() != "unknown.unknown" || ev.ObjectID != "" || ev.Current != nil || !ev.OccurredAt.IsZero() || ev.Key != nil || ev.Flaw != "" {
			t.Errorf("%s: %+v", value, ev)
		}
	}
}

func TestAKeyIsThatOfItsPipeline(t *testing.T) {
	key := func(pipeline, value string) string {
		ev := &core.Event{Pipeline: pipeline}
		s := script.New(script.Options{Runner: &fake{value: `{"key":` + value + `}`}})
		if err := s.Name(ev); err != nil {
			t.Fatal(err)
		}
		return string(ev.Key)
	}
	if again := key("a", `"1"`); again != key("a", `"1"`) || again != key("a", `1`) {
		t.Error("a repetition has another key")
	}
	if key("a", `"1"`) == key("b", `"1"`) || key("a", `"1"`) == key("a", `"2"`) || key("ab", `"c"`) == key("a", `"bc"`) {
		t.Error("two occurrences have one key")
	}
}

func TestAScriptSeesNoCredentialUnlessItIsGranted(t *testing.T) {
	f := &fake{}
	named(t, f)
	if got := fmt.Sprint(f.asked.Header); got != "map[X-Acme-Delivery:[d]]" {
		t.Errorf("it sees %s", got)
	}
	ev := named(t, f, "x-acme-token")
	if got := fmt.Sprint(f.asked.Header); got != "map[X-Acme-Delivery:[d] X-Acme-Token:[t]]" {
		t.Errorf("granted, it sees %s", got)
	}
	if len(ev.Header) != 3 {
		t.Errorf("the event's own header is %v", ev.Header)
	}
}

func TestAFailureKeepsTheEventAndOnlyWhatWasThrownIsItsFlaw(t *testing.T) {
	broken := errors.New("acme.ts:3:9: order is missing")
	for name, test := range map[string]struct {
		fake *fake
		flaw string
	}{
		"it threw":                {&fake{err: &script.Thrown{Msg: "order is missing", Err: broken}}, "order is missing"},
		"its time was over":       {&fake{err: errors.New("deadline of 500ms exceeded at acme.ts:1:1")}, ""},
		"it returned a number":    {&fake{value: `5`}, ""},
		"it returned another key": {&fake{value: `{"action":"added","objectID":"5"}`}, ""},
	} {
		ev := named(t, test.fake)
		if ev.Type() != "unknown.unknown" || ev.Flaw != test.flaw || ev.Overlay == "" {
			t.Errorf("%s: %s, %q", name, ev.Type(), ev.Flaw)
		}
	}
}

func TestWhatASourceCanNotReturnIsNamedInTheTrace(t *testing.T) {
	for value, want := range map[string]string{
		`"x"`:                           "a source must return an object, and returned text",
		`{"objectID":"5"}`:              `the source returned what it can't: unknown key "objectID": a source may return action, object`,
		`{"action":"a b"}`:              `the source returned what it can't: action: "a b" can't be one`,
		`{"object":7}`:                  "the source returned what it can't: object: must be text, is a number",
		`{"objectId":9007199254740993}`: "the source returned what it can't: objectId: is a number that JavaScript may have rounded",
		`{"objectId":"` + strings.Repeat("x", 257) + `"}`: "the source returned what it can't: objectId: must be text of at most 256 bytes",
		`{"occurredAt":"yesterday"}`:                      "the source returned what it can't: occurredAt: must be a time with its zone",
		`{"occurredAt":1e300}`:                            "the source returned what it can't: occurredAt: is a number that is no time",
		`{"attempt":-1}`:                                  "the source returned what it can't: attempt: must be a whole number from 0",
		`{"key":true}`:                                    "the source returned what it can't: key: must be text, is true or false",
		`{"current":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`: "the source returned what is nested deeper than 512",
	} {
		p := &core.Pipeline{Name: "shop", Source: script.New(script.Options{Runner: &fake{value: value}}), Steps: []core.Step{{Name: "s", Stage: pass{}}}, Log: slog.New(slog.DiscardHandler)}
		ev := &core.Event{ID: "id", Source: "acme"}
		if _, err := p.Run(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
		if got := ev.Steps[0]; got.Stage != "source acme" || !strings.HasPrefix(got.Verdict, "failed: "+want) {
			t.Errorf("%.40s: %+v, want %s", value, got, want)
		}
	}
}

type pass struct{}

func (pass) Process(context.Context, *core.Event) (core.Verdict, error) { return core.Continue, nil }

func TestTimesAreReadInTheFormsThatJavaScriptHas(t *testing.T) {
	for value, want := range map[string]string{
		`"2026-01-05T09:00:00.000Z"`: "2026-01-05T09:00:00Z", `1767603600000`: "2026-01-05T09:00:00Z", `1767603600000.5`: "2026-01-05T09:00:00.0005Z",
	} {
		if got := named(t, &fake{value: `{"occurredAt":` + value + `}`}).OccurredAt.Format(time.RFC3339Nano); got != want {
			t.Errorf("%s is %s", value, got)
		}
	}
}

// A script may return anything: reading it ends, and what is taken can be kept and read back.
func FuzzSaid(f *testing.F) {
	for _, seed := range []string{`{"action":"create","object":"a","objectId":5}`, `{"occurredAt":1e14,"key":1.5}`, `{"current":[1e999,"\ud800"],"meta":{"a":{}}}`, `{"attempt":2147483647}`, `[`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		ev := named(t, &fake{value: value})
		if ev.Action == "" || ev.Object == "" || ev.Overlay == "" {
			t.Fatalf("%+v", ev)
		}
		back := &core.Event{Overlay: ev.Overlay}
		if err := back.Restore(nil); err != nil {
			t.Fatalf("%q: %v", ev.Overlay, err)
		}
		if back.Type() != ev.Type() || back.ObjectID != ev.ObjectID || !back.OccurredAt.Equal(ev.OccurredAt) || (back.Current == nil) != (ev.Current == nil) || back.Facts != ev.Facts {
			t.Fatalf("%+v became %+v", ev, back)
		}
		if ev.Current != nil && !json.Valid(back.Current) {
			t.Fatalf("current became %q", back.Current)
		}
	})
}
