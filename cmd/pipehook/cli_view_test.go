package main

import (
	"regexp"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/ingress"
	"github.com/pipehook/pipehook/core/jshost"
)

func TestEveryLineStandsBelowItsEvent(t *testing.T) {
	out := &screen{}
	v := newLiveView(out)
	first := &core.Event{ID: "id1", Action: "updated", Object: "deal", ObjectID: "8"}
	second := &core.Event{ID: "id2", Action: "added", Object: "person", ObjectID: "9", Labels: map[string]string{"size": "large", "age": "new"}}
	emitted := &core.Event{ID: "id3", Action: "added", Object: "invoice", ObjectID: "7"}
	request := func(ev *core.Event, steps ...core.StepTrace) {
		ev.Steps = steps
		v.request(ingress.Outcome{Event: ev, Code: "accepted", Took: time.Millisecond})
	}
	attempt := func(ev *core.Event, number int, state core.State, why string) {
		v.attempt(ev, core.Attempt{DeliveryKey: core.DeliveryKey{Listener: "told"}, Number: number, State: state, Err: why, Wait: 2 * time.Second, Took: time.Millisecond})
	}

	request(first)
	v.said(jshost.Line{Listener: "told", Event: "id1", Text: "hello"})
	attempt(first, 1, core.Waiting, "told.js:1:1: Error: no")
	request(second, core.StepTrace{Stage: "validate", Verdict: "continue"}, core.StepTrace{Stage: "script tag", Verdict: "failed: tag.js:1:1: Error: no"})
	attempt(first, 2, core.Done, "")
	attempt(second, 1, core.Done, "")
	v.said(jshost.Line{Listener: "told", Event: "id3", Text: "an invoice"})
	attempt(emitted, 1, core.Done, "")
	out.shows(t, "an invoice")
	attempt(emitted, 2, core.Done, "")

	const want = `T  updated.deal 8  accepted  1ms  id1
          told: hello
          ↻ told  1ms  again in 2s
            told.js:1:1: Error: no
T  added.person 9  accepted  1ms  id2
          script tag failed: tag.js:1:1: Error: no
          labels: age=new size=large
T  updated.deal 8  id1
          ✓ told  1ms, attempt 2
T  added.person 9  id2
          ✓ told  1ms
T  added.invoice 7  id3
          told: an invoice
          ✓ told  1ms
          ✓ told  1ms, attempt 2
`
	if got := regexp.MustCompile(`\d\d:\d\d:\d\d`).ReplaceAllString(out.String(), "T"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
