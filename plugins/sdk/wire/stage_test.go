package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

func TestWhatAStageChangesIsAnAmendmentOrRefused(t *testing.T) {
	word := func(s string) *string { return &s }
	for name, test := range map[string]struct {
		change func(ev *core.Event)
		want   core.Amendment
		err    string
	}{
		"nothing":                   {func(*core.Event) {}, core.Amendment{}, ""},
		"a label in place":          {func(ev *core.Event) { ev.Labels["b"] = "2" }, core.Amendment{Labels: map[string]string{"a": "1", "b": "2"}}, ""},
		"a label is taken away":     {func(ev *core.Event) { ev.Labels = nil }, core.Amendment{Labels: map[string]string{"a": ""}}, ""},
		"what it is called":         {func(ev *core.Event) { ev.Action, ev.Object, ev.ObjectID = "won", "x", "" }, core.Amendment{Action: word("won"), Object: word("x"), ObjectID: word("")}, ""},
		"a name of bad text":        {func(ev *core.Event) { ev.Object = "a\xff" }, core.Amendment{Object: word("a\ufffd")}, ""},
		"other values":              {func(ev *core.Event) { ev.Current, ev.Previous = json.RawMessage(`{"a":2}`), nil }, core.Amendment{Current: json.RawMessage(`{"a":2}`), Previous: json.RawMessage("null")}, ""},
		"a value in place":          {func(ev *core.Event) { ev.Current[5] = '7' }, core.Amendment{Current: json.RawMessage(`{"a":7}`)}, ""},
		"by Amend":                  {func(ev *core.Event) { _, _ = ev.Amend(core.Amendment{Action: word("won")}) }, core.Amendment{Action: word("won")}, ""},
		"the meta":                  {func(ev *core.Event) { ev.Meta = json.RawMessage("{}") }, core.Amendment{}, "the event's meta"},
		"a header in place":         {func(ev *core.Event) { ev.Header.Del("A") }, core.Amendment{}, "the event's header"},
		"a value of a header":       {func(ev *core.Event) { ev.Header["A"][0] = "2" }, core.Amendment{}, "the event's header"},
		"the body in place":         {func(ev *core.Event) { ev.Body[0] = 'x' }, core.Amendment{}, "the event's body"},
		"the id":                    {func(ev *core.Event) { ev.ID = "x" }, core.Amendment{}, "the event's id"},
		"the plan":                  {func(ev *core.Event) { ev.Plan.Listeners = []string{"x"} }, core.Amendment{}, "the event's plan"},
		"who caused it":             {func(ev *core.Event) { ev.Facts.UserID = "x" }, core.Amendment{}, "the event's facts"},
		"what makes it a duplicate": {func(ev *core.Event) { ev.Key = []byte("x") }, core.Amendment{}, "the event's key"},
	} {
		client := connect(t, acting(func(_ context.Context, ev *core.Event) error {
			test.change(ev)
			return nil
		}))
		ev := core.Event{
			ID: "1", Action: "updated", AlsoAction: "merged", Object: "deal", ObjectID: "5", Body: []byte("{}"), Header: http.Header{"A": {"1"}, "B": {"1", "2"}},
			Current: json.RawMessage(`{"a":1}`), Previous: json.RawMessage(`{"a":0}`), Labels: map[string]string{"a": "1"},
		}
		said, err := client.Process(t.Context(), time.Second, wire.Given{Event: &ev})
		if !reflect.DeepEqual(said.Amendment, test.want) || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %+v, %v", name, said.Amendment, err)
		}
	}
}

func TestASourceSaysWhatIsItsToSay(t *testing.T) {
	for name, test := range map[string]struct {
		say  func(ev *core.Event)
		want string
	}{
		"what it is":     {func(ev *core.Event) { ev.Action, ev.Key = "added", []byte("k") }, "added k <nil>"},
		"another body":   {func(ev *core.Event) { ev.Body = nil }, " the source changed the event's body, which is not its to say"},
		"where it comes": {func(ev *core.Event) { ev.Pipeline = "x" }, " the source changed the event's pipeline, which is not its to say"},
	} {
		client := connect(t, acting(func(_ context.Context, ev *core.Event) error {
			test.say(ev)
			return nil
		}))
		said, err := client.Name(t.Context(), time.Second, wire.Given{Event: &core.Event{ID: "1", Body: []byte("b")}})
		got := fmt.Sprint(" ", err)
		if err == nil {
			got = fmt.Sprintf("%s %s %v", said.Action, said.Key, err)
		}
		if got != test.want || said != nil && (said.ID != "" || said.Body != nil) {
			t.Errorf("%s: %q: %+v", name, got, said)
		}
	}
}

// An error of pipehook's own vocabulary, such as that of Amend, is the plugin's: only a Rejection turns a
// request away.
func TestOnlyARejectionIsTheSendersFault(t *testing.T) {
	for name, err := range map[string]error{
		"what Amend says":  &core.Error{Kind: core.Invalid, Msg: "labels: too many"},
		"a body too long":  &core.Error{Kind: core.TooLarge, Msg: "too long"},
		"not available":    &core.Error{Kind: core.Unavailable, Msg: "away", RetryAfter: time.Minute},
		"the author's own": errors.New("no luck"),
	} {
		client := connect(t, acting(func(context.Context, *core.Event) error { return err }))
		_, said := client.Process(t.Context(), time.Second, wire.Given{Event: &core.Event{}})
		if core.KindOf(said) != core.Failed || core.RetryAfter(said) != core.RetryAfter(err) {
			t.Errorf("%s, a stage: %T %v", name, said, said)
		}
		if _, said = client.Name(t.Context(), time.Second, wire.Given{Event: &core.Event{}}); core.KindOf(said) != core.Failed {
			t.Errorf("%s, a source: %T %v", name, said, said)
		}
	}
}
