package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/store"
)

func TestAnEventThatKillsItsProcessIsQuarantinedAndTheRestGoesOn(t *testing.T) {
	bin := buildBinary(t)
	testdb.Each(t, func(t *testing.T, url string) {
		p := newProject(t, url, fullChain, map[string]string{"": "[scripts]\nisolation = \"none\"\n[[listener]]\nname = \"fragile\"\nscript = \"fragile.js\"\n"})
		poison, good := sampleBody(t), sampleBody(t)
		p.write(t, "fragile.js", `export default (event) => { if (event.meta.correlation_id === "`+correlation(t, poison)+`") new ArrayBuffer(2 ** 40) }`)
		cmd := start(t, p, bin)
		_, _ = p.tryPost(t.Context(), poison) // it may die before it answers
		died(t, cmd)
		for range 2 {
			restart(t, p, bin)
		}
		cmd = start(t, p, bin)
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		p.post(t, good)
		states := map[string]core.State{}
		for _, ev := range p.events(t) {
			states[ev.ID] = ev.Deliveries[0].State
			if d := ev.Deliveries[0]; d.State == core.Quarantined && d.Crashes != 3 {
				t.Errorf("quarantined after %d crashes", d.Crashes)
			}
		}
		count := map[core.State]int{}
		for _, s := range states {
			count[s]++
		}
		if count[core.Quarantined] != 1 || count[core.Done] != 1 || len(states) != 2 {
			t.Errorf("states %v", states)
		}
	})
}

// restart runs the program until it dies of what it finds.
func restart(t *testing.T, p *project, bin string) {
	t.Helper()
	cmd := exec.Command(bin, "serve", "--config", p.config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	died(t, cmd)
}

func died(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
		t.Fatalf("it did not die: %s", cmd.Stderr)
	}
}

// In a process of its own a script can't end anything else.
func TestAnEventThatKillsItsScriptsProcessIsQuarantinedAndTheReceiverLives(t *testing.T) {
	bin := buildBinary(t)
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "[[listener]]\nname = \"fragile\"\nscript = \"fragile.js\"\nretry = { first = \"10ms\", max = \"10ms\" }\n"})
	poison, good := sampleBody(t), sampleBody(t)
	p.write(t, "fragile.js", `export default (event) => { const a = []; while (event.meta.correlation_id === "`+correlation(t, poison)+`") a.push(new Array(1e6).fill(1)) }`)
	cmd := start(t, p, bin)
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	p.post(t, poison)
	p.post(t, good)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-tick.C {
		states := map[core.State]int{}
		for _, ev := range p.events(t) {
			d := ev.Deliveries[0]
			states[d.State]++
			if d.State == core.Quarantined && (d.Crashes != 3 || !strings.Contains(d.LastError, "memory limit of 128MiB exceeded")) {
				t.Errorf("quarantined after %d crashes: %s", d.Crashes, d.LastError)
			}
		}
		if states[core.Quarantined] == 1 && states[core.Done] == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the deliveries are %v", states)
		}
	}
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the receiver is gone: %v", err)
	}
}

// correlation is the part of a sample body that no other has.
func correlation(t *testing.T, body []byte) string {
	t.Helper()
	_, rest, ok := bytes.Cut(body, []byte(`"correlation_id":"`))
	if !ok {
		t.Fatal("the sample has no correlation_id")
	}
	return string(rest[:36])
}

func TestCopiesUnderLoadOverTwoReplicasAreOneEventHandledOnce(t *testing.T) {
	bin := buildBinary(t)
	url := testdb.Postgres(t)
	var replicas []*project
	for range 2 {
		p := newProject(t, url, fullChain, nil)
		p.write(t, "scripts/count.js", `export default (event) => { event.objectId }`)
		cmd := start(t, p, bin)
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		replicas = append(replicas, p)
	}
	body := sampleBody(t)
	const copies, connections = 10_000, 200
	var sent, accepted atomic.Int64
	var mu sync.Mutex
	ids := map[string]bool{}
	var wg sync.WaitGroup
	for i := range connections {
		wg.Go(func() {
			for sent.Add(1) <= copies {
				r, err := replicas[i%2].tryPost(t.Context(), body)
				if err != nil || r.status != 200 {
					t.Errorf("answer %d (%v)", r.status, err)
					return
				}
				if r.Status == "accepted" {
					accepted.Add(1)
				}
				mu.Lock()
				ids[r.ID] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	events := replicas[0].events(t)
	if len(events) != 1 || len(ids) != 1 || accepted.Load() != 1 {
		t.Errorf("%d events, %d ids answered, %d times accepted, want 1 each", len(events), len(ids), accepted.Load())
	}
	if d := events[0].Deliveries; len(d) != 1 || d[0].State != core.Done || d[0].Attempts != 1 {
		t.Errorf("deliveries %+v", d)
	}
}

func TestReplicasKeepTheOrderAndTakeOverFromOneThatDies(t *testing.T) {
	bin := buildBinary(t)
	url := testdb.Postgres(t)
	var replicas []*project
	var processes []*exec.Cmd
	for range 3 {
		p := newProject(t, url, fullChain, nil)
		p.write(t, "scripts/count.js", `export default (event) => { event.objectId }`)
		replicas = append(replicas, p)
		processes = append(processes, start(t, p, bin))
	}
	const records, each = 12, 40
	var wg sync.WaitGroup
	for record := range records {
		wg.Go(func() {
			for n := range each {
				body := sampleOf(t, record)
				for try := n; ; try++ { // whichever replica answers
					if r, err := replicas[try%len(replicas)].tryPost(t.Context(), body); err == nil && r.status == 200 {
						break
					}
				}
				if record == 0 && n == each/2 {
					if err := processes[2].Process.Kill(); err != nil {
						t.Error(err)
					}
					_ = processes[2].Wait()
				}
			}
		})
	}
	wg.Wait()
	killed := time.Now()
	events := replicas[0].events(t)
	if took := time.Since(killed); took > 30*time.Second {
		t.Errorf("the dead replica's work was taken over after %s", took)
	}
	if len(events) != records*each {
		t.Errorf("%d events, want %d", len(events), records*each)
	}
	checkOrder(t, events)
	for _, cmd := range processes[:2] {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// checkOrder holds the deliveries' end times against the order of acceptance of each record.
func checkOrder(t *testing.T, events []store.Event) {
	t.Helper()
	last := map[string]store.Event{} // events come newest first
	for _, ev := range events {
		d := ev.Deliveries[0]
		if d.State != core.Done {
			t.Errorf("event %s ended as %s", ev.ID, d.State)
		}
		if after, ok := last[ev.ObjectID]; ok && d.FinishedAt > after.Deliveries[0].FinishedAt-after.Deliveries[0].DurationUS {
			t.Errorf("record %s: event %d ended after %d had begun", ev.ObjectID, ev.Seq, after.Seq)
		}
		last[ev.ObjectID] = ev
	}
	if len(last) < 2 {
		t.Fatal("there are no records to compare")
	}
}

// sampleOf is a fresh sample about a deal with a number of its own.
func sampleOf(t *testing.T, record int) []byte {
	t.Helper()
	body := sampleBody(t)
	at := bytes.Index(body, []byte(`"entity_id":"`))
	if at < 0 {
		t.Fatalf("no entity_id in %s", body)
	}
	at += len(`"entity_id":"`)
	end := at + bytes.IndexByte(body[at:], '"')
	id := body[at:end]
	return bytes.ReplaceAll(bytes.ReplaceAll(body, []byte(`"entity_id":"`+string(id)), fmt.Appendf(nil, `"entity_id":"%d`, 1000+record)),
		[]byte(`"id":`+string(id)+","), fmt.Appendf(nil, `"id":%d,`, 1000+record))
}
