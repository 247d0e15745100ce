package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/store"
)

// How often the program is killed: a few times by default, as often as these say for make test.
const (
	killsSQLite   = "PIPEHOOK_TEST_KILLS_SQLITE"
	killsPostgres = "PIPEHOOK_TEST_KILLS_POSTGRES"
)

func TestAKillUnderLoadLosesNothingAndRepeatsNothing(t *testing.T) {
	bin := buildBinary(t)
	t.Run("sqlite", func(t *testing.T) { killTest(t, bin, testdb.SQLite(t), kills(t, killsSQLite)) })
	t.Run("postgres", func(t *testing.T) { killTest(t, bin, testdb.Postgres(t), kills(t, killsPostgres)) })
}

func kills(t *testing.T, name string) int {
	text := os.Getenv(name)
	if text == "" {
		return 3
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// ledger is what the sender knows.
type ledger struct {
	mu    sync.Mutex
	acked map[string]string // id by the event's own key
	open  [][]byte          // sent, but not answered: to be sent again
	sent  int
}

func (l *ledger) take(t *testing.T) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.open); n > 0 {
		body := l.open[n-1]
		l.open = l.open[:n-1]
		return body
	}
	l.sent++
	return sampleBody(t)
}

func killTest(t *testing.T, bin, url string, rounds int) {
	p := newProject(t, url, fullChain, nil)
	p.write(t, "scripts/count.js", `export default (event) => { event.current.title }`)
	l := &ledger{acked: map[string]string{}}
	rng := rand.New(rand.NewPCG(1, uint64(rounds)))
	for round := range rounds {
		killRound(t, p, bin, l, time.Duration(5+rng.IntN(150))*time.Millisecond)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	cmd := start(t, p, bin)
	for len(l.open) > 0 {
		l.send(t, p)
	}
	events := p.events(t)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	l.check(t, p, events)
	t.Logf("%d kills: %d events sent, %d acknowledged, %d stored", rounds, l.sent, len(l.acked), len(events))
}

// killRound loads a new process and kills it at a random moment after it is ready.
func killRound(t *testing.T, p *project, bin string, l *ledger, after time.Duration) {
	cmd := start(t, p, bin)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				l.send(t, p)
			}
		})
	}
	<-time.After(after) // the moment of the kill is what this test is about
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	cancel()
	_ = cmd.Wait()
	wg.Wait()
}

func start(t *testing.T, p *project, bin string) *exec.Cmd {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command(bin, "serve", "--config", p.config)
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := p.ready(t.Context()); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("%v: %s", err, errs.String())
	}
	return cmd
}

// send sends one event. What is not answered is kept, for a sender would try again.
func (l *ledger) send(t *testing.T, p *project) {
	body := l.take(t)
	r, err := p.tryPost(t.Context(), body)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || r.status != 200 {
		l.open = append(l.open, body)
		return
	}
	l.acked[string(body)] = r.ID
}

// check holds what is stored against the ledger: every acknowledged event is there, under the id
// that was answered and with the bytes that were sent, no event is there twice, and all are handled.
func (l *ledger) check(t *testing.T, p *project, events []store.Event) {
	t.Helper()
	r, err := store.OpenReader(t.Context(), p.storeURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	stored := map[string]string{}
	for _, listed := range events {
		ev, _, err := r.Event(t.Context(), listed.ID)
		if err != nil {
			t.Fatal(err)
		}
		if first, twice := stored[string(ev.Body)]; twice {
			t.Errorf("one event is stored as %s and as %s", first, ev.ID)
		}
		stored[string(ev.Body)] = ev.ID
		if d := onlyDelivery(t, &ev); d.State != core.Done {
			t.Errorf("event %s was not handled, but is %s: %+v", ev.ID, d.State, *d)
		}
	}
	for body, id := range l.acked {
		if stored[body] != id {
			t.Errorf("event %s was acknowledged and is stored as %q", id, stored[body])
		}
	}
	if len(l.acked) != l.sent || len(stored) != l.sent {
		t.Errorf("%d were sent, %d acknowledged in the end, %d stored", l.sent, len(l.acked), len(stored))
	}
}

func onlyDelivery(t *testing.T, ev *store.Event) *store.Delivery {
	t.Helper()
	if len(ev.Deliveries) != 1 {
		t.Fatalf("event %s has %d deliveries", ev.ID, len(ev.Deliveries))
	}
	return ev.Deliveries[0]
}
