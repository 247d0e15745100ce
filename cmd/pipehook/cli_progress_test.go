package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/store"
)

// watchProgress lets work of 1000 pieces take 10 s.
func watchProgress(terminal bool) string {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := (&progress{w: &out, terminal: terminal, done: "replayed", total: 1000, now: func() time.Time { return now }}).begin()
	for n := 10; n <= 1000; n += 10 {
		now = now.Add(100 * time.Millisecond)
		p.at(n)
	}
	p.end()
	return out.String()
}

func TestOnATerminalABarShowsCountTotalRateAndTimeLeft(t *testing.T) {
	out := watchProgress(true)
	if want := "\r[############............]  50%  500 of 1000 replayed, 100/s, 5s left\x1b[K"; !strings.Contains(out, want) {
		t.Errorf("no %q in %q", want, out)
	}
	if strings.Contains(out, "\n") || !strings.HasSuffix(out, "\r\x1b[K") || !strings.HasPrefix(out, "\r[") {
		t.Errorf("it leaves something behind: %q", out)
	}
	for line := range strings.SplitSeq(out, "\r") {
		if len(line) > 79+len("\x1b[K") {
			t.Errorf("%q is too long for a terminal", line)
		}
	}
}

func TestWithoutATerminalALineComesNowAndThen(t *testing.T) {
	want := "200 of 1000 replayed, 100/s, 8s left\n400 of 1000 replayed, 100/s, 6s left\n600 of 1000 replayed, 100/s, 4s left\n" +
		"800 of 1000 replayed, 100/s, 2s left\n1000 of 1000 replayed, 100/s, 0s left\n"
	if got := watchProgress(false); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestShortWorkShowsNoProgress(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		var out bytes.Buffer
		now := time.Unix(0, 0)
		p := (&progress{w: &out, terminal: terminal, total: 10, now: func() time.Time { return now }}).begin()
		now = now.Add(200 * time.Millisecond)
		p.at(10)
		p.end()
		if out.Len() > 0 {
			t.Errorf("terminal %v: %q", terminal, out.String())
		}
	}
}

func TestATotalThatIsWrongOrNotKnownIsNoTrouble(t *testing.T) {
	for total, want := range map[int]string{
		10: "\r[........................]   0%  0 of 10 retried, 0/s, ? left\x1b[K\r[########################] 100%  20 of 20 retried, 10/s, 0s left\x1b[K",
		0:  "\r0 retried, 0/s\x1b[K\r20 retried, 10/s\x1b[K",
	} {
		var out bytes.Buffer
		now := time.Unix(0, 0)
		p := (&progress{w: &out, terminal: true, done: "retried", total: total, now: func() time.Time { return now }}).begin()
		for _, n := range []int{0, 20} {
			now = now.Add(time.Second)
			p.at(n)
		}
		if out.String() != want {
			t.Errorf("%q, want %q", out.String(), want)
		}
	}
}

func TestAProgramThatReadsAlongIsShownNoProgress(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := (&cli{json: true, stderr: &out}).newProgress("replayed", 10)
	p.began, p.last, p.now = now, now, func() time.Time { return now.Add(time.Hour) }
	p.at(5)
	p.end()
	if out.Len() > 0 {
		t.Errorf("%q", out.String())
	}
}

// storeMany stores events with a delivery to each listener.
func storeMany(t *testing.T, url string, n int, listeners ...string) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	events := make([]*core.Event, n)
	for i := range events {
		events[i] = &core.Event{
			ID: uuid.Must(uuid.NewV7()).String(), Pipeline: "crm", Source: "pipedrive", ReceivedAt: time.Now(), Body: []byte("{}"),
			Action: core.Updated, Object: "deal", ObjectID: fmt.Sprint(i), Plan: core.Plan{Store: true, Listeners: listeners},
		}
	}
	_, err = s.CommitAll(t.Context(), events)
	stop()
	if err := errors.Join(err, <-done, s.Close()); err != nil {
		t.Fatal(err)
	}
}

// A dry run counts what the same command would change, and changes nothing.
func TestADryRunCountsWhatWouldBeChanged(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := newProject(t, url, fullChain, nil)
		storeMany(t, url, 600, "a", "b") // more than one transaction's worth
		count := func(args ...string) int {
			t.Helper()
			code, out, errs := command(t, append(args, "--json", "--config", p.config)...)
			var said map[string]int
			if err := json.Unmarshal([]byte(out), &said); err != nil || code != exitDone || len(said) != 1 || errs != "" {
				t.Fatalf("%v: exit %d, %v: %s%s", args, code, err, out, errs)
			}
			for _, n := range said {
				return n
			}
			return 0
		}
		for _, step := range []struct {
			args string
			want int
		}{
			{"events replay --all", 0}, // nothing has ended
			{"deliveries retry --listener a", 600},
			{"deliveries cancel --listener a", 600},
			{"deliveries cancel --listener a", 0},
			{"deliveries retry --all", 600},
			{"deliveries cancel --all", 600},
			{"events replay --listener b --since 1h", 600},
			{"events replay --match *.deal --state cancelled", 600}, // a's
			{"events replay --until 1h --all", 0},
			{"deliveries retry --all", 1200},
		} {
			args := strings.Fields(step.args)
			if n := count(append(args, "--dry-run")...); n != step.want {
				t.Errorf("%s: a dry run counts %d, want %d", step.args, n, step.want)
			}
			if n := count(args...); n != step.want {
				t.Errorf("%s: %d changed, want %d", step.args, n, step.want)
			}
		}
	})
}
