package core_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
)

func ptr(s string) *string { return &s }

// named is an event as a source that knows one body names it.
func named(t testing.TB) *core.Event {
	t.Helper()
	ev := &core.Event{ID: "id", Source: "test", Body: []byte(`{}`)}
	if err := nameIt(ev); err != nil {
		t.Fatal(err)
	}
	return ev
}

func nameIt(ev *core.Event) error {
	ev.Action, ev.AlsoAction, ev.Object, ev.ObjectID = core.Merged, core.Updated, "deal", "7"
	ev.Current, ev.Previous = json.RawMessage(`{"title":"a <b>","value":1.50}`), json.RawMessage(`{"value":1.5}`)
	ev.Meta, ev.Version, ev.Attempt = json.RawMessage(`{"v":2}`), "2.0", 1
	ev.Facts = core.Facts{UserID: "3"}
	ev.Key = []byte("key")
	return nil
}

// kept is the event as it is read back: what is stored of it, named again.
func kept(t testing.TB, ev *core.Event) *core.Event {
	t.Helper()
	back := &core.Event{ID: ev.ID, Source: ev.Source, Body: ev.Body, Labels: core.ParseLabels(ev.LabelsText()), Overlay: ev.Overlay}
	if err := back.Restore(nameIt); err != nil {
		t.Fatal(err)
	}
	return back
}

func shape(ev *core.Event) string {
	return fmt.Sprintf("%s/%s %s %v %s %s", ev.Type(), ev.AlsoAction, ev.ObjectID, ev.Labels, ev.Current, ev.Previous)
}

func TestWhatAStageSaysOfAnEventIsKeptWithIt(t *testing.T) {
	const was = `merged.deal/updated 7 map[] {"title":"a <b>","value":1.50} {"value":1.5}`
	tests := []struct {
		name    string
		say     core.Amendment
		changed string
		want    string
		overlay bool
	}{
		{"nothing", core.Amendment{}, "", was, false},
		{"what is so anyhow", core.Amendment{Action: ptr("merged"), ObjectID: ptr("7"), Previous: json.RawMessage(` {"value" : 1.5}`)}, "", was, false},
		{"labels", core.Amendment{Labels: map[string]string{"size": "large"}}, "labels", strings.Replace(was, "map[]", "map[size:large]", 1), false},
		{"an action in other words", core.Amendment{Action: ptr("change")}, "action", strings.Replace(was, "merged.deal/updated", "updated.deal/", 1), true},
		{"another object", core.Amendment{Object: ptr("lead"), ObjectID: ptr("")}, "object, objectId", strings.Replace(was, "deal/updated 7", "lead/updated ", 1), true},
		{"other values", core.Amendment{Current: json.RawMessage(`{"title":"<&>"}`)}, "current", strings.Replace(was, `{"title":"a <b>","value":1.50}`, `{"title":"<&>"}`, 1), true},
		{"no values", core.Amendment{Current: json.RawMessage(`null`), Previous: json.RawMessage(`null`)}, "current, previous", "merged.deal/updated 7 map[]  ", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ev := named(t)
			changed, err := ev.Amend(test.say)
			if got := strings.Join(changed, ", "); err != nil || got != test.changed {
				t.Errorf("changed %q, want %q; %v", got, test.changed, err)
			}
			if got := shape(ev); got != test.want {
				t.Errorf("is   %s\nwant %s", got, test.want)
			}
			if (ev.Overlay != "") != test.overlay {
				t.Errorf("the overlay is %q", ev.Overlay)
			}
			back := kept(t, ev)
			if got := shape(back); got != test.want {
				t.Errorf("read back as %s\nwant         %s", got, test.want)
			}
			if string(ev.Key) != "key" || string(back.Meta) != `{"v":2}` || back.Version != "2.0" {
				t.Error("the rest is another")
			}
		})
	}
}

func TestSeveralStagesAddToWhatIsKept(t *testing.T) {
	ev := named(t)
	for _, say := range []core.Amendment{
		{Labels: map[string]string{"a": "1", "b": "2"}, Object: ptr("lead")},
		{Labels: map[string]string{"a": "3", "b": ""}, ObjectID: ptr("9")},
		{Current: json.RawMessage(`{"x":1}`)},
	} {
		copied, before := *ev, fmt.Sprint(ev.Labels)
		if _, err := ev.Amend(say); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(copied.Labels) != before {
			t.Error("the labels of a copy have changed")
		}
	}
	const want = `merged.lead/updated 9 map[a:3] {"x":1} {"value":1.5}`
	if got := shape(ev); got != want {
		t.Errorf("is %s", got)
	}
	if got := shape(kept(t, ev)); got != want {
		t.Errorf("read back as %s", got)
	}
}

func TestASourceOfWhichAllWasKeptIsNotAskedAgain(t *testing.T) {
	ev := named(t)
	ev.OccurredAt = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	ev.KeepWhole()
	if _, err := ev.Amend(core.Amendment{ObjectID: ptr("8")}); err != nil {
		t.Fatal(err)
	}
	back := &core.Event{ID: ev.ID, Body: ev.Body, Overlay: ev.Overlay}
	if err := back.Restore(func(*core.Event) error { return errors.New("it was asked") }); err != nil {
		t.Fatal(err)
	}
	if got, want := shape(back), shape(ev); got != want {
		t.Errorf("read back as %s\nwant         %s", got, want)
	}
	if !back.OccurredAt.Equal(ev.OccurredAt) || back.Facts != ev.Facts || string(back.Meta) != string(ev.Meta) || back.Version != "2.0" || back.Attempt != 1 {
		t.Errorf("read back with %+v", back)
	}
}

func TestWhatCanNotBeSaidOfAnEventChangesNothing(t *testing.T) {
	many := map[string]string{}
	for i := range 65 {
		many[fmt.Sprint("l", i)] = "x"
	}
	for want, say := range map[string]core.Amendment{
		`labels: "A b" can't be a key: take 1 to 64 of a-z, 0-9, dot, - and _`:                 {Labels: map[string]string{"A b": "x"}},
		`labels: there would be 65, and an event has at most 64`:                               {Labels: many},
		`labels.a: the value has 257 bytes, and may have 256`:                                  {Labels: map[string]string{"a": strings.Repeat("x", 257)}},
		`labels.a: the value holds a control character`:                                        {Labels: map[string]string{"a": "x\x00"}},
		`action: "" can't be one: take 1 to 64 bytes without spaces and without any of * .`:    {Action: ptr("")},
		`action: "a.b" can't be one: take 1 to 64 bytes without spaces and without any of * .`: {Action: ptr("a.b")},
		`object: "*" can't be one: take 1 to 64 bytes without spaces and without any of *`:     {Object: ptr("*")},
		`objectId: must be text of at most 256 bytes without control characters`:               {ObjectID: ptr("7\n")},
		`current: is not JSON`: {Current: json.RawMessage(`{`)},
	} {
		ev := named(t)
		before := shape(ev)
		say.Previous = json.RawMessage(`{"new":1}`)
		_, err := ev.Amend(say)
		if err == nil || err.Error() != want || core.KindOf(err) != core.Invalid {
			t.Errorf("%v\nwant %s", err, want)
		}
		if shape(ev) != before || ev.Overlay != "" {
			t.Errorf("%s: it has changed", want)
		}
	}
}

func TestAnOverlayThatCanNotBeReadLeavesWhatTheSourceSays(t *testing.T) {
	ev := &core.Event{Overlay: "{"}
	if err := ev.Restore(nameIt); err == nil || ev.Object != "deal" {
		t.Errorf("%v, %s", err, ev.Type())
	}
}

func TestAFilterSeesLabels(t *testing.T) {
	w, err := core.ParseWhere(map[string]any{"labels.deal.size": []any{"large", "huge"}, "labels.test": map[string]any{"exists": false}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		labels map[string]string
		want   bool
		why    string
	}{
		{map[string]string{"deal.size": "huge"}, true, `where: labels.deal.size is "huge", labels.test is missing`},
		{map[string]string{"deal.size": "small"}, false, `where: labels.deal.size is "small", not "large" or "huge"`},
		{nil, false, `where: labels.deal.size is missing, not "large" or "huge"`},
		{map[string]string{"deal.size": "huge", "test": "1"}, false, `where: labels.test is "1", not missing or null`},
	} {
		ok, why := w.Decide(&core.Event{Labels: test.labels})
		if ok != test.want || why != test.why {
			t.Errorf("%v: %v, %s", test.labels, ok, why)
		}
	}
}

// What was kept is read by every later version, and a spool may be damaged: whatever stands there,
// reading it ends, and what is read can be kept again.
func FuzzOverlay(f *testing.F) {
	ev := named(f)
	ev.KeepWhole()
	f.Add(ev.Overlay, `{"a":"b"}`)
	f.Add(`{"action":"added","current":null}`, "")
	f.Add(`{"whole":true,"occurredAt":"2026-01-02T03:04:05Z","facts":{"UserID":"1"}}`, "[]")
	f.Add(`{"current":[1,{"a":"\ud800"}]}`, `{"a":1}`)
	f.Fuzz(func(t *testing.T, overlay, labels string) {
		ev := &core.Event{Overlay: overlay, Labels: core.ParseLabels(labels)}
		if ev.Restore(nameIt) != nil {
			return
		}
		if _, err := ev.Amend(core.Amendment{ObjectID: ptr("amended")}); err != nil {
			t.Fatalf("what was read can't be changed: %v", err)
		}
		again := &core.Event{Overlay: ev.Overlay, Labels: core.ParseLabels(ev.LabelsText())}
		if err := again.Restore(nameIt); err != nil {
			t.Fatalf("%q became %q: %v", overlay, ev.Overlay, err)
		}
		if again.ObjectID != "amended" || again.Type() != ev.Type() || len(again.Labels) != len(ev.Labels) {
			t.Fatalf("%s read back as %s", shape(ev), shape(again))
		}
	})
}

func TestAnOriginIsKeptWithTheEvent(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, ev *core.Event)
	}{
		{"as it is", func(*testing.T, *core.Event) {}},
		{"when the event is amended", func(t *testing.T, ev *core.Event) {
			if _, err := ev.Amend(core.Amendment{Object: ptr("lead")}); err != nil {
				t.Fatal(err)
			}
		}},
		{"when its source said all", func(_ *testing.T, ev *core.Event) { ev.KeepWhole() }},
		{"when it is amended after its source said all", func(t *testing.T, ev *core.Event) {
			ev.KeepWhole()
			if _, err := ev.Amend(core.Amendment{Object: ptr("lead"), Labels: map[string]string{"a": "b"}}); err != nil {
				t.Fatal(err)
			}
		}},
		{"when it is said twice", func(t *testing.T, ev *core.Event) {
			if err := ev.SetOrigin(core.OriginReconcile); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ev := named(t)
			if err := ev.SetOrigin(core.OriginReconcile); err != nil {
				t.Fatal(err)
			}
			test.make(t, ev)
			back := kept(t, ev)
			if back.Origin != core.OriginReconcile || shape(back) != shape(ev) {
				t.Errorf("it came back with the origin %q as %s, was %s", back.Origin, shape(back), shape(ev))
			}
			if got := core.OriginOf(ev.Overlay); got != core.OriginReconcile || !strings.HasPrefix(ev.Overlay, core.OriginPrefix(got)) || !strings.HasPrefix(ev.Overlay, core.OriginPrefix("")) {
				t.Errorf("the overlay %s says %q", ev.Overlay, got)
			}
		})
	}
}

// What a body or a script says under that name is no origin.
func TestAnEventThatNobodyMadeHasNoOrigin(t *testing.T) {
	ev := named(t)
	if _, err := ev.Amend(core.Amendment{Current: json.RawMessage(`{"origin":"reconcile"}`), Labels: map[string]string{"origin": "reconcile"}}); err != nil {
		t.Fatal(err)
	}
	ev.KeepWhole()
	if back := kept(t, ev); back.Origin != "" || core.OriginOf(ev.Overlay) != "" {
		t.Errorf("its origin is %q, the overlay %s", back.Origin, ev.Overlay)
	}
}

func TestAnEventIsHadAsItsSourceNamedIt(t *testing.T) {
	const was = `merged.deal/updated 7 map[] {"title":"a <b>","value":1.50} {"value":1.5}`
	tests := []struct {
		name   string
		say    core.Amendment
		itself bool
	}{
		{"nothing was said", core.Amendment{}, true},
		{"names", core.Amendment{Action: ptr("added"), Object: ptr("lead"), ObjectID: ptr("8")}, false},
		{"values", core.Amendment{Current: json.RawMessage(`{"title":"c"}`), Previous: json.RawMessage(`null`)}, false},
	}
	for _, test := range tests {
		for _, origin := range []string{"", core.OriginReconcile} {
			ev := named(t)
			if err := ev.SetOrigin(origin); err != nil {
				t.Fatal(err)
			}
			if _, err := ev.Amend(test.say); err != nil {
				t.Fatal(err)
			}
			as, err := ev.AsNamed(nameIt)
			if err != nil || shape(as) != was || as.Origin != origin || (as == ev) != test.itself || as.ID != ev.ID {
				t.Errorf("%s, origin %q: %v, %+v is %s", test.name, origin, err, as, shape(as))
			}
			again, err := as.AsNamed(nameIt)
			if err != nil || again != as {
				t.Errorf("%s, origin %q: once more it is %+v; %v", test.name, origin, again, err)
			}
		}
	}
}
