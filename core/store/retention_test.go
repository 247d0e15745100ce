package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
)

// quietly opens the store and stores n events that were received at their times, with a delivery each
// that has ended.
func quietly(t *testing.T, url string, received ...time.Time) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	b := &batch{now: time.Now()}
	for i, at := range received {
		b.add(&plan{ev: &core.Event{
			ID: fmt.Sprint("e", i), Pipeline: "p", Source: "t", Action: core.Updated, Object: "deal", ReceivedAt: at, Body: []byte("{}"),
			Plan: core.Plan{Store: true, Listeners: []string{"audit"}},
		}, done: make(chan struct{})})
	}
	if err := s.backend.write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := s.backend.edit().ExecContext(t.Context(), "UPDATE deliveries SET state = 1"); err != nil {
		t.Fatal(err)
	}
	return s
}

func kept(t *testing.T, s *Store) string {
	t.Helper()
	events, err := s.Reader().Events(t.Context(), Filter{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, ev := range events {
		ids = append(ids, ev.ID)
	}
	return strings.Join(ids, " ")
}

func TestAnEventFromTheFutureKeepsNoOtherFromBeingDeleted(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		old, future, young := time.Now().Add(-48*time.Hour), time.Now().Add(10*365*24*time.Hour), time.Now()
		s := quietly(t, url, old, future, old, old, young, young, old)
		var looked int
		for after := int64(0); ; looked++ {
			last, _, err := s.backend.forget(t.Context(), 24*time.Hour, after, 2)
			if err != nil {
				t.Fatal(err)
			}
			if last == 0 {
				break
			}
			after = last
		}
		if got := kept(t, s); got != "e6 e5 e4 e1" || looked != 2 {
			t.Errorf("kept are %s after %d pages; want what is young, from the future, or behind a page of them", got, looked)
		}
	})
}

func TestWhatIsBeingReplayedIsNotDeleted(t *testing.T) {
	old := time.Now().Add(-48 * time.Hour)
	s := quietly(t, testdb.Postgres(t), old, old)
	m := &Manager{Reader{s.read}, false}
	forget := func() {
		t.Helper()
		if _, _, err := s.backend.forget(t.Context(), 24*time.Hour, 0, 10); err != nil {
			t.Fatal(err)
		}
	}
	err := s.read.RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error {
		n, err := m.again(ctx, tx, []core.DeliveryKey{{Seq: 1, Listener: "audit"}})
		if err != nil || n != 1 {
			return fmt.Errorf("%d are replayed: %w", n, err)
		}
		forget() // neither waits for the replay nor deletes what it is about
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	forget()
	if got := kept(t, s); got != "e0" {
		t.Errorf("kept are %q, want the one that is pending again", got)
	}
	if n, err := m.Replay(t.Context(), Choice{Events: []string{"e1"}}, nil); n != 0 || err != nil {
		t.Errorf("of what is gone %d were replayed (%v)", n, err)
	}
}

// What became pending between the two statements of a look is seen by the second.
func TestWhatWasReplayedAfterItWasChosenIsNotDeleted(t *testing.T) {
	s := quietly(t, testdb.Postgres(t), time.Now().Add(-48*time.Hour))
	err := s.read.RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error {
		var last, freed int64
		var locked string
		if err := tx.QueryRowContext(ctx, strings.NewReplacer("$1", "0", "$2", "9", "$3", "1").Replace(lockOld)).Scan(&last, &locked); err != nil {
			return err
		}
		if _, err := s.backend.edit().ExecContext(ctx, "UPDATE deliveries SET state = 0"); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, strings.Replace(forgetLocked, "$1", "'"+locked+"'", 1)).Scan(&freed)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := kept(t, s); got != "e0" {
		t.Errorf("kept are %q", got)
	}
}

func TestTheSizeIsAddedUpInPages(t *testing.T) {
	now := time.Now()
	s := quietly(t, testdb.Postgres(t), now, now, now, now)
	p := s.backend.(*postgres)
	want, err := p.size(t.Context())
	if err != nil || want < 4*500 {
		t.Fatalf("%d bytes (%v)", want, err)
	}
	for _, page := range []int{1, 2, 3, 4, 5} {
		if got, err := p.sum(t.Context(), page); got != want || err != nil {
			t.Errorf("%d bytes in pages of %d, want %d (%v)", got, page, want, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.sum(ended, 1); err == nil {
		t.Error("it goes on after the end")
	}
}

func TestWhatTakesLongRestsAHundredTimesAsLong(t *testing.T) {
	var r rest
	began := time.Now()
	if !r.over(began) {
		t.Error("it rests before it has begun")
	}
	ended := began.Add(3 * time.Second)
	if pause := r.after(began, ended); pause != 300*time.Second || r.over(ended.Add(299*time.Second)) || !r.over(ended.Add(300*time.Second)) {
		t.Errorf("it rests for %v", pause)
	}
}
