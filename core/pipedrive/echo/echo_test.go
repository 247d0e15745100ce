package echo_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/fixture"
	"github.com/pipehook/pipehook/core/pipedrive/echo"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

const spentFor = 10 * time.Minute // as the package has it

// memory keeps entries, and counts what it is asked.
type memory struct {
	fixture.Overlay
	mu    sync.Mutex
	asked map[string]int
	now   time.Time

	longest int  // value
	full    bool // for new keys
}

func newMemory() *memory {
	m := &memory{asked: map[string]int{}, now: time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)}
	m.Now = m.time
	return m
}

func (m *memory) time() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *memory) pass(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
}

func (m *memory) keep(ctx context.Context, op *effect.KVOp) (*effect.KVResult, error) {
	m.mu.Lock()
	m.asked[op.Op]++
	m.longest = max(m.longest, len(op.Value))
	full := m.full && op.Op == "set" && (op.IfVersion == nil || *op.IfVersion == "")
	m.mu.Unlock()
	if full {
		return nil, &core.Error{Kind: core.TooLarge, Msg: "there are too many entries"}
	}
	return m.Do(ctx, "echo", op)
}

func (m *memory) ledger(alone bool) *echo.Ledger {
	l := echo.New(echo.Options{Keep: m.keep, Now: m.time, Alone: alone})
	l.Use(10 * time.Minute)
	return l
}

func updated(id, current, previous string) *core.Event {
	ev := &core.Event{Action: core.Updated, Object: "deal", ObjectID: id, Current: []byte(current), Facts: core.Facts{ChangeSource: "api"}, Key: []byte(fmt.Sprintf("%x", sha256.Sum256([]byte(current))))}
	if previous != "" {
		ev.Previous = []byte(previous)
	}
	return ev
}

func begin(t *testing.T, l *echo.Ledger, method, path, body string) *echo.Note {
	t.Helper()
	c := &effect.APICall{Method: method, Path: path}
	if body != "" {
		c.Body = []byte(body)
	}
	n, err := l.Begin(t.Context(), "writer", c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func find(t *testing.T, l *echo.Ledger, ev *core.Event) string {
	t.Helper()
	by, near, err := l.Find(t.Context(), ev, 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if near {
		return "near"
	}
	return by
}

func TestWhichEventIsAnEcho(t *testing.T) {
	for _, test := range []struct{ name, body, current, previous, want string }{
		{"the same", `{"title":"b"}`, `{"id":1,"title":"b"}`, `{"title":"a"}`, "writer"},
		{"a number written otherwise", `{"value":200}`, `{"id":1,"value":200.0}`, `{"value":1}`, "writer"},
		{"nothing is told of what was before", `{"title":"b"}`, `{"id":1,"title":"b"}`, "", "writer"},
		{"only the time of the change is told", `{"title":"b"}`, `{"id":1,"title":"b"}`, `{"update_time":"2026-11-26T10:00:00Z"}`, "writer"},
		{"one of two has another value", `{"title":"b","value":5}`, `{"id":1,"title":"b","value":6}`, `{"title":"a"}`, "near"},
		{"what changed is another field", `{"title":"b"}`, `{"id":1,"title":"b","value":6}`, `{"value":5}`, ""},
		{"what was written is not carried", `{"title":"b"}`, `{"id":1,"value":6}`, `{"value":5}`, ""},
		{"a part of what was written is carried", `{"title":"b","not_in_webhooks":1}`, `{"id":1,"title":"b"}`, `{"title":"a"}`, "writer"},
		{"a custom field", `{"custom_fields":{"3d0fa0000000000000000000000000000000cdf3":17}}`,
			`{"id":1,"custom_fields":{"3d0fa0000000000000000000000000000000cdf3":{"type":"enum","id":17}}}`,
			`{"custom_fields":{"3d0fa0000000000000000000000000000000cdf3":null}}`, "writer"},
		{"another custom field", `{"custom_fields":{"3d0fa0000000000000000000000000000000cdf3":17}}`,
			`{"id":1,"custom_fields":{"3d0fa0000000000000000000000000000000cdf3":{"type":"enum","id":17}}}`,
			`{"custom_fields":{"3d0fa0000000000000000000000000000000cdf4":null}}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newMemory().ledger(false)
			begin(t, l, "PATCH", "/api/v2/deals/1", test.body)
			if got := find(t, l, updated("1", test.current, test.previous)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if got := find(t, l, updated("2", test.current, test.previous)); got != "" {
				t.Errorf("another record: %q", got)
			}
		})
	}
}

func TestAValueIsKnownInEachFormThatItMayBeWrittenIn(t *testing.T) {
	const key = "3d0fa0000000000000000000000000000000cdf3"
	custom := func(value string) string { return `"custom_fields":{"` + key + `":` + value + `}` }
	for _, test := range []struct{ name, method, path, object, fieldType, body, current string }{
		{"an address", "PATCH", "/api/v2/organizations/1", "organization", "", `"address":{"value":"Main St 1"}`, `"address":{"value":"Main St 1","country":"Estonia"}`},
		{"an address as version 1 writes it", "PUT", "/api/v1/organizations/1", "organization", "", `"address":"Main St 1"`, `"address":{"value":"Main St 1","country":"Estonia"}`},
		{"no address", "PATCH", "/api/v2/organizations/1", "organization", "", `"address":{"value":""}`, `"address":null`},
		{"a location", "PATCH", "/api/v2/activities/1", "activity", "", `"location":{"value":"here"}`, `"location":{"value":"here","route":null}`},
		{"a custom address", "PATCH", "/api/v2/deals/1", "deal", "address", custom(`{"value":"Main St 1"}`), custom(`{"type":"address","value":"Main St 1","country":"Estonia"}`)},
		{"a custom time", "PATCH", "/api/v2/deals/1", "deal", "time", custom(`{"value":"10:00"}`), custom(`{"type":"time","value":"10:00:00","timezone_id":3}`)},
		{"a custom time alone", "PATCH", "/api/v2/deals/1", "deal", "time", custom(`"10:00"`), custom(`{"type":"time","value":"10:00:00","timezone_id":3}`)},
		{"a flag", "PUT", "/api/v1/notes/1", "note", "", `"pinned_to_deal_flag":1`, `"pinned_to_deal_flag":true`},
		{"what is done", "PUT", "/api/v1/activities/1", "activity", "", `"done":0,"busy_flag":1`, `"done":false,"busy_flag":true`},
	} {
		fields := shape.NewFields("acme", map[string][]shape.Field{"deal": {{Key: key, Label: "A", Type: test.fieldType, Custom: true}}})
		for known, f := range map[string]*shape.Fields{"with definitions": fields, "without definitions": nil} {
			t.Run(test.name+" "+known, func(t *testing.T) {
				m := newMemory()
				l := echo.New(echo.Options{Keep: m.keep, Now: m.time, Fields: func() *shape.Fields { return f }})
				l.Use(10 * time.Minute)
				begin(t, l, test.method, test.path, "{"+test.body+"}")
				ev := updated("1", `{"id":1,`+test.current+`}`, "")
				ev.Object = test.object
				if got := find(t, l, ev); got != "writer" {
					t.Errorf("got %q", got)
				}
			})
		}
	}
}

func TestTheStoreIsAskedOnlyWhenThereMayBeAnEntry(t *testing.T) {
	m := newMemory()
	l := m.ledger(true)
	ev := updated("1", `{"id":1,"title":"b"}`, "")
	m.pass(11 * time.Minute) // what the process before has left is over
	person, reconciled := *ev, *ev
	person.Facts.ChangeSource, reconciled.Origin = "app", core.OriginReconcile
	for _, one := range []*core.Event{ev, &person, &reconciled} {
		find(t, l, one)
	}
	if m.asked["list"] != 0 {
		t.Errorf("asked %v", m.asked)
	}
	begin(t, l, "PATCH", "/api/v2/deals/1", `{"title":"b"}`)
	find(t, l, &person)
	find(t, l, &reconciled)
	if got := find(t, l, ev); got != "writer" || m.asked["list"] != 1 {
		t.Errorf("got %q, asked %v", got, m.asked)
	}
	m.pass(11 * time.Minute)
	find(t, l, ev)
	if m.asked["list"] != 1 {
		t.Errorf("asked when all entries had ended: %v", m.asked)
	}
}

func TestProcessesShareEntriesAndOneOfThemUsesEachUp(t *testing.T) {
	m := newMemory()
	a, b := m.ledger(false), m.ledger(false)
	begin(t, a, "PATCH", "/api/v2/deals/1", `{"title":"b"}`)
	found := make(chan string, 20)
	var wait sync.WaitGroup
	for i := range cap(found) {
		wait.Go(func() {
			ev := updated("1", `{"id":1,"title":"b"}`, "")
			ev.Key = []byte{byte(i)}
			by, _, err := []*echo.Ledger{a, b}[i%2].Find(context.Background(), ev, time.Minute)
			if err != nil {
				t.Error(err)
			}
			found <- by
		})
	}
	wait.Wait()
	close(found)
	n := 0
	for by := range found {
		if by != "" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d events were found for one write", n)
	}
}

func TestOnlyWhatCausesAnEventIsNoted(t *testing.T) {
	for _, test := range []struct {
		method, path, body string
		entries            int
	}{
		{"GET", "/api/v2/deals/1", "", 0},
		{"POST", "/api/v2/deals", `{"title":"a"}`, 1},
		{"POST", "/v1/notes", `{"content":"a"}`, 1},
		{"PUT", "/api/v1/notes/1", `{"content":"a"}`, 1},
		{"PATCH", "/api/v1/leads/0192f0c1-7f6e-7000-8000-000000000001", `{"title":"a"}`, 1},
		{"DELETE", "/api/v2/persons/1", "", 1},
		{"PUT", "/api/v1/persons/1/merge", `{"merge_with_id":2}`, 2},
		{"PUT", "/api/v1/persons/1/merge", `{}`, 0},
		{"POST", "/api/v2/deals/1/products", `{"product_id":1}`, 0},
		{"POST", "/api/v1/files", `{"name":"a"}`, 0},
		{"PATCH", "/api/v2/deals/1", `{}`, 0},
		{"PATCH", "/api/v2/deals/1", `[1]`, 0},
		{"PATCH", "/api/v2/deals/1", "", 0},
		{"POST", "%2Fapi%2Fv2%2Fdeals", `{"title":"a"}`, 0},
		{"POST", "/api%2Fv2%2Fdeals", `{"title":"a"}`, 0},
		{"POST", "/api/v2/", `{"title":"a"}`, 0},
		{"POST", "", `{"title":"a"}`, 0},
	} {
		m := newMemory()
		n := begin(t, m.ledger(false), test.method, test.path, test.body)
		if m.asked["set"] != test.entries || (n != nil) != (test.entries > 0) {
			t.Errorf("%s %s %s: %d entries, want %d", test.method, test.path, test.body, m.asked["set"], test.entries)
		}
	}
	m := newMemory()
	l := m.ledger(false)
	l.Use(0)
	if n := begin(t, l, "PATCH", "/api/v2/deals/1", `{"title":"a"}`); n != nil || m.asked["set"] != 0 {
		t.Error("it is noted although no stage asks")
	}
}

// Whatever may be asked is noted, or is not, and no more.
func FuzzWhatMayBeAskedCanBeNoted(f *testing.F) {
	f.Add("POST", "/api/v2/deals", `{"title":"a"}`)
	f.Add("POST", "/api%2Fv2%2Fdeals", `{"title":"a"}`)
	f.Add("PUT", "/v1/persons/1/merge", `{"merge_with_id":2}`)
	f.Add("DELETE", "/api/v2/persons/%31", "")
	f.Fuzz(func(t *testing.T, method, path, body string) {
		c := &effect.APICall{Method: method, Path: path}
		if body != "" {
			c.Body = []byte(body)
		}
		if c.Check() != nil {
			return
		}
		l := newMemory().ledger(false)
		n, err := l.Begin(t.Context(), "writer", c)
		if n != nil && (err != nil || !c.Writes()) {
			t.Errorf("%s %q is noted (%v)", method, path, err)
		}
		l.End(t.Context(), n, &effect.APIAnswer{Data: []byte(body)}, nil)
	})
}

func TestAWriteThatMayHaveBeenDoneStaysNoted(t *testing.T) {
	for _, test := range []struct {
		failed effect.Error
		stays  bool
	}{
		{effect.Error{}, true}, {effect.Error{Status: 500}, true}, {effect.Error{Status: 408}, true},
		{effect.Error{Status: 400}, false}, {effect.Error{Status: 404}, false}, {effect.Error{Status: 429}, false},
		{effect.Error{Status: 404, Unsure: true}, true}, {effect.Error{Status: 429, Unsure: true}, true},
		{effect.Error{NotDone: true}, false}, {effect.Error{Status: 503, NotDone: true}, false},
	} {
		m := newMemory()
		l := m.ledger(false)
		n := begin(t, l, "PATCH", "/api/v2/deals/1", `{"title":"b"}`)
		l.End(t.Context(), n, nil, &test.failed)
		if got := find(t, l, updated("1", `{"id":1,"title":"b"}`, "")); (got != "") != test.stays {
			t.Errorf("after %+v: %q", test.failed, got)
		}
	}
}

func TestALongTextIsNotedShortly(t *testing.T) {
	m := newMemory()
	l := m.ledger(false)
	html := strings.Repeat("<b>&</b>", 20_000)
	body := func(text string) string {
		out, err := json.Marshal(map[string]any{"title": text, "custom_fields": map[string]any{"3d0fa0000000000000000000000000000000cdf3": []string{text}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	begin(t, l, "PATCH", "/api/v2/deals/1", body(html))
	if m.longest > 2048 {
		t.Errorf("an entry has %d bytes", m.longest)
	}
	if got := find(t, l, updated("1", `{"id":1,`+body(html + ".")[1:], "")); got != "near" {
		t.Errorf("another text: %q", got)
	}
	if got := find(t, l, updated("1", `{"id":1,`+body(html)[1:], "")); got != "writer" {
		t.Errorf("the text: %q", got)
	}
}

func TestAnEntryThatIsUsedUpIsShortAndSoonGone(t *testing.T) {
	m := newMemory()
	l := m.ledger(false)
	l.Use(24 * time.Hour)
	begin(t, l, "PATCH", "/api/v2/deals/1", `{"title":"`+strings.Repeat("b", 200)+`"}`)
	ev := updated("1", `{"id":1,"title":"`+strings.Repeat("b", 200)+`"}`, "")
	find(t, l, ev)
	r, err := m.keep(t.Context(), &effect.KVOp{Op: "list", Limit: 10})
	if err != nil || len(r.Entries) != 1 || strings.Contains(string(r.Entries[0].Value), "bbb") {
		t.Errorf("got %v, %v", r.Entries, err)
	}
	m.pass(9 * time.Minute)
	if got := find(t, l, ev); got != "writer" {
		t.Errorf("the same event again: %q", got)
	}
	m.pass(2 * time.Minute)
	if r, err := m.keep(t.Context(), &effect.KVOp{Op: "list", Limit: 10}); err != nil || len(r.Entries) != 0 {
		t.Errorf("it is still there: %v, %v", r.Entries, err)
	}
}

// Pipedrive repeats an event for about four minutes, however short the window is in which its first try comes.
func TestARepetitionIsKnownWhenTheWindowIsOver(t *testing.T) {
	const window = time.Minute
	for _, alone := range []bool{true, false} {
		m := newMemory()
		ledger := func() *echo.Ledger {
			l := echo.New(echo.Options{Keep: m.keep, Now: m.time, Alone: alone})
			l.Use(window)
			return l
		}
		l := ledger()
		m.pass(time.Hour) // what the process before has left is over
		begin(t, l, "PATCH", "/api/v2/deals/1", `{"title":"b"}`)
		found := func(l *echo.Ledger, ev *core.Event, want string) {
			t.Helper()
			if by, _, err := l.Find(t.Context(), ev, window); by != want || err != nil {
				t.Errorf("alone %t: got %q, %v, want %q", alone, by, err, want)
			}
		}
		ev := updated("1", `{"id":1,"title":"b"}`, "")
		m.pass(window - time.Second)
		found(l, ev, "writer")
		next := ledger()
		m.pass(4 * time.Minute)
		found(l, ev, "writer")
		found(next, ev, "writer")
		other := *ev
		other.Key = []byte("other")
		found(l, &other, "")
		m.pass(spentFor)
		found(l, ev, "")
	}
}

func TestAnEntryIsFoundBehindManyOthers(t *testing.T) {
	m := newMemory()
	l := m.ledger(false)
	for range 1100 {
		begin(t, l, "PATCH", "/api/v2/deals/1", `{"title":"a"}`)
	}
	m.pass(time.Second)
	begin(t, l, "PATCH", "/api/v2/deals/1", `{"title":"b"}`)
	if got := find(t, l, updated("1", `{"id":1,"title":"b"}`, "")); got != "writer" {
		t.Errorf("got %q", got)
	}
}

func TestALedgerThatIsFullRefusesNoWrite(t *testing.T) {
	m := newMemory()
	var log strings.Builder
	l := echo.New(echo.Options{Keep: m.keep, Now: m.time, Log: slog.New(slog.NewTextHandler(&log, nil))})
	l.Use(10 * time.Minute)
	note := begin(t, l, "POST", "/api/v2/deals", `{"title":"a"}`)
	m.full = true
	if n := begin(t, l, "PATCH", "/api/v2/deals/1", `{"title":"a"}`); n != nil {
		t.Error("it is noted")
	}
	begin(t, l, "PATCH", "/api/v2/deals/1", `{"title":"a"}`)
	if n := strings.Count(log.String(), "is not known again"); n != 1 {
		t.Errorf("it is said %d times: %s", n, log.String())
	}
	l.End(t.Context(), note, &effect.APIAnswer{Data: []byte(`{"id":7}`)}, nil)
	m.full = false
	ev := updated("7", `{"id":7,"title":"a"}`, "")
	ev.Action = core.Added
	if got := find(t, l, ev); got != "writer" {
		t.Errorf("what was noted before that: %q", got)
	}
	begin(t, l, "PATCH", "/api/v2/deals/1", `{"title":"b"}`)
	if got := find(t, l, updated("1", `{"id":1,"title":"b"}`, "")); got != "writer" {
		t.Errorf("when there is room again: %q", got)
	}
}
