package derived_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/source/derived"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 123456789, time.FixedZone("", 3600))

func cause() *core.Event {
	return &core.Event{ID: "0197", Pipeline: "crm", Source: "pipedrive", ReceivedAt: now, Body: []byte(`{"cause":{"event":"x","depth":9}}`)}
}

func invoice() derived.Derivation {
	return derived.Derivation{
		Action: "create", Object: "invoice", ObjectID: "7", Current: json.RawMessage(` {"total": 12345678901234567890.10, "note": "<b> & ü"} `),
		Previous: json.RawMessage("null"), Meta: json.RawMessage(`{"n":9007199254740993}`),
	}
}

func TestADerivedEventSaysWhatTheListenerSaidAndIsTheSameWhenItComesBack(t *testing.T) {
	ev, err := derived.New(cause(), "won", invoice(), now)
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"action":"added","object":"invoice","objectId":"7","current":{"total":12345678901234567890.10,"note":"<b> & ü"},` +
		`"meta":{"n":9007199254740993},"occurredAt":"2026-11-01T11:00:00.123456789Z","cause":{"event":"0197","listener":"won","depth":1}}`
	if string(ev.Body) != body {
		t.Errorf("got  %s\nwant %s", ev.Body, body)
	}
	again := &core.Event{Source: ev.Source, Body: ev.Body}
	if err := (derived.Source{}).Name(again); err != nil {
		t.Fatal(err)
	}
	for _, e := range []*core.Event{ev, again} {
		if e.Source != "derived" || e.Type() != "added.invoice" || e.ObjectID != "7" || e.Previous != nil || !e.OccurredAt.Equal(now) ||
			string(e.Current) != `{"total":12345678901234567890.10,"note":"<b> & ü"}` || string(e.Meta) != `{"n":9007199254740993,"cause":{"event":"0197","listener":"won","depth":1}}` {
			t.Errorf("%+v", e)
		}
	}
	if ev.Pipeline != "crm" || ev.ID == "" || !ev.Plan.Store || ev.Plan.Window != 0 {
		t.Errorf("%+v", ev)
	}
	if c, ok := derived.CauseOf(ev.Source, ev.Body); !ok || c != (derived.Cause{Event: "0197", Listener: "won", Depth: 1}) {
		t.Errorf("%v %+v", ok, c)
	}
}

func TestNobodyCanSayOtherwiseWhatTheCauseIs(t *testing.T) {
	for said, want := range map[string]string{
		"": "{", "null": "{", "{}": "{", "{ }": "{", `{"cause":{"depth":0}}`: `{"cause":{"depth":0},`, ` { "a" : 1 } `: `{"a":1,`,
	} {
		d := invoice()
		d.Meta = json.RawMessage(said)
		ev, err := derived.New(cause(), "won", d, now)
		if err != nil {
			t.Fatal(err)
		}
		if want += `"cause":{"event":"0197","listener":"won","depth":1}}`; string(ev.Meta) != want || !json.Valid(ev.Meta) {
			t.Errorf("%q: got %s, want %s", said, ev.Meta, want)
		}
	}
}

func TestTheKeyIsThatOfTheDerivation(t *testing.T) {
	key := func(change func(c *core.Event, listener *string, d *derived.Derivation)) string {
		c, listener, d := cause(), "won", invoice()
		change(c, &listener, &d)
		ev, err := derived.New(c, listener, d, now.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return string(ev.Plan.Key)
	}
	same := key(func(*core.Event, *string, *derived.Derivation) {})
	if got := key(func(c *core.Event, _ *string, d *derived.Derivation) {
		c.ReceivedAt = c.ReceivedAt.Truncate(time.Microsecond).UTC() // as it is stored
		d.Current, d.Object = nil, "bill"
	}); got != same {
		t.Error("a second attempt has another key")
	}
	seen := map[string]string{same: "the first"}
	for name, change := range map[string]func(*core.Event, *string, *derived.Derivation){
		"another event":              func(c *core.Event, _ *string, _ *derived.Derivation) { c.ID = "0198" },
		"another listener":           func(_ *core.Event, l *string, _ *derived.Derivation) { *l = "lost" },
		"the second":                 func(_ *core.Event, _ *string, d *derived.Derivation) { d.Ordinal = 1 },
		"a key":                      func(_ *core.Event, _ *string, d *derived.Derivation) { d.Key = "0" },
		"a key like an ordinal":      func(_ *core.Event, _ *string, d *derived.Derivation) { d.Key = "ordinal 0" },
		"letters that moved between": func(c *core.Event, l *string, _ *derived.Derivation) { c.ID, *l = "0197w", "on" },
	} {
		k := key(change)
		if other, twice := seen[k]; twice {
			t.Errorf("%s has the key of %s", name, other)
		}
		seen[k] = name
	}
	if got := key(func(_ *core.Event, _ *string, d *derived.Derivation) { d.Key, d.Ordinal = "0", 5 }); seen[got] != "a key" {
		t.Error("the ordinal counts beside a key")
	}
}

func TestALoopEnds(t *testing.T) {
	at := cause()
	for depth := 1; ; depth++ {
		ev, err := derived.New(at, "loop", invoice(), now)
		if err != nil {
			if _, ok := errors.AsType[*derived.LoopError](err); !ok || depth != derived.MaxDepth+1 {
				t.Errorf("at %d: %v", depth, err)
			}
			return
		}
		if depth > derived.MaxDepth {
			t.Fatal("it does not end")
		}
		at = ev
	}
}

func TestWhatIsNoEventIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*derived.Derivation)
		kind   core.Kind
	}{
		"no action":      {func(d *derived.Derivation) { d.Action = "" }, core.Invalid},
		"a pattern":      {func(d *derived.Derivation) { d.Object = "*" }, core.Invalid},
		"a dot too many": {func(d *derived.Derivation) { d.Object = "a.b" }, core.Invalid},
		"a space":        {func(d *derived.Derivation) { d.Action = "ad ded" }, core.Invalid},
		"a line end":     {func(d *derived.Derivation) { d.Action = "added\n" }, core.Invalid},
		"a long word":    {func(d *derived.Derivation) { d.Object = strings.Repeat("a", 65) }, core.Invalid},
		"a list":         {func(d *derived.Derivation) { d.Current = json.RawMessage("[]") }, core.Invalid},
		"text":           {func(d *derived.Derivation) { d.Meta = json.RawMessage(`"a"`) }, core.Invalid},
		"broken JSON":    {func(d *derived.Derivation) { d.Previous = json.RawMessage(`{"a":1}}`) }, core.Invalid},
		"deep JSON": {func(d *derived.Derivation) {
			d.Current = json.RawMessage(`{"a":` + strings.Repeat("[", 511) + strings.Repeat("]", 511) + "}")
		}, core.Invalid},
		"a long id":        {func(d *derived.Derivation) { d.ObjectID = strings.Repeat("1", 257) }, core.Invalid},
		"an id with NUL":   {func(d *derived.Derivation) { d.ObjectID = "1\x00" }, core.Invalid},
		"a long key":       {func(d *derived.Derivation) { d.Key = strings.Repeat("k", 513) }, core.Invalid},
		"much in one part": {func(d *derived.Derivation) { d.Current = json.RawMessage(`{"a":"` + strings.Repeat("a", 1<<20) + `"}`) }, core.TooLarge},
		"too much in all parts": {func(d *derived.Derivation) {
			d.Current = json.RawMessage(`{"a":"` + strings.Repeat("a", 600<<10) + `"}`)
			d.Meta = d.Current
		}, core.TooLarge},
	} {
		d := invoice()
		test.change(&d)
		if ev, err := derived.New(cause(), "won", d, now); err == nil || core.KindOf(err) != test.kind {
			t.Errorf("%s: %v %v", name, ev, err)
		}
	}
}

func TestABodyThatIsNoEnvelopeIsMalformed(t *testing.T) {
	for _, body := range []string{"", "[]", "{", `{"action":1}`, `{"cause":[]}`, `{"meta":1}`} {
		if err := (derived.Source{}).Name(&core.Event{Body: []byte(body)}); core.KindOf(err) != core.Malformed {
			t.Errorf("%q: %v", body, err)
		}
		if c, ok := derived.CauseOf("derived", []byte(body)); ok {
			t.Errorf("%q has the cause %+v", body, c)
		}
	}
}

func FuzzNew(f *testing.F) {
	f.Add("added", "invoice", "7", []byte(`{"a":1}`), "key")
	f.Add("create", "x", "\xff", []byte(` null `), "")
	f.Fuzz(func(t *testing.T, action, object, id string, current []byte, key string) {
		ev, err := derived.New(cause(), "won", derived.Derivation{Action: action, Object: object, ObjectID: id, Current: current, Key: key}, now)
		if err != nil {
			return
		}
		again := &core.Event{Source: ev.Source, Body: ev.Body}
		if err := (derived.Source{}).Name(again); err != nil || again.Type() != ev.Type() || again.ObjectID != id || !bytes.Equal(again.Current, ev.Current) {
			t.Fatalf("%s: %v", ev.Body, err)
		}
		if _, err := core.ParsePattern(ev.Type()); err != nil {
			t.Fatal(err)
		}
	})
}
