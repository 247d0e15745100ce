package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/store"
)

func (f *fixture) rejected(pipeline string, status, n int) []core.Rejected {
	all := make([]core.Rejected, n)
	for i := range all {
		all[i] = core.Rejected{
			ID: fmt.Sprint(pipeline, "-", status, "-", i), At: f.clock.now(), Pipeline: pipeline, Status: status, Code: "invalid",
			Remote: netip.MustParseAddr("203.0.113.9"), Reason: "why", Header: http.Header{"User-Agent": {"Sender/1"}}, Bytes: 7,
			Steps: []core.StepTrace{{Stage: "validate", Verdict: "refused", Micros: 3}}, Missed: 2,
		}
	}
	return all
}

func (f *fixture) refuse(t *testing.T, rs []core.Rejected) {
	t.Helper()
	if err := f.KeepRefused(t.Context(), rs); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) refused(t *testing.T, filter store.RefusedFilter) []store.Refused {
	t.Helper()
	filter.Limit = 10_000
	found, err := f.Reader().Refused(t.Context(), filter)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestARefusedRequestIsReadBackWhateverItsTextsHold(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		rs := f.rejected("crm", 422, 1)
		rs[0].Reason = "a\x00b\xff'c\\"
		rs[0].Header = http.Header{"User-Agent": {"a\x00b\xff'c\\"}}
		rs[0].Steps[0].Stage = "s\x00\xff"
		f.refuse(t, rs)
		got, ok, err := f.Reader().Rejection(t.Context(), rs[0].ID)
		if err != nil || !ok {
			t.Fatalf("found %v: %v", ok, err)
		}
		if got.Error != "a\uFFFDb\uFFFD'c\\" || got.Header != `{"User-Agent":["a\u0000b\ufffd'c\\"]}` || !strings.Contains(got.Trace, `"verdict":"refused"`) {
			t.Errorf("%+v", got)
		}
		if got.At != f.clock.now().UnixMicro() || got.Pipeline != "crm" || got.Remote != "203.0.113.9" || got.Status != 422 ||
			got.Code != "invalid" || got.Bytes != 7 || got.Missed != 2 {
			t.Errorf("%+v", got)
		}
		if _, ok, err := f.Reader().Rejection(t.Context(), "another"); ok || err != nil {
			t.Errorf("found %v: %v", ok, err)
		}
	})
}

func TestOfEachPipelineAndStatusTheNewestRefusedRequestsAreKept(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		f.refuse(t, f.rejected("crm", 422, 3))
		f.refuse(t, f.rejected("shop", 401, 4))
		for range 10 {
			f.refuse(t, f.rejected("crm", 401, 50))
		}
		f.refuse(t, append(f.rejected("crm", 401, 1), f.rejected("crm", 500, 1)...))
		if n := len(f.refused(t, store.RefusedFilter{})); n != 200+3+4+1 {
			t.Errorf("%d are kept", n)
		}
		flood := f.refused(t, store.RefusedFilter{Pipeline: "crm", Status: 401})
		if len(flood) != 200 || flood[0].ID != "crm-401-0" || flood[1].ID != "crm-401-49" || flood[199].ID != "crm-401-1" {
			t.Errorf("%d of the flood, from %s to %s", len(flood), flood[0].ID, flood[len(flood)-1].ID)
		}
	})
}

func TestRefusedRequestsAreChosenByWhatIsKnownOfThem(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		f.refuse(t, append(f.rejected("crm", 422, 2), f.rejected("shop", 422, 1)...))
		f.clock.advance(time.Hour)
		rs := f.rejected("crm", 401, 1)
		rs[0].Code = "unauthenticated"
		f.refuse(t, rs)
		for _, test := range []struct {
			filter store.RefusedFilter
			want   int
		}{
			{store.RefusedFilter{}, 4}, {store.RefusedFilter{Pipeline: "crm"}, 3}, {store.RefusedFilter{Status: 422}, 3}, {store.RefusedFilter{Code: "unauthenticated"}, 1},
			{store.RefusedFilter{Since: f.clock.now().Add(-time.Minute)}, 1}, {store.RefusedFilter{Pipeline: "crm", Status: 422}, 2},
		} {
			if got := f.refused(t, test.filter); len(got) != test.want {
				t.Errorf("%+v: %d, want %d", test.filter, len(got), test.want)
			}
		}
	})
}

func TestOldRefusedRequestsAreForgotten(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		f.refuse(t, f.rejected("crm", 422, 1))
		f.clock.advance(2 * time.Hour)
		f.refuse(t, f.rejected("crm", 401, 1))
		f.stop()
		testdb.SetClock(t, url, f.clock.now())
		g := keeping(t, url, f.clock, store.Keep{Age: time.Hour})
		deadline := time.Now().Add(20 * time.Second)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ; ; <-tick.C {
			got, err := g.Reader().Refused(t.Context(), store.RefusedFilter{})
			if err != nil {
				t.Fatal(err)
			}
			if len(got) == 1 && got[0].Status == 401 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%+v", got)
			}
		}
	})
}

// keeping opens the store again, to keep less.
func keeping(t *testing.T, url string, c *clock, keep store.Keep) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url, Log: slog.New(slog.DiscardHandler), Now: c.now, Keep: keep})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Replicas on one PostgreSQL write at the same time; so does the write loop on SQLite.
func TestSeveralKeepRefusedRequestsAtOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 10 {
					if err := f.KeepRefused(t.Context(), append(f.rejected("crm", 401, 25), f.rejected("crm", 422, 25)...)); err != nil {
						t.Error(err)
					}
					if _, err := f.Commit(t.Context(), f.event("", "audit")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		f.refuse(t, append(f.rejected("crm", 401, 1), f.rejected("crm", 422, 1)...))
		if n := len(f.refused(t, store.RefusedFilter{})); n != 400 {
			t.Errorf("%d are kept", n)
		}
		if n := len(f.stored(t)); n != 40 {
			t.Errorf("%d events", n)
		}
	})
}
