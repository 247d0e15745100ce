package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
)

func TestAScriptSaysWhatItsFailureMeans(t *testing.T) {
	for _, test := range []struct {
		name, code, want string
		kind             core.Kind
		wait             time.Duration
	}{
		{name: "it is no use", code: `ctx.fail("nobody to write to")`, kind: core.Permanent, want: "it.js:1:65: PermanentFailure: nobody to write to"},
		{name: "no use, without words", code: `ctx.fail()`, kind: core.Permanent, want: "the handler gave up"},
		{name: "in seconds", code: `ctx.retryAfter(90, "busy")`, kind: core.Failed, wait: 90 * time.Second, want: "TryAgain: busy"},
		{name: "in parts of a second", code: `ctx.retryAfter(0.25)`, kind: core.Failed, wait: 250 * time.Millisecond, want: "again in 250ms"},
		{name: "as a duration", code: `ctx.retryAfter("1h30m")`, kind: core.Failed, wait: 90 * time.Minute, want: "1h30m0s"},
		{name: "in days", code: `ctx.retryAfter("1d12h")`, kind: core.Failed, wait: 36 * time.Hour, want: "36h0m0s"},
		{name: "the longest", code: `ctx.retryAfter("30d")`, kind: core.Failed, wait: 30 * 24 * time.Hour, want: "720h0m0s"},
		{name: "after an await", code: `await null; ctx.retryAfter(5, "later")`, kind: core.Failed, wait: 5 * time.Second, want: "later"},
		{name: "taken off ctx", code: `const { fail } = ctx; fail("x")`, kind: core.Permanent, want: "x"},
		{name: "no wait", code: `ctx.retryAfter(0)`, want: "longer than nothing"},
		{name: "a negative wait", code: `ctx.retryAfter(-5)`, want: "longer than nothing"},
		{name: "not a number", code: `ctx.retryAfter(NaN)`, want: "longer than nothing"},
		{name: "too long", code: `ctx.retryAfter("900h")`, want: "at most 30 days"},
		{name: "for ever", code: `ctx.retryAfter(Infinity)`, kind: core.Failed, wait: 30 * 24 * time.Hour, want: "again in"},
		{name: "no duration", code: `ctx.retryAfter("soon")`, want: `"soon" is not a duration`},
		{name: "nothing", code: `ctx.retryAfter()`, want: "wants seconds"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, p, err := compile(t, "it.js", "export default async (event, ctx) => { if (event.id) { "+test.code+" } }")
			if err != nil {
				t.Fatal(err)
			}
			err = newScript("it", p, 1, options{}).Handle(t.Context(), sample(t))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
			if got := core.KindOf(err); got != test.kind || core.RetryAfter(err) != test.wait {
				t.Errorf("kind %s, wait %s", got, core.RetryAfter(err))
			}
		})
	}
}

func TestAScriptSeesWhatWasGathered(t *testing.T) {
	_, p, err := compile(t, "it.js", `export default (event, ctx) => ctx.fail(event.gathered.join())`)
	if err != nil {
		t.Fatal(err)
	}
	ev := sample(t)
	s := newScript("it", p, 1, options{})
	if err := s.Handle(t.Context(), ev); err == nil || !strings.Contains(err.Error(), ": "+ev.ID) {
		t.Errorf("error %v", err)
	}
	ev.Gathered = []string{"a", "b", ev.ID}
	if err := s.Handle(t.Context(), ev); err == nil || !strings.Contains(err.Error(), "a,b,"+ev.ID) {
		t.Errorf("error %v", err)
	}
}

func TestAScriptSeesLabelsAndCanNotChangeThem(t *testing.T) {
	ev := sample(t)
	if got := runSaid(t, ev, `export default (event) => console.log(JSON.stringify(event.labels), event.labels.size)`); got != "{} undefined" {
		t.Errorf("without labels: %s", got)
	}
	ev.Labels = map[string]string{"size": "large", "a.b": "é"}
	got := runSaid(t, ev, `export default (event) => {
		let e; try { "use strict"; event.labels.size = "small" } catch (x) { e = x }
		console.log(JSON.stringify(event.labels), event.labels["a.b"], e instanceof TypeError, JSON.parse(JSON.stringify(event)).labels.size)
	}`)
	if got != `{"a.b":"é","size":"large"} é true large` {
		t.Errorf("with labels: %s", got)
	}
}

func TestAScriptSeesThatItsDeliveryIsReplayed(t *testing.T) {
	ev := sample(t)
	for _, ev.Replayed = range []bool{false, true} {
		if got := runSaid(t, ev, `export default (event) => console.log(event.replayed, JSON.stringify(event).includes('"replayed":' + event.replayed))`); got != fmt.Sprint(ev.Replayed, " true") {
			t.Errorf("replayed %v: %s", ev.Replayed, got)
		}
	}
}
