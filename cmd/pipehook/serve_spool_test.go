package main

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/pgcluster"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/store"
)

// outage says for how long the database is away: a few seconds by default.
const outage = "PIPEHOOK_TEST_OUTAGE"

func outageTime(t *testing.T) time.Duration {
	d, err := time.ParseDuration(cmp.Or(os.Getenv(outage), "3s"))
	if err != nil {
		t.Fatalf("%s: %v", outage, err)
	}
	return d
}

func TestARestartOfTheDatabaseUnderLoadDoesNotShow(t *testing.T) {
	testdb.Postgres(t) // skips where there is none
	db, err := pgcluster.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for _, mode := range []string{"fast", "immediate"} {
		t.Run(mode, func(t *testing.T) { restartTest(t, db, mode, outageTime(t)) })
	}
}

func restartTest(t *testing.T, db *pgcluster.Cluster, mode string, away time.Duration) {
	p := newProject(t, db.URL, fullChain, nil)
	p.write(t, "scripts/quiet.js", "export default () => {}")
	p.serve(t)
	earlier := len(p.all(t)) // of another mode
	load, stop := p.press(t, 200, nil)
	load.more(t, 100)
	if err := db.Stop(t.Context(), mode); err != nil {
		t.Fatal(err)
	}
	for range int(away.Seconds()) {
		load.more(t, 200)
	}
	if status, text := p.readiness(t); status != http.StatusOK || !strings.Contains(text, "wait since") {
		t.Errorf("readyz says %d %s", status, text)
	}
	if err := db.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	load.more(t, 200)
	stop()
	eventually(t, "everything is stored", func() bool { return len(p.all(t))-earlier >= int(load.acked.Load()) })
	load.flawless(t, p)
	all := p.all(t)[earlier:] // once everything is handled
	if i := slices.IndexFunc(all, func(ev store.Event) bool { return ev.Deliveries[0].State != core.Done }); i >= 0 {
		t.Errorf("event %s is %s", all[i].ID, all[i].Deliveries[0].State)
	}
	inTurn(t, all, load.slowest)
	t.Logf("%s: %d events, the slowest answer %s", mode, load.acked.Load(), load.slowest)
}

// all are the stored events with their deliveries, the oldest first.
func (p *project) all(t *testing.T) []store.Event {
	t.Helper()
	evs := p.events(t)
	slices.Reverse(evs)
	return evs
}

// inTurn checks that a listener had each record's events in the order in which they are stored, and
// that this is the order in which they came. No answer took longer than slowest.
func inTurn(t *testing.T, evs []store.Event, slowest time.Duration) {
	t.Helper()
	last := map[int64]int64{}
	newest := int64(0)
	for _, ev := range evs {
		d := ev.Deliveries[0]
		start := d.FinishedAt - d.DurationUS
		if start < last[d.Record] {
			t.Fatalf("event %d of record %d began %d µs before the one ahead of it ended", ev.Seq, d.Record, last[d.Record]-start)
		}
		last[d.Record] = d.FinishedAt
		// Requests that ran beside each other have no order.
		if ev.ReceivedAt < newest-slowest.Microseconds() {
			t.Fatalf("event %d was accepted %d µs before one that was stored ahead of it", ev.Seq, newest-ev.ReceivedAt)
		}
		newest = max(newest, ev.ReceivedAt)
	}
}

// readiness asks /readyz.
func (p *project) readiness(t *testing.T) (status int, text string) {
	t.Helper()
	resp, err := http.Get("http://" + p.admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// behindGate is a project whose PostgreSQL can be cut off.
func behindGate(t *testing.T, details string) (*project, *gate) {
	t.Helper()
	direct := testdb.Postgres(t)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(t, u.Host)
	u.Host = g.Addr().String()
	p := newProject(t, u.String(), fullChain, map[string]string{"": details})
	p.storeURL = direct
	p.write(t, "scripts/quiet.js", "export default () => {}")
	return p, g
}

func TestAProcessThatStartsWhileTheDatabaseIsAwayTakesEvents(t *testing.T) {
	p, g := behindGate(t, "")
	g.set(true)
	p.serve(t)
	body := sampleBody(t)
	r := p.post(t, body)
	want(t, r, 200, "accepted")
	g.set(false)
	eventually(t, "the store is used again", func() bool { _, text := p.readiness(t); return text == `{"status":"ready"}` })
	if evs := p.events(t); len(evs) != 1 || evs[0].ID != r.ID || evs[0].Deliveries[0].State != core.Done {
		t.Errorf("stored: %+v", evs)
	}
	want(t, p.post(t, body), 200, "duplicate")
}

func TestOnlyWhenTheSpoolIsFullTooIsTheSenderAskedToTryAgain(t *testing.T) {
	p, g := behindGate(t, "[spool]\nmax_size = \"1MiB\"\n")
	p.serve(t)
	g.set(true)
	body := []byte(strings.Replace(string(sampleBody(t)), "{", "{"+strings.Repeat(" ", 600<<10), 1))
	want(t, p.post(t, body), 200, "accepted")
	second := []byte(strings.Replace(string(sampleBody(t)), "{", "{"+strings.Repeat(" ", 600<<10), 1))
	want(t, p.post(t, second), 503, "unavailable")
	if status, text := p.readiness(t); status != http.StatusServiceUnavailable || !strings.Contains(text, "store") {
		t.Errorf("readyz says %d %s", status, text)
	}
	g.set(false)
	eventually(t, "it is taken again", func() bool { return p.post(t, second).status == 200 })
	eventually(t, "both are stored", func() bool { return len(p.events(t)) == 2 })
}

func TestEventsThatAnotherProcessLeftAreStored(t *testing.T) {
	p, g := behindGate(t, "")
	bin := buildBinary(t)
	g.set(true)
	first := start(t, p, bin)
	second := *p
	second.hooks, second.admin = program.FreeAddress(), program.FreeAddress()
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	second.config = p.dir + "/second.toml"
	p.write(t, "second.toml", strings.NewReplacer(p.hooks, second.hooks, p.admin, second.admin).Replace(string(text)))
	other := start(t, &second, bin)
	want(t, second.post(t, sampleBody(t)), 200, "accepted")
	_ = other.Process.Kill()
	_ = other.Wait()
	defer func() { _ = first.Process.Kill(); _ = first.Wait() }()
	g.set(false)
	eventually(t, "the store is used", func() bool { _, text := p.readiness(t); return text == `{"status":"ready"}` })
	eventually(t, "the event is stored by the process that lives", func() bool { return len(p.events(t)) == 1 })
}
