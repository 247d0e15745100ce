package coretest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Stage is what every stage does that users write. start makes one that obeys as ObedientStage does, until
// the test ends, and of which a failure is not passed over.
func Stage(t *testing.T, but Differences, start func(t *testing.T) core.Stage) {
	s := start(t)
	t.Run("it changes what it may", func(t *testing.T) { changes(t, s) })
	t.Run("what can't be kept is a failure, and changes nothing", func(t *testing.T) { wrongs(t, s) })
	t.Run("it changes nothing else", func(t *testing.T) { changesNothingElse(t, but, s) })
	t.Run("it drops", func(t *testing.T) { drops(t, but, s) })
	t.Run("it rejects", func(t *testing.T) { rejects(t, but, s) })
	t.Run("it fails", func(t *testing.T) { fails(t, s) })
	t.Run("it sees the whole event", func(t *testing.T) { seesWhole(t, but, s) })
	t.Run("it is called by many at once", func(t *testing.T) { crowdedStage(t, s) })
	t.Run("it ends with its context", func(t *testing.T) { endsStage(t, s) })
}

// ordered is a whole event that says what to do.
func ordered(object, text string) *core.Event {
	ev := full()
	ev.Object, ev.Body = object, []byte(text)
	return &ev
}

// process has the stage see a copy of the event, as a chain does, and returns it.
func process(t *testing.T, s core.Stage, was *core.Event) (is *core.Event, v core.Verdict, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), plenty)
	defer cancel()
	is = copied(was)
	v, err = s.Process(ctx, is)
	return is, v, err
}

func copied(ev *core.Event) *core.Event {
	is := *ev
	is.Header, is.Labels, is.Gathered = http.Header(maps.Clone(ev.Header)), maps.Clone(ev.Labels), slices.Clone(ev.Gathered)
	is.Body, is.Current, is.Previous, is.Meta = bytes.Clone(ev.Body), bytes.Clone(ev.Current), bytes.Clone(ev.Previous), bytes.Clone(ev.Meta)
	return &is
}

func changes(t *testing.T, s core.Stage) {
	for _, test := range []struct {
		name, object, text string
		want               func(ev *core.Event)
	}{
		{"nothing", "continue", "", func(*core.Event) {}},
		{"a label", "label", "owner=é 漢", func(ev *core.Event) { ev.Labels["owner"] = "é 漢" }},
		{"a label that was there", "label", "size=small", func(ev *core.Event) { ev.Labels["size"] = "small" }},
		{"a label that is the same", "label", "size=large", func(*core.Event) {}},
		{"a label's end", "unlabel", "size", func(ev *core.Event) { delete(ev.Labels, "size") }},
		{"the end of a label that was not there", "unlabel", "colour", func(*core.Event) {}},
		{"many labels", "labels", "62", func(ev *core.Event) {
			for i := range 62 {
				ev.Labels[fmt.Sprint("label", i)] = "x"
			}
		}},
		{"the action", "action", "archived", func(ev *core.Event) { ev.Action, ev.AlsoAction = "archived", "" }},
		{"the action, in the sender's word", "action", "create", func(ev *core.Event) { ev.Action, ev.AlsoAction = core.Added, "" }},
		{"the object", "object", "pipeline.deal", func(ev *core.Event) { ev.Object = "pipeline.deal" }},
		{"the object's id", "objectid", "9007199254740995", func(ev *core.Event) { ev.ObjectID = "9007199254740995" }},
		{"the object's id, which is gone", "objectid", "", func(ev *core.Event) { ev.ObjectID = "" }},
		{"current", "current", `{"a":[1.5,"é<>&",null,{}]}`, func(ev *core.Event) { ev.Current = []byte(`{"a":[1.5,"é<>&",null,{}]}`) }},
		{"current, which is gone", "current", "null", func(ev *core.Event) { ev.Current = nil }},
		{"previous", "previous", `{}`, func(ev *core.Event) { ev.Previous = []byte(`{}`) }},
		{"previous, which is gone", "previous", "null", func(ev *core.Event) { ev.Previous = nil }},
		{"one value beside one that JavaScript would round", "retitle", "new", func(ev *core.Event) {
			ev.Current = []byte(`{"big":9007199254740993,"title":"new","null":null,"list":[1,[],{}],"value":2}`)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			was := ordered(test.object, test.text)
			is, verdict, err := process(t, s, was)
			if verdict != core.Continue || err != nil {
				t.Errorf("%s, %v", verdict, err)
			}
			want := copied(was)
			test.want(want)
			same(t, is, want)
			if changed := !reflect.DeepEqual(overlaid(want), overlaid(was)); changed != (is.Overlay != "") {
				t.Errorf("changed %t, but what is kept of it is %q", changed, is.Overlay)
			}
		})
	}
}

// overlaid is what of an event stands in its overlay when it was changed.
func overlaid(ev *core.Event) []string {
	return []string{ev.Action, ev.Object, ev.ObjectID, string(ev.Current), string(ev.Previous)}
}

// same compares events but for what is kept of their changes, and for the remark.
func same(t *testing.T, is, want *core.Event) {
	t.Helper()
	is, want = copied(is), copied(want)
	is.TakeRemark()
	for _, doc := range []struct {
		name     string
		is, want *json.RawMessage
	}{{"current", &is.Current, &want.Current}, {"previous", &is.Previous, &want.Previous}} {
		if got, wanted := sorted(t, *doc.is), sorted(t, *doc.want); got != wanted || (*doc.is == nil) != (*doc.want == nil) {
			t.Errorf("%s is   %s\nwant %s", doc.name, got, wanted)
		}
		*doc.is, *doc.want = nil, nil
	}
	if len(is.Labels) == 0 && len(want.Labels) == 0 {
		is.Labels, want.Labels = nil, nil
	}
	is.Overlay, want.Overlay = "", ""
	if !reflect.DeepEqual(is, want) {
		t.Errorf("it is %+v\nwant  %+v", is, want)
	}
}

// sorted is JSON with the keys of objects in order, and every digit.
func sorted(t *testing.T, doc json.RawMessage) string {
	t.Helper()
	if len(doc) == 0 {
		return ""
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Errorf("%s: %v", doc, err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

func wrongs(t *testing.T, s core.Stage) {
	for _, test := range []struct{ name, object, text string }{
		{"a label of a key in capitals", "label", "Size=5"},
		{"a label without a key", "label", "=5"},
		{"a label that is too long", "label", "size=" + strings.Repeat("x", 257)},
		{"a label of several lines", "label", "size=a\nb"},
		{"too many labels", "labels", "63"},
		{"an action with a dot", "action", "a.b"},
		{"no action", "action", ""},
		{"an object with a space", "object", "a deal"},
		{"an object that is too long", "object", strings.Repeat("x", 65)},
		{"an id that is too long", "objectid", strings.Repeat("x", 257)},
		{"an id with a control character", "objectid", "a\x00"},
		{"a current that is no JSON", "current", `{"a":`},
		{"a previous that is no JSON", "previous", `nothing`},
		{"an order that is none", "dance", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			was := ordered(test.object, test.text)
			is, verdict, err := process(t, s, was)
			failure(t, verdict, err, "")
			same(t, is, was)
			if is.Overlay != "" {
				t.Errorf("%s is kept of it", is.Overlay)
			}
		})
	}
}

// failure holds that a stage has failed, and that the sender is not blamed, nor told why.
func failure(t *testing.T, verdict core.Verdict, err error, text string) {
	t.Helper()
	kind := core.KindOf(err)
	if verdict != core.Continue || err == nil || kind != core.Internal && kind != core.Unavailable {
		t.Errorf("%s, %s: %v; want a failure", verdict, kind, err)
		return
	}
	said(t, err.Error(), text, 1<<10)
	if e, ok := errors.AsType[*core.Error](err); ok && text != "" && strings.Contains(e.Msg, text) {
		t.Errorf("the sender is told %q", e.Msg)
	}
}

func changesNothingElse(t *testing.T, but Differences, s core.Stage) {
	if but.Trusted {
		t.Skip("it is part of pipehook")
	}
	was := ordered("scribble", "x")
	is, verdict, err := process(t, s, was)
	if err != nil {
		failure(t, verdict, err, "")
	}
	same(t, is, was)
	if is.Overlay != "" {
		t.Errorf("%s is kept of it", is.Overlay)
	}
}

func drops(t *testing.T, but Differences, s core.Stage) {
	for name, reason := range map[string]string{
		"with a reason": "a test", "without one": "", "with a long one": strings.Repeat("why ", 1<<10), "in odd words": "“é” 漢字 😀 \" \\ %s \xff",
	} {
		t.Run(name, func(t *testing.T) {
			was := ordered("drop", reason)
			is, verdict, err := process(t, s, was)
			if verdict != core.Dropped || err != nil {
				t.Errorf("%s, %v", verdict, err)
			}
			said(t, copied(is).TakeRemark(), reason, but.Drop)
			same(t, is, was)
		})
	}
}

func rejects(t *testing.T, but Differences, s core.Stage) {
	reject := func(status, msg string) (core.Verdict, error) {
		was := ordered("reject", msg)
		was.ObjectID = status
		is, verdict, err := process(t, s, was)
		same(t, is, was)
		return verdict, err
	}
	for status, kind := range Kinds {
		verdict, err := reject(fmt.Sprint(status), "the deal “é” has no title")
		e, ok := errors.AsType[*core.Error](err)
		if !ok || e.Kind != kind || e.Msg != "the deal “é” has no title" || (status == 401) != (e.Challenge != "") || verdict != core.Continue {
			t.Errorf("%d: %s, %s, %v", status, verdict, core.KindOf(err), err)
		}
	}
	for _, status := range []string{"500", "200", "418", "0", "-1", "99999"} {
		verdict, err := reject(status, "no")
		failure(t, verdict, err, "")
	}
	for _, msg := range []string{"", strings.Repeat("why ", 1<<18), "a \xff b"} {
		_, err := reject("422", msg)
		e, ok := errors.AsType[*core.Error](err)
		if !ok || e.Kind != core.Invalid || e.Msg == "" || !but.Trusted && len(e.Msg) > 1<<10 {
			t.Errorf("%.20q: %.300v", msg, err)
			continue
		}
		if but.Trusted {
			continue
		}
		said(t, e.Msg, msg, 512)
	}
}

func fails(t *testing.T, s core.Stage) {
	for _, text := range []string{"no such owner", "“é” 漢字 😀 \x00 \xff"} {
		was := ordered("fail", text)
		is, verdict, err := process(t, s, was)
		failure(t, verdict, err, text)
		same(t, is, was)
	}
	_, verdict, err := process(t, s, ordered("fail", strings.Repeat("why ", 1<<18)))
	if verdict != core.Continue || err == nil {
		t.Errorf("%s, %v", verdict, err)
	}
}

func seesWhole(t *testing.T, but Differences, s core.Stage) {
	for name, ev := range map[string]core.Event{"that says everything": full(), "that says nothing": {ID: "1", Object: "tell"}} {
		t.Run(name, func(t *testing.T) {
			for _, part := range append(parts, "current", "action") {
				but.see(t, ev, part, func(ev core.Event) string {
					is, verdict, err := process(t, s, &ev)
					if verdict != core.Dropped {
						return fmt.Sprint(verdict, err)
					}
					return is.TakeRemark()
				})
			}
		})
	}
	ev := full()
	ev.Body = []byte(`{"a":"` + strings.Repeat("é", 1<<19) + `"}`)
	but.see(t, ev, "sum", func(ev core.Event) string {
		is, _, _ := process(t, s, &ev)
		return is.TakeRemark()
	})
}

func crowdedStage(t *testing.T, s core.Stage) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 8 {
				text := fmt.Sprintf("call %d %d", i, j)
				is, verdict, err := process(t, s, ordered("label", "of="+text))
				if verdict != core.Continue || err != nil || is.Labels["of"] != text {
					t.Errorf("%s came to %s, %v, %v", text, verdict, err, is.Labels)
				}
			}
		})
	}
	wg.Wait()
}

func endsStage(t *testing.T, s core.Stage) {
	for name, end := range map[string]func(ctx context.Context) (context.Context, context.CancelFunc){
		"at its deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 2*little)
		},
		"when nobody waits any more": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithTimeout(ctx, plenty)
			time.AfterFunc(little, cancel)
			return ctx, cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := end(t.Context())
			defer cancel()
			began, was := time.Now(), ordered("slow", "")
			is := copied(was)
			verdict, err := s.Process(ctx, is)
			if took := time.Since(began); took > 2*little+late {
				t.Errorf("it took %s", took)
			}
			failure(t, verdict, err, "")
			same(t, is, was)
			if _, verdict, err := process(t, s, ordered("continue", "")); verdict != core.Continue || err != nil {
				t.Errorf("the next event: %s, %v", verdict, err)
			}
		})
	}
}
