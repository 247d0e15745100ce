package delivery_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/store"
)

func manage(t *testing.T, url string) *store.Manager {
	t.Helper()
	m, err := store.OpenManager(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// stubborn fails what is "bad" and waits an hour then.
func stubborn(ran chan<- string) delivery.Subscription {
	sub := listener("a", func(_ context.Context, ev core.Event) error {
		ran <- string(ev.Body)
		if string(ev.Body) == "bad" {
			return errors.New("no")
		}
		return nil
	})
	sub.Retry = delivery.Retry{Attempts: 9, First: time.Hour, Max: time.Hour}
	return sub
}

func expect(t *testing.T, ran <-chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-ran:
			if got != w {
				t.Fatalf("%s ran, want %s", got, w)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s did not run", w)
		}
	}
}

func TestCancellingWhatARecordWaitsForLetsItGoAhead(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		ran := make(chan string, 10)
		r := start(t, url, stubborn(ran))
		bad := r.acceptOne(t, "1", "bad")
		r.acceptOne(t, "1", "good")
		expect(t, ran, "bad")
		r.next(t)
		if n, err := manage(t, url).Cancel(t.Context(), store.Choice{Events: []string{bad.ID}}, nil); n != 1 || err != nil {
			t.Fatalf("%d cancelled (%v)", n, err)
		}
		expect(t, ran, "good")
	})
}

func TestWhatIsCancelledDuringAPauseDoesNotRunAfterIt(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		m := prepared(t, url)
		if err := m.Pause(t.Context(), "a", "test"); err != nil {
			t.Fatal(err)
		}
		ran := make(chan string, 10)
		r := start(t, url, stubborn(ran))
		cancelled := r.acceptOne(t, "", "cancelled")
		r.acceptOne(t, "", "kept")
		if _, err := m.Cancel(t.Context(), store.Choice{Events: []string{cancelled.ID}}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Resume(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		expect(t, ran, "kept")
		r.next(t)
		r.stop()
		if len(ran) > 0 {
			t.Errorf("%s ran too", <-ran)
		}
	})
}

// prepared makes the database first.
func prepared(t *testing.T, url string) *store.Manager {
	t.Helper()
	r := start(t, url)
	r.stop()
	return manage(t, url)
}

func TestADeliveryThatIsRetriedByHandKeepsItsPlace(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		ran := make(chan string, 10)
		r := start(t, url, stubborn(ran))
		bad := r.acceptOne(t, "1", "bad")
		r.acceptOne(t, "1", "good")
		expect(t, ran, "bad")
		r.next(t)
		r.stop()
		if _, err := manage(t, url).Retry(t.Context(), store.Choice{Events: []string{bad.ID}}, nil); err != nil {
			t.Fatal(err)
		}
		start(t, url, stubborn(ran))
		expect(t, ran, "bad")
	})
}

func TestWhatIsAboutNoRecordIsNeverStale(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		sub := listener("a", func(context.Context, core.Event) error { return nil })
		sub.DropStale = true
		r := start(t, url, sub)
		for _, before := range []time.Duration{0, time.Hour} {
			ev := deal()
			ev.OccurredAt = time.Now().Add(-before).Truncate(time.Microsecond)
			ev.Plan.Listeners, _ = r.Route(ev)
			if _, err := r.store.Commit(t.Context(), ev); err != nil {
				t.Fatal(err)
			}
			if got := r.next(t); got.State != core.Done {
				t.Errorf("attempt %+v", got)
			}
		}
	})
}
