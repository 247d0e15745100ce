// Package coretest has the suites that every listener and every stage passes, whatever it is made of: a
// function in Go, a script, a plugin. It knows core only: whoever has an implementation brings it.
package coretest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Differences are what an implementation documents that it does not do as a function in Go does.
type Differences struct {
	Hidden []string      // parts of an event that it does not show, see Tell
	Clock  time.Duration // times are cut to multiples of it
	Error  int           // about so many bytes of an error's text arrive; 0 for all
	Drop   int           // the same for why a stage dropped an event

	Unsaid map[string]string // what it shows of parts that are not said, where that is another than Tell does

	// Trusted says that a stage is part of pipehook and not kept from changing what it may not.
	Trusted bool
}

const (
	plenty = 20 * time.Second       // for a call that is to succeed on a slow machine
	little = 300 * time.Millisecond // for one that is not to end
	late   = 5 * time.Second        // at most, after that
)

// Listener is what every listener does. start makes one that obeys as Obey does, until the test ends.
func Listener(t *testing.T, but Differences, start func(t *testing.T) core.Listener) {
	l := start(t)
	t.Run("it says what came of an event", func(t *testing.T) { results(t, but, l) })
	t.Run("it says when to try again", func(t *testing.T) { waits(t, l) })
	t.Run("it sees the whole event", func(t *testing.T) { whole(t, but, l) })
	t.Run("it sees a body of a megabyte", func(t *testing.T) { large(t, l) })
	t.Run("it is called by many at once", func(t *testing.T) { crowd(t, l) })
	t.Run("it ends with its context", func(t *testing.T) { ends(t, l) })
}

// order is an event that says what to do.
func order(object, text string) core.Event {
	return core.Event{ID: "0192 " + object, Pipeline: "crm", Source: "test", Object: object, Body: []byte(text)}
}

func handle(t *testing.T, l core.Listener, ev core.Event) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), plenty)
	defer cancel()
	return l.Handle(ctx, ev)
}

// result is what an order comes to.
type result struct {
	name, object, id, text string
	kind                   string // "done", "failed" or "permanent"
}

// expected are the results of everything that ends by itself.
var expected = []result{
	{name: "a success", object: "succeed", kind: "done"},
	{name: "a failure", object: "fail", text: "no such deal", kind: "failed"},
	{name: "a failure without a word", object: "fail", kind: "failed"},
	{name: "a failure in odd words", object: "fail", text: "“é” 漢字 😀 \" \\ \n\t\x00 \u2028 %s %!d {{.}} <b>", kind: "failed"},
	{name: "a failure whose text is no UTF-8", object: "fail", text: "a \xff\xfe b", kind: "failed"},
	{name: "a failure of a megabyte", object: "fail", text: strings.Repeat("why ", 1<<18), kind: "failed"},
	{name: "a failure of a megabyte in letters of several bytes", object: "fail", text: strings.Repeat("漢", 1<<20/3), kind: "failed"},
	{name: "giving up", object: "permanent", text: "never", kind: "permanent"},
	{name: "giving up without a word", object: "permanent", kind: "permanent"},
	{name: "giving up in a megabyte", object: "permanent", text: strings.Repeat("why ", 1<<18), kind: "permanent"},
	{name: "a wish to be tried again", object: "later", id: "90s", text: "busy", kind: "failed"},
	{name: "an order that is none", object: "dance", kind: "failed"},
}

func results(t *testing.T, but Differences, l core.Listener) {
	for _, want := range expected {
		t.Run(want.name, func(t *testing.T) {
			ev := order(want.object, want.text)
			ev.ObjectID = want.id
			want.check(t, but, handle(t, l, ev))
		})
	}
}

func (want *result) check(t *testing.T, but Differences, err error) {
	t.Helper()
	if got := outcome(err); got != want.kind {
		t.Errorf("it %s (%.200v), want %s", got, err, want.kind)
	}
	if err == nil {
		return
	}
	said(t, err.Error(), want.text, but.Error)
}

// said compares what arrived of a text with the text. Of one that is longer than most, which is not 0,
// the beginning has to arrive, and not much more.
func said(t *testing.T, got, text string, most int) {
	t.Helper()
	if most > 0 && len(text) > most {
		if text = text[:most/2]; len(got) > most+512 {
			t.Errorf("%d bytes have arrived, and %d are to", len(got), most)
		}
	}
	if !strings.Contains(valid(got), valid(text)) {
		t.Errorf("it said %.300q, want %.300q", got, text)
	}
}

// outcome is what the delivery engine makes of an error.
func outcome(err error) string {
	switch {
	case err == nil:
		return "done"
	case core.KindOf(err) == core.Permanent:
		return "permanent"
	case core.KindOf(err) == core.Crashed:
		return "crashed"
	case core.KindOf(err) == core.Unreached:
		return "not called"
	default:
		return "failed"
	}
}

// valid is text without what is no UTF-8 in it, and without what stands for that: a function in Go sees
// the bytes, others see one or several marks in their place.
func valid(s string) string { return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\ufffd", "") }

func waits(t *testing.T, l core.Listener) {
	for _, test := range []struct {
		wish        string
		least, most time.Duration
	}{
		{"1s", time.Second, time.Second},
		{"90s", 90 * time.Second, 90 * time.Second},
		{"1500ms", 1500 * time.Millisecond, 1500 * time.Millisecond},
		{"30d", 30 * 24 * time.Hour, 30 * 24 * time.Hour},
		{"100us", 1, time.Second},
	} {
		t.Run(test.wish, func(t *testing.T) {
			ev := order("later", "busy")
			ev.ObjectID = test.wish
			err := handle(t, l, ev)
			if wait := core.RetryAfter(err); wait < test.least || wait > test.most || outcome(err) != "failed" {
				t.Errorf("it asked for %s (%v)", wait, err)
			}
		})
	}
	if err := handle(t, l, order("fail", "busy")); core.RetryAfter(err) != 0 {
		t.Errorf("a failure that does not say when asked for %s", core.RetryAfter(err))
	}
}

// full is an event in which everything is said, in ways that get lost easily.
func full() core.Event {
	return core.Event{
		ID: "0192f0c1-7f6e-7000-8000-000000000001", Pipeline: "crm", Source: "pipedrive",
		ReceivedAt: time.Date(2026, 6, 1, 10, 0, 1, 123456789, time.FixedZone("", 2*3600)),
		Remote:     netip.MustParseAddr("2001:db8::1"),
		Header:     http.Header{"X-One": {"a", "b, c", ""}, "X-Öther": {"é \xff"}, "Content-Type": {"application/json"}},
		Body:       []byte("{\"a\": \"\\u0000 \u2028 é\", \"n\": 9007199254740993 , \"bad\": \"\xff\"}\n"),
		Action:     core.Merged, AlsoAction: core.Updated, Object: "tell", ObjectID: "9007199254740993",
		Current:  []byte(`{"big":9007199254740993,"title":"a \"b\" é 😀","null":null,"list":[1,[],{}],"value":2}`),
		Previous: []byte(`{"title":"b","value":1,"big":9007199254740992}`), Meta: []byte(`{"host":"é"}`),
		Version: "2.0", Attempt: 3, OccurredAt: time.Date(1969, 7, 20, 20, 17, 40, 5, time.UTC),
		Facts: core.Facts{UserID: "17", CompanyID: "company é", ChangeSource: "api", Bulk: true},
		Flaw:  "meta.id: is missing", Key: []byte{0, 1, 0xff},
		Labels: map[string]string{"size": "large", "a.b": "é 漢"}, Replayed: true, Gathered: []string{"x", "y"},
		Origin: core.OriginReconcile, Fields: []byte(`{"tier":"é \"Gold\"","ends":null}`), PreviousFields: []byte(`{"tier":"Silver"}`),
	}
}

// parts are all that can be told.
var parts = []string{
	"id", "pipeline", "source", "received", "remote", "header X-One", "header X-Öther", "header Missing", "sum", "also", "object",
	"objectid", "big", "previous", "meta", "version", "attempt", "occurred", "user", "company", "changesource", "flaw", "key",
	"labels", "replayed", "gathered", "origin", "fields", "previousFields", "words", "changed", "time",
}

func whole(t *testing.T, but Differences, l core.Listener) {
	none := core.Event{ID: "1", Object: "tell"}
	far, brief := full(), full()
	far.OccurredAt = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	brief.Previous, brief.Current, brief.Action, brief.OccurredAt = []byte(`{}`), []byte(`{"list":[1.5,"x"],"no":null}`), core.Added, time.Unix(1_700_000_000, 999_999_999)
	brief.Facts.ChangeSource, brief.Labels, brief.Attempt, brief.Remote = "app", map[string]string{}, 1, netip.MustParseAddr("::ffff:192.0.2.1")
	for name, ev := range map[string]core.Event{"that says everything": full(), "that says nothing": none, "of another kind": brief, "of another time": far} {
		t.Run(name, func(t *testing.T) {
			for _, part := range append(parts, "current", "action") {
				but.see(t, ev, part, func(ev core.Event) string { return handle(t, l, ev).Error() })
			}
		})
	}
}

// see has a part told and compares it with the event.
func (but *Differences) see(t *testing.T, ev core.Event, part string, ask func(core.Event) string) {
	t.Helper()
	for _, hidden := range but.Hidden {
		if hidden == part || strings.HasPrefix(part, hidden+" ") {
			return
		}
	}
	ev.Action = part // what is asked for stands there
	ctx, cancel := context.WithTimeout(t.Context(), plenty)
	defer cancel()
	want := []string{Tell(ctx, &ev, part)}
	switch part {
	case "gathered":
		if len(ev.Gathered) == 0 {
			want = append(want, ev.ID) // it stands for itself
		}
	case "origin", "fields", "previousFields":
		if other, ok := but.Unsaid[part]; ok && (want[0] == "" || want[0] == "null") {
			want = []string{other}
		}
	case "received", "occurred":
		want = but.times(ev, part)
	case "current":
		if strings.Contains(string(ev.Current), "9007199254740993") {
			return // see big
		}
	case "previous":
		if strings.Contains(string(ev.Previous), "9007199254740992") {
			return
		}
	}
	got := ask(ev)
	for _, one := range want {
		if strings.Contains(valid(got), valid("["+one+"]")) {
			return
		}
	}
	t.Errorf("of %s it told %.300q, want %.300q", part, got, want)
}

// times are the ways in which a time may be told. One that is far off may be unknown, but is not another.
func (but *Differences) times(ev core.Event, part string) []string {
	at := ev.ReceivedAt
	if part == "occurred" {
		at = ev.OccurredAt
	}
	if at.IsZero() {
		return []string{""}
	}
	want := []string{moment(at), moment(at.Truncate(max(but.Clock, 1)))}
	if at.Year() > 2200 {
		want = append(want, "")
	}
	return want
}

func large(t *testing.T, l core.Listener) {
	ev := order("tell", `{"a":"`+strings.Repeat("é", 1<<19)+`"}`)
	ev.Action, ev.Current, ev.Previous, ev.Meta = "sum", ev.Body, ev.Body, ev.Body
	sum := sha256.Sum256(ev.Body)
	if got := handle(t, l, ev).Error(); !strings.Contains(got, hex.EncodeToString(sum[:])) {
		t.Errorf("it saw another body: %.200s", got)
	}
}

func crowd(t *testing.T, l core.Listener) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 8 {
				text := fmt.Sprintf("<call %d %d>", i, j)
				ev := order("fail", text)
				ev.ID = text
				if err := handle(t, l, ev); err == nil || outcome(err) != "failed" || !strings.Contains(err.Error(), text) {
					t.Errorf("%s came to %v", text, err)
				}
			}
		})
	}
	wg.Wait()
}

// ends holds that a call does not outlive its context for long, that this is nobody's crash, and that the
// next call finds a listener.
func ends(t *testing.T, l core.Listener) {
	for _, test := range []struct {
		name   string
		begin  func(ctx context.Context) (context.Context, context.CancelFunc)
		object string
	}{
		{"at its deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, little)
		}, "slow"},
		{"when nobody waits any more", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithTimeout(ctx, plenty)
			time.AfterFunc(little, cancel)
			return ctx, cancel
		}, "slow"},
		{"that was cancelled before", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithTimeout(ctx, plenty)
			cancel()
			return ctx, cancel
		}, "slow"},
		{"whose deadline has passed", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, -plenty)
		}, "slow"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := test.begin(t.Context())
			defer cancel()
			began := time.Now()
			err := l.Handle(ctx, order(test.object, ""))
			if took := time.Since(began); took > little+late {
				t.Errorf("it took %s", took)
			}
			if err == nil || outcome(err) == "crashed" || outcome(err) == "permanent" {
				t.Errorf("it %s (%v), want a failure", outcome(err), err)
			}
			if err := handle(t, l, order("succeed", "")); err != nil {
				t.Errorf("the next call: %v", err)
			}
		})
	}
}
