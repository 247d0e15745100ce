package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// pressure sends events at a steady rate, every other one on a connection of its own, and keeps
// what became of each.
type pressure struct {
	acked atomic.Int64

	mu      sync.Mutex
	ids     map[string]bool // of what was answered 2xx
	dropped []string        // what had no answer
	refused map[int]int     // other answers
	slowest time.Duration
}

// press begins to send. prepare may change each request before it is sent, and is told when it is
// over; it may be nil.
func (p *project) press(t *testing.T, perSecond int, prepare func(*http.Request) (done func())) (_ *pressure, stop func()) {
	t.Helper()
	l := &pressure{ids: map[string]bool{}, refused: map[int]int{}}
	// It does not use a connection that it has left alone for long: nobody can promise that such a one is
	// not being closed at that moment.
	kept := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: 200 * time.Millisecond}}
	fresh := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			client := kept
			if n%2 == 0 {
				client = fresh
			}
			body := sampleBody(t)
			wg.Go(func() { l.send(p, client, body, prepare) })
		}
	})
	return l, func() {
		cancel()
		wg.Wait()
		kept.CloseIdleConnections()
	}
}

// send returns the id of the event when it was acknowledged.
func (l *pressure) send(p *project, client *http.Client, body []byte, prepare func(*http.Request) func()) (id string) {
	req, err := http.NewRequest(http.MethodPost, "http://"+p.hooks+"/hook", bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth("hook", "secret of the tests")
	if prepare != nil {
		defer prepare(req)()
	}
	start := time.Now()
	resp, err := client.Do(req)
	var r reply
	if err == nil {
		var text []byte
		text, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
	}
	took := time.Since(start)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, took)
	switch {
	case err != nil:
		l.dropped = append(l.dropped, err.Error())
	case resp.StatusCode/100 != 2:
		l.refused[resp.StatusCode]++
	default:
		l.ids[r.ID] = true
		l.acked.Add(1)
		return r.ID
	}
	return ""
}

// more waits until further events have been acknowledged.
func (l *pressure) more(t *testing.T, n int64) {
	t.Helper()
	until := l.acked.Load() + n
	eventually(t, fmt.Sprintf("%d more events are acknowledged", n), func() bool { return l.acked.Load() >= until })
}

// flawless holds what became of the events against what is stored.
func (l *pressure) flawless(t *testing.T, p *project) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.dropped) > 0 {
		t.Errorf("%d requests had no answer; the first: %s", len(l.dropped), l.dropped[0])
	}
	for status, n := range l.refused {
		t.Errorf("%d requests were answered %d", n, status)
	}
	stored := map[string]bool{}
	for _, ev := range p.events(t) {
		stored[ev.ID] = true
	}
	for id := range l.ids {
		if !stored[id] {
			t.Errorf("event %s was acknowledged and is not stored", id)
		}
	}
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(40 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come true that %s", what)
		}
	}
}

// process is the real program, and the successors that it may have.
type process struct {
	log  string // the file that all of them write to
	exit chan struct{}
	cmd  *exec.Cmd
}

// launch starts a command of the program. Its log goes to a file: a pipe would be held open by its
// successors.
func launch(t *testing.T, p *project, cmd *exec.Cmd) *process {
	t.Helper()
	pr := &process{log: filepath.Join(t.TempDir(), "log"), exit: make(chan struct{}), cmd: cmd}
	file, err := os.OpenFile(pr.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		_ = cmd.Wait()
		close(pr.exit)
	}()
	t.Cleanup(func() {
		for _, pid := range append(pr.successors(t), cmd.Process.Pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if t.Failed() {
			t.Logf("the log ends with\n%s", tail(pr.text(t), 4000))
		}
	})
	if err := p.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return pr
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

func (pr *process) text(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(pr.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// logLine is a line of the log, as far as the tests look at it.
type logLine struct {
	Level, Msg, Err, File, Key, Hint string
	Line, Successor                  int
	Data                             struct{ Pid int } // what a plugin has said
}

func (pr *process) lines(t *testing.T) (all []logLine) {
	t.Helper()
	for line := range strings.Lines(pr.text(t)) {
		var l logLine
		if json.Unmarshal([]byte(line), &l) == nil {
			all = append(all, l)
		}
	}
	return all
}

// said are the lines that begin so.
func (pr *process) said(t *testing.T, msg string) (found []logLine) {
	t.Helper()
	for _, l := range pr.lines(t) {
		if strings.HasPrefix(l.Msg, msg) {
			found = append(found, l)
		}
	}
	return found
}

// says waits for the nth line that begins so.
func (pr *process) says(t *testing.T, msg string, n int) logLine {
	t.Helper()
	var found []logLine
	eventually(t, fmt.Sprintf("%q is logged %d times", msg, n), func() bool { found = pr.said(t, msg); return len(found) >= n })
	return found[n-1]
}

// successors are those that took over, in order.
func (pr *process) successors(t *testing.T) (pids []int) {
	for _, l := range pr.said(t, "handed over") {
		pids = append(pids, l.Successor)
	}
	return pids
}

func (pr *process) signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}
