package spool_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a store that can be away, slow or choosy.
type memory struct {
	mu      sync.Mutex
	away    error
	hang    chan struct{} // Commit waits for it
	refuses string        // body
	repeats string        // body of a duplicate
	ids     []string
	stored  map[string]*core.Event
	changed chan struct{}
}

func newMemory() *memory {
	return &memory{stored: map[string]*core.Event{}, changed: make(chan struct{}, 1)}
}

var errAway = &core.Error{Kind: core.Unavailable, Msg: "the database is away"}

func (m *memory) Commit(ctx context.Context, ev *core.Event) (core.Receipt, error) {
	m.mu.Lock()
	hang := m.hang
	m.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return core.Receipt{}, &core.Error{Kind: core.Unavailable, Msg: "too late", Err: context.Cause(ctx)}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away != nil {
		return core.Receipt{}, m.away
	}
	if string(ev.Body) == m.repeats {
		return core.Receipt{ID: "first", Duplicate: true}, nil
	}
	if string(ev.Body) == m.refuses {
		return core.Receipt{}, &core.Error{Kind: core.Permanent, Msg: "never"}
	}
	if m.stored[ev.ID] == nil {
		m.ids = append(m.ids, ev.ID)
	}
	m.stored[ev.ID] = ev
	select {
	case m.changed <- struct{}{}:
	default:
	}
	return core.Receipt{ID: ev.ID}, nil
}

func (m *memory) CommitAll(ctx context.Context, evs []*core.Event) (settled []core.Receipt, err error) {
	for _, ev := range evs {
		receipt, err := m.Commit(ctx, ev)
		if err != nil {
			return settled, err
		}
		settled = append(settled, receipt)
	}
	return settled, nil
}

func (m *memory) Seen(context.Context, string, []byte, time.Time) (string, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return "first", m.away == nil, m.away
}

func (m *memory) set(change func(m *memory)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m)
}

// has waits until n events are stored.
func (m *memory) has(t *testing.T, n int) []string {
	t.Helper()
	for {
		m.mu.Lock()
		ids := slices.Clone(m.ids)
		m.mu.Unlock()
		if len(ids) >= n {
			return ids
		}
		select {
		case <-m.changed:
		case <-time.After(20 * time.Second):
			t.Fatalf("%d of %d events were stored", len(ids), n)
		}
	}
}

func event(id string) *core.Event {
	return &core.Event{
		ID: id, Pipeline: "p", Source: "s", ReceivedAt: time.Unix(1, 0).UTC(), Action: "updated", Object: "deal", ObjectID: "7",
		Header: http.Header{"Authorization": {"Basic c2VjcmV0"}, "User-Agent": {"x"}}, Body: []byte("body of " + id),
		Plan:  core.Plan{Store: true, Listeners: []string{"a"}, Key: []byte{0, 255}, Window: time.Hour, State: []byte{1, 254}},
		Steps: []core.StepTrace{{Stage: "persist", Verdict: "continue", Micros: 3}},
	}
}

func options(t *testing.T, store spool.Store) spool.Options {
	return spool.Options{
		Dir: t.TempDir(), Store: store, Retry: time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Restore: func(ev *core.Event) error { ev.Version = "restored"; return nil },
		Limits:  spool.Limits{After: 5 * time.Second, MaxBytes: 1 << 20},
	}
}

func open(t *testing.T, opts spool.Options) *spool.Spool {
	t.Helper()
	s, err := spool.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs s until stop is called, which is safe twice.
func run(t *testing.T, s *spool.Spool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }() // ends with ctx
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func commit(t *testing.T, s *spool.Spool, id string) {
	t.Helper()
	r, err := s.Commit(t.Context(), event(id))
	if err != nil || r.ID != id || r.Duplicate {
		t.Fatalf("commit of %s: %+v, %v", id, r, err)
	}
}

func files(t *testing.T, dir, suffix string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// emptied waits until events go to the store directly.
func emptied(t *testing.T, s *spool.Spool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !s.State().Since.IsZero(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("the spool is not emptied: %+v", s.State())
		}
	}
}

func TestWhileTheStoreWorksNothingIsWrittenToTheFolder(t *testing.T) {
	m := newMemory()
	opts := options(t, m)
	s := open(t, opts)
	run(t, s)
	commit(t, s, "a")
	if found := files(t, opts.Dir, ""); len(found) > 0 {
		t.Errorf("the folder holds %v", found)
	}
	if id, ok, err := s.Seen(t.Context(), "p", nil, time.Time{}); id != "first" || !ok || err != nil {
		t.Errorf("seen: %q %v %v", id, ok, err)
	}
}

func TestEventsWaitForTheStoreInTheirOrder(t *testing.T) {
	m := newMemory()
	opts := options(t, m)
	s := open(t, opts)
	run(t, s)
	m.set(func(m *memory) { m.away = errAway })
	var ids []string
	for i := range 600 { // more than one batch
		ids = append(ids, fmt.Sprint(i))
		commit(t, s, ids[i])
	}
	if st := s.State(); st.Bytes == 0 || st.Since.IsZero() || !errors.Is(st.Cause, errAway) {
		t.Errorf("state %+v", st)
	}
	if _, ok, err := s.Seen(t.Context(), "p", nil, time.Time{}); ok || err != nil {
		t.Errorf("a store that is away has seen a key, or fails the request: %v", err)
	}
	m.set(func(m *memory) { m.away = nil })
	if got := m.has(t, len(ids)); !slices.Equal(got, ids) {
		t.Errorf("stored in the order %v", got)
	}
	emptied(t, s)
	if found := files(t, opts.Dir, ""); len(found) > 0 {
		t.Errorf("the folder still holds %v", found)
	}
	got, want := m.stored["7"], event("7")
	if string(got.Body) != string(want.Body) || got.Version != "restored" || fmt.Sprint(got.Plan) != fmt.Sprint(want.Plan) ||
		fmt.Sprint(got.Steps) != fmt.Sprint(want.Steps) || !got.ReceivedAt.Equal(want.ReceivedAt) {
		t.Errorf("it came back as %+v", got)
	}
	commit(t, s, "direct")
}

func TestASlowStoreIsNotWaitedFor(t *testing.T) {
	m := newMemory()
	opts := options(t, m)
	opts.Limits.After = 10 * time.Millisecond
	s := open(t, opts)
	run(t, s)
	hang := make(chan struct{})
	m.set(func(m *memory) { m.hang = hang })
	commit(t, s, "a")
	commit(t, s, "b")
	close(hang)
	if got := m.has(t, 2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("stored %v", got)
	}
}

func TestHalfOfTheSendersTimeIsLeftForTheDisk(t *testing.T) {
	m := newMemory()
	m.hang = make(chan struct{})
	s := open(t, options(t, m))
	stop := run(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := s.Commit(ctx, event("a")); err != nil {
		t.Error(err)
	}
	close(m.hang)
	stop()
}

func TestWhatAnEarlierProcessLeftComesFirst(t *testing.T) {
	m := newMemory()
	m.away = errAway
	opts := options(t, m)
	s := open(t, opts)
	stop := run(t, s)
	commit(t, s, "old")
	stop()
	s = open(t, opts)
	run(t, s)
	commit(t, s, "new")
	m.set(func(m *memory) { m.away = nil })
	if got := m.has(t, 2); !slices.Equal(got, []string{"old", "new"}) {
		t.Errorf("stored %v", got)
	}
}

func TestAFullSpoolSaysSoAndTakesEventsAgainOnceItHasRoom(t *testing.T) {
	m := newMemory()
	m.away = errAway
	opts := options(t, m)
	opts.Limits.MaxBytes = 2000
	s := open(t, opts)
	run(t, s)
	kept := 0
	var err error
	for err == nil {
		if _, err = s.Commit(t.Context(), event(fmt.Sprint(kept))); err == nil {
			kept++
		}
	}
	if e, ok := errors.AsType[*core.Error](err); kept == 0 || !ok || e.Kind != core.Unavailable || !strings.Contains(e.Err.Error(), "may hold 2000") {
		t.Fatalf("after %d events: %v", kept, err)
	}
	if s.State().Full == nil {
		t.Error("the state does not say that it is full")
	}
	m.set(func(m *memory) { m.away = nil })
	m.has(t, kept)
	emptied(t, s)
	commit(t, s, "later")
}

func TestAFolderThatCannotBeWrittenToFailsTheRequestAndRecovers(t *testing.T) {
	m := newMemory()
	m.away = errAway
	opts := options(t, m)
	dir := filepath.Join(opts.Dir, "sub")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	opts.Dir = dir
	s := open(t, opts)
	run(t, s)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), event("a")); !errors.Is(err, errAway) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the error does not say what both came to: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	commit(t, s, "b")
}

func TestAnEventThatTheStoreRefusesForGoodIsPutAside(t *testing.T) {
	m := newMemory()
	m.away = errAway
	m.refuses = "body of bad"
	opts := options(t, m)
	s := open(t, opts)
	run(t, s)
	for _, id := range []string{"a", "bad", "b"} {
		commit(t, s, id)
	}
	m.set(func(m *memory) { m.away = nil })
	if got := m.has(t, 2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("stored %v", got)
	}
	emptied(t, s)
	if found := files(t, opts.Dir, ".refused"); len(found) != 1 || !strings.Contains(found[0], "bad") {
		t.Errorf("put aside: %v", found)
	}
}

func TestNoCredentialIsWrittenToTheDisk(t *testing.T) {
	m := newMemory()
	m.away = errAway
	opts := options(t, m)
	s := open(t, opts)
	run(t, s)
	commit(t, s, "a")
	data, err := os.ReadFile(files(t, opts.Dir, ".spool")[0])
	if err != nil || strings.Contains(string(data), "c2VjcmV0") || !strings.Contains(string(data), "User-Agent") {
		t.Errorf("the file holds %q (%v)", data, err)
	}
}

// The sender of a duplicate was told an id of its own; the log is where it can be found again.
func TestADuplicateThatWaitedIsNamedInTheLog(t *testing.T) {
	m := newMemory()
	m.away, m.repeats = errAway, "body of again"
	opts := options(t, m)
	var log strings.Builder
	opts.Log = slog.New(slog.NewTextHandler(&log, nil))
	s := open(t, opts)
	stop := run(t, s)
	commit(t, s, "again")
	m.set(func(m *memory) { m.away = nil })
	emptied(t, s)
	stop()
	if !strings.Contains(log.String(), "event=again first=first") {
		t.Errorf("the log says %s", log.String())
	}
}

func TestWhatIsPutAsideReplacesNothingThatIsThere(t *testing.T) {
	opts := options(t, newMemory())
	for _, text := range []string{"first damage", "second damage"} {
		if err := os.WriteFile(filepath.Join(opts.Dir, "00000001.spool"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := open(t, opts).Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var texts []string
	for _, file := range files(t, opts.Dir, ".damaged") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	if slices.Sort(texts); !slices.Equal(texts, []string{"first damage", "second damage"}) {
		t.Errorf("put aside: %q", texts)
	}
}

// left is what a process leaves that kept events in a store's absence.
func left(t *testing.T, ids ...string) (dir string, data []byte) {
	t.Helper()
	m := newMemory()
	m.away = errAway
	opts := options(t, m)
	s := open(t, opts)
	stop := run(t, s)
	for _, id := range ids {
		commit(t, s, id)
	}
	stop()
	data, err := os.ReadFile(files(t, opts.Dir, ".spool")[0])
	if err != nil {
		t.Fatal(err)
	}
	return opts.Dir, data
}

// drained is what a store gets of a file.
func drained(t *testing.T, data []byte) (ids []string, aside int) {
	t.Helper()
	m := newMemory()
	opts := options(t, m)
	if err := os.WriteFile(filepath.Join(opts.Dir, "00000001.spool"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t, opts).Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found := files(t, opts.Dir, ".spool"); len(found) > 0 {
		t.Errorf("%v was left", found)
	}
	return m.ids, len(files(t, opts.Dir, ".damaged"))
}

func TestAFileThatWasCutAnywhereGivesWhatIsWholeAndKeepsTheRest(t *testing.T) {
	_, one := left(t, "a")
	_, two := left(t, "a", "b")
	for cut := range len(two) {
		ids, aside := drained(t, two[:cut])
		want, wantAside := []string{}, 1
		if cut >= len(one) {
			want = []string{"a"}
		}
		if cut == 0 || cut == len(one) {
			wantAside = 0
		}
		if !slices.Equal(ids, want) || aside != wantAside {
			t.Fatalf("cut at %d of %d: %v, %d put aside", cut, len(two), ids, aside)
		}
	}
}

func TestAChangedByteIsNeverDelivered(t *testing.T) {
	_, good := left(t, "a")
	for i := range good {
		data := slices.Clone(good)
		data[i] ^= 0x10
		if ids, aside := drained(t, data); len(ids) > 0 || aside != 1 {
			t.Fatalf("byte %d changed: %v, %d put aside", i, ids, aside)
		}
	}
}

func FuzzDrain(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x04\x00\x00\x00\xc6\x4b\x67\x48\x00\x00\x00\x00")) // no meta data
	f.Fuzz(func(t *testing.T, data []byte) { drained(t, data) })
}

func TestWhatWasSaidOfAnEventWaitsWithIt(t *testing.T) {
	m := newMemory()
	m.away = errAway
	opts := options(t, m)
	opts.Restore = func(ev *core.Event) error {
		return ev.Restore(func(ev *core.Event) error { ev.Action, ev.Object, ev.ObjectID = "updated", "deal", "7"; return nil })
	}
	s := open(t, opts)
	stop := run(t, s)
	ev, id := event("a"), "8"
	if _, err := ev.Amend(core.Amendment{Labels: map[string]string{"size": "large"}, ObjectID: &id}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	stop() // the process ends; the next one finds it
	m.mu.Lock()
	m.away = nil
	m.mu.Unlock()
	next := open(t, opts)
	run(t, next)
	m.has(t, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	if got := m.stored["a"]; got.ObjectID != "8" || got.Labels["size"] != "large" || got.Overlay != ev.Overlay || got.Record() != ev.Record() {
		t.Errorf("stored %+v", got)
	}
}

// What it compares with would be stale by the time it came out of a file.
func TestAnEventThatComparesWithTheStoreDoesNotWaitInAFile(t *testing.T) {
	m := newMemory()
	m.away = errAway
	opts := options(t, m)
	s := open(t, opts)
	run(t, s)
	ev := event("a")
	ev.Plan.After = 7
	if _, err := s.Commit(t.Context(), ev); core.KindOf(err) != core.Unavailable {
		t.Errorf("while the store is away: %v", err)
	}
	if st := s.State(); !st.Since.IsZero() {
		t.Errorf("the spool is used: %+v", st)
	}
	commit(t, s, "b") // waits
	if _, err := s.Commit(t.Context(), ev); core.KindOf(err) != core.Unavailable {
		t.Errorf("while others wait: %v", err)
	}
	m.set(func(m *memory) { m.away = nil })
	m.has(t, 1)
	emptied(t, s)
	if r, err := s.Commit(t.Context(), ev); err != nil || r.ID != "a" {
		t.Errorf("once the store is back: %+v (%v)", r, err)
	}
}
