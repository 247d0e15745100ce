package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/samples"
)

// echo says all of an event that a listener can see.
const echo = `export default (event, ctx) => console.log(JSON.stringify({
	id: event.id, action: event.action, object: event.object, objectId: event.objectId, current: event.current, previous: event.previous }))`

func TestEverySampleIsAcceptedOnceAndReachesItsListener(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		logFile := filepath.Join(t.TempDir(), "log.json")
		p := newProject(t, url, fullChain, map[string]string{"": "[log]\nfile = \"" + logFile + "\"\n"})
		p.write(t, "scripts/echo.js", echo)
		stop := p.serve(t)
		ids := map[string]string{}
		for _, name := range samples.Names() {
			body, _ := samples.Body(name)
			first := p.post(t, body)
			if first.status != http.StatusOK || first.Status != "accepted" || first.ID == "" {
				t.Fatalf("%s: %+v", name, first)
			}
			if second := p.post(t, body); second.status != http.StatusOK || second.Status != "duplicate" || second.ID != first.ID {
				t.Errorf("%s again: %+v, want a duplicate of %s", name, second, first.ID)
			}
			ids[name] = first.ID
		}
		if got := len(p.events(t)); got != len(samples.Names()) {
			t.Errorf("%d events are stored, want %d", got, len(samples.Names()))
		}
		stop()
		heard := readEchoes(t, logFile)
		for name, id := range ids {
			checkEcho(t, name, heard[id])
		}
	})
}

type heardEvent struct {
	ID, Action, Object, ObjectID string
	Current, Previous            json.RawMessage
	times                        int
}

func readEchoes(t *testing.T, logFile string) map[string]heardEvent {
	t.Helper()
	text, err := os.ReadFile(logFile)
	if err != nil {
		t.Fatal(err)
	}
	heard := map[string]heardEvent{}
	for line := range bytes.Lines(text) {
		var entry struct{ Msg, Listener string }
		if json.Unmarshal(line, &entry) != nil || entry.Listener != "echo" || !strings.HasPrefix(entry.Msg, "{") {
			continue
		}
		var ev heardEvent
		if err := json.Unmarshal([]byte(entry.Msg), &ev); err != nil {
			t.Fatal(err)
		}
		ev.times = heard[ev.ID].times + 1
		heard[ev.ID] = ev
	}
	return heard
}

func checkEcho(t *testing.T, name string, got heardEvent) {
	t.Helper()
	body, _ := samples.Body(name)
	want := core.Event{Source: "pipedrive", Body: body}
	if err := restore(&want); err != nil {
		t.Fatal(err)
	}
	if got.times != 1 || got.Action != want.Action || got.Object != want.Object || got.ObjectID != want.ObjectID {
		t.Errorf("%s: heard %d times as %s.%s %s, want once as %s %s", name, got.times, got.Action, got.Object, got.ObjectID, want.Type(), want.ObjectID)
	}
	for _, part := range []struct {
		name      string
		got, want json.RawMessage
	}{{"current", got.Current, want.Current}, {"previous", got.Previous, want.Previous}} {
		var g, w any
		if json.Unmarshal(part.got, &g) != nil {
			t.Errorf("%s: %s is %s", name, part.name, part.got)
		}
		if part.want != nil && json.Unmarshal(part.want, &w) != nil {
			t.Fatalf("%s: %s is %s", name, part.name, part.want)
		}
		a, _ := json.Marshal(g)
		b, _ := json.Marshal(w)
		if !bytes.Equal(a, b) {
			t.Errorf("%s: %s is %s, want %s", name, part.name, a, b)
		}
	}
}

func sampleBody(t testing.TB) []byte {
	t.Helper()
	_, body, ok := samples.For("updated.deal")
	if !ok {
		t.Fatal("no sample")
	}
	return samples.Fresh(body, time.Now())
}

func TestTheChainIsWhatTheFileSays(t *testing.T) {
	const invalid = `{"meta":{"version":"2.0"}}`
	tests := []struct {
		name, chain string
		do          func(t *testing.T, p *project)
		stored      int
		delivered   int
	}{
		{name: "the usual order", chain: fullChain, stored: 1, delivered: 1, do: func(t *testing.T, p *project) {
			body := sampleBody(t)
			want(t, p.post(t, body), 200, "accepted")
			want(t, p.post(t, body), 200, "duplicate")
			want(t, p.post(t, []byte(invalid)), 422, "invalid")
			want(t, p.post(t, body, wrongPassword), 401, "unauthenticated")
		}},
		{name: "without authenticate anybody gets in", chain: "validate dedupe persist dispatch", stored: 1, delivered: 1, do: func(t *testing.T, p *project) {
			want(t, p.post(t, sampleBody(t), wrongPassword), 200, "accepted")
		}},
		{name: "without validate any shape gets in", chain: "authenticate dedupe persist dispatch", stored: 1, delivered: 1, do: func(t *testing.T, p *project) {
			want(t, p.post(t, []byte(invalid)), 200, "accepted")
		}},
		{name: "without dedupe a repetition is another event", chain: "authenticate validate persist dispatch", stored: 2, delivered: 2, do: func(t *testing.T, p *project) {
			body := sampleBody(t)
			want(t, p.post(t, body), 200, "accepted")
			want(t, p.post(t, body), 200, "accepted")
		}},
		{name: "without dispatch nobody gets it", chain: "authenticate validate dedupe persist", stored: 1, do: func(t *testing.T, p *project) {
			want(t, p.post(t, sampleBody(t)), 200, "accepted")
		}},
		{name: "without persist nothing is stored", chain: "authenticate validate dispatch", do: func(t *testing.T, p *project) {
			want(t, p.post(t, sampleBody(t)), 200, "accepted")
		}},
		{name: "dispatch before persist stores no delivery", chain: "authenticate dedupe dispatch persist", stored: 1, do: func(t *testing.T, p *project) {
			body := sampleBody(t)
			want(t, p.post(t, body), 200, "accepted")
			want(t, p.post(t, body), 200, "duplicate")
		}},
		{name: "dedupe before authenticate answers a stranger's copy", chain: "dedupe authenticate validate persist dispatch", stored: 1, delivered: 1, do: func(t *testing.T, p *project) {
			body := sampleBody(t)
			want(t, p.post(t, body), 200, "accepted")
			want(t, p.post(t, body, wrongPassword), 200, "duplicate")
			want(t, p.post(t, sampleBody(t), wrongPassword), 401, "unauthenticated")
		}},
		{name: "persist before authenticate stores a stranger's event", chain: "persist authenticate", stored: 1, do: func(t *testing.T, p *project) {
			want(t, p.post(t, sampleBody(t), wrongPassword), 401, "unauthenticated")
		}},
		{name: "validate after persist stores what it refuses", chain: "authenticate persist validate dispatch", stored: 1, do: func(t *testing.T, p *project) {
			want(t, p.post(t, []byte(invalid)), 422, "invalid")
		}},
		{name: "dedupe after persist keeps the duplicate but not its delivery", chain: "authenticate persist dedupe dispatch", stored: 2, delivered: 1, do: func(t *testing.T, p *project) {
			body := sampleBody(t)
			want(t, p.post(t, body), 200, "accepted")
			want(t, p.post(t, body), 200, "duplicate")
		}},
		{name: "repeated stages", chain: "authenticate authenticate validate validate dedupe dedupe persist persist dispatch dispatch", stored: 1, delivered: 1, do: func(t *testing.T, p *project) {
			body := sampleBody(t)
			want(t, p.post(t, body), 200, "accepted")
			want(t, p.post(t, body), 200, "duplicate")
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			testdb.Each(t, func(t *testing.T, url string) {
				p := newProject(t, url, test.chain, nil)
				p.write(t, "scripts/quiet.js", "export default () => {}")
				stop := p.serve(t)
				test.do(t, p)
				events := p.events(t)
				stop()
				delivered := 0
				for _, ev := range events {
					delivered += len(ev.Deliveries)
				}
				if len(events) != test.stored || delivered != test.delivered {
					t.Errorf("%d stored and %d delivered, want %d and %d", len(events), delivered, test.stored, test.delivered)
				}
			})
		})
	}
}

func want(t *testing.T, r reply, status int, word string) {
	t.Helper()
	if got := r.Status + r.Error.Code; r.status != status || got != word {
		t.Errorf("answer %d %s (%s), want %d %s", r.status, got, r.Error.Message, status, word)
	}
}

func TestInlineDispatchAnswersWithWhatTheListenerCameTo(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := newProject(t, url, fullChain, map[string]string{"dispatch": `mode = "inline"`})
		p.write(t, "scripts/picky.js", `export default (event) => { if (event.current.id !== 8) throw new Error("only deal 8") }`)
		stop := p.serve(t)
		want(t, p.post(t, sampleBody(t)), 200, "accepted")
		other := bytes.Replace(sampleBody(t), []byte(`"id":8`), []byte(`"id":9`), 1)
		want(t, p.post(t, other), 502, "listener_failed")
		want(t, p.post(t, other), 200, "duplicate") // it is stored, and its delivery is tried again
		stop()
	})
}

func TestHostileBodiesGetAClearErrorAndAreNotStored(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "", "validate": "max_depth = 64"})
	stop := p.serve(t)
	for name, test := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"truncated JSON":        {`{"meta":{"action":"chan`, 400, "malformed"},
		"no JSON":               {`hello`, 400, "malformed"},
		"an empty body":         {``, 400, "malformed"},
		"a wrong shape":         {`{"meta":{"version":"2.0","action":"change"}}`, 422, "invalid"},
		"nested 10,000 deep":    {strings.Repeat(`{"a":`, 10_000) + `1` + strings.Repeat(`}`, 10_000), 400, "malformed"},
		"nested a bit too deep": {`{"meta":` + strings.Repeat(`[`, 64) + strings.Repeat(`]`, 64) + `}`, 400, "malformed"},
		"larger than allowed":   {`{"a":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			want(t, p.post(t, []byte(test.body)), test.status, test.code)
		})
	}
	if r := p.post(t, []byte(`{"meta":{"version":"2.0","action":"change"}}`)); !strings.Contains(r.Error.Message, "meta.entity is required") {
		t.Errorf("the message does not name the field: %s", r.Error.Message)
	}
	stop()
	if got := len(p.events(t)); got != 0 {
		t.Errorf("%d events are stored", got)
	}
}
