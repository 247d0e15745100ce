package rotation

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
)

// memory is States in memory; away makes it fail.
type memory struct {
	mu   sync.Mutex
	all  map[string][]byte
	away error
	slow chan struct{} // when it is not nil, reading waits until it is closed
}

func (m *memory) State(_ context.Context, name string) ([]byte, error) {
	if m.slow != nil {
		<-m.slow
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all[name], m.away
}

func (m *memory) SetState(_ context.Context, name string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = map[string][]byte{}
	}
	m.all[name] = value
	return m.away
}

// server is a Keeper whose time is set by the test.
func server(m *memory, now *time.Time) *Keeper {
	k := NewKeeper(m, func() []Pipeline { return []Pipeline{{Name: "crm"}} }, slog.New(slog.DiscardHandler))
	k.now = func() time.Time { return *now }
	return k
}

const oldPassword, newPassword = "canary-old-password", "canary-new-password"

func begun(t *testing.T, m *memory, st *Status, to string, now time.Time, configured string) Rotation {
	t.Helper()
	r := st.Begin("hook", core.Secret(to), []Credential{{"hook", core.Secret(configured)}}, now)
	if err := r.Save(t.Context(), m, "crm"); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBothPasswordsAreGoodUntilTheNewOneWasUsedAndRetriesAreOver(t *testing.T) {
	m, now := &memory{}, time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	k := server(m, &now)
	judge := func(password string, configured bool) Verdict {
		return k.Judge(t.Context(), "crm", "hook", password, configured)
	}
	if judge(oldPassword, true) != Unknown || judge(newPassword, false) != Unknown {
		t.Error("something is known before a rotation began")
	}
	now = now.Add(time.Second)
	r := begun(t, m, nil, newPassword, now, oldPassword)
	if got := judge("a guess", false); got != Unknown { // and the server has looked
		t.Errorf("a guess: %d", got)
	}
	if judge(oldPassword, true) != Good || judge(oldPassword, false) != Good {
		t.Error("the old one is not good, also when it is not configured any more")
	}
	r.ReplacedAt = now
	if err := r.Save(t.Context(), m, "crm"); err != nil {
		t.Fatal(err)
	}
	k.look(t.Context())
	if k.Try(t.Context(), "crm", "hook", newPassword, false) != Good {
		t.Error("the new one is refused when it is tried")
	}
	now = now.Add(time.Hour)
	if judge(oldPassword, true) != Good {
		t.Error("the old one is refused before the new one was used")
	}
	if judge(newPassword, false) != Good {
		t.Error("the new one is refused")
	}
	now = now.Add(Grace)
	if judge(oldPassword, true) != Good {
		t.Error("the old one is refused while retries may come")
	}
	k.note(t.Context())
	now = now.Add(time.Second)
	if judge(oldPassword, true) != Retired || judge(oldPassword, false) != Retired || judge(newPassword, true) != Good {
		t.Error("the old one is good for ever, or the new one is not")
	}
	if k.Judge(t.Context(), "crm", "other", newPassword, false) != Unknown || k.Judge(t.Context(), "other", "hook", newPassword, false) != Unknown {
		t.Error("the new password is good for another username or pipeline")
	}

	restarted := server(m, &now)
	restarted.look(t.Context())
	if restarted.judge("crm", "hook", oldPassword, true) != Retired || restarted.judge("crm", "hook", newPassword, true) != Good {
		t.Error("a restart forgets")
	}
	for name, value := range m.all {
		if strings.Contains(string(value), "canary") {
			t.Errorf("%s holds a password", name)
		}
	}
	st, err := Load(t.Context(), m, "crm")
	if err != nil || st.OldUsed.IsZero() || st.NewUsed.IsZero() || st.Known.IsZero() || !st.Replaces(Credential{"hook", oldPassword}) || st.Replaces(Credential{"hook", newPassword}) {
		t.Errorf("got %+v, error %v", st, err)
	}

	again := begun(t, m, st, "a third password of length", now, oldPassword)
	k.look(t.Context())
	if judge(oldPassword, true) != Retired || judge(newPassword, false) != Good || judge("a third password of length", false) != Good {
		t.Errorf("a second rotation brings back what was retired, or forgets: %+v", again)
	}
}

func TestWhatIsKnownHoldsWhileTheStoreIsAway(t *testing.T) {
	m, now := &memory{}, time.Now()
	k := server(m, &now)
	begun(t, m, nil, newPassword, now, oldPassword)
	k.look(t.Context())
	m.away = context.DeadlineExceeded
	k.look(t.Context())
	k.note(t.Context())
	if k.judge("crm", "hook", newPassword, true) != Good {
		t.Error("the new one is refused")
	}
	m.away = nil
	k.note(t.Context())
	if st, err := Load(t.Context(), m, "crm"); err != nil || st.NewUsed.IsZero() {
		t.Errorf("the use was not noted later: %+v, %v", st, err)
	}
}

func TestStrangersMakeAServerLookOnlyNowAndThen(t *testing.T) {
	m, now := &memory{}, time.Now()
	k := server(m, &now)
	k.Judge(t.Context(), "crm", "hook", "guess", false)
	begun(t, m, nil, newPassword, now, oldPassword)
	if k.Judge(t.Context(), "crm", "hook", newPassword, false) != Unknown {
		t.Error("it looked again at once")
	}
	now = now.Add(askAgain)
	if k.Judge(t.Context(), "crm", "hook", newPassword, false) != Good {
		t.Error("it did not look again")
	}
}

// A server that has just started is met by many senders at once.
func TestWhoComesWhileAServerLooksIsNotRefused(t *testing.T) {
	m, now := &memory{}, time.Now()
	begun(t, m, nil, newPassword, now, oldPassword)
	m.slow = make(chan struct{})
	k := server(m, &now)
	const senders = 5
	verdicts := make(chan Verdict, senders)
	for range senders {
		go func() { verdicts <- k.Judge(t.Context(), "crm", "hook", newPassword, false) }()
	}
	got := map[Verdict]int{}
	select {
	case v := <-verdicts: // it did not wait
		got[v]++
	case <-time.After(50 * time.Millisecond):
	}
	close(m.slow)
	for got[Unknown]+got[Good] < senders {
		got[<-verdicts]++
	}
	if got[Good] != senders {
		t.Errorf("%d of %d are refused", got[Unknown], senders)
	}
}

// The race detector is what finds fault here.
func TestANewCredentialMayBeUsedTheMomentItIsKnown(t *testing.T) {
	m, now := &memory{}, time.Now()
	r := begun(t, m, nil, newPassword, now, oldPassword)
	r.ReplacedAt = now
	if err := r.Save(t.Context(), m, "crm"); err != nil {
		t.Fatal(err)
	}
	k := server(m, &now)
	used := make(chan struct{})
	go func() {
		defer close(used)
		for k.judge("crm", "hook", newPassword, true) == Unknown {
			runtime.Gosched()
		}
	}()
	k.look(t.Context())
	<-used
}

func TestWhatWasTakenBackIsForgotten(t *testing.T) {
	m, now := &memory{}, time.Now()
	k := server(m, &now)
	first := begun(t, m, nil, newPassword, now, oldPassword)
	k.look(t.Context())
	before, err := Load(t.Context(), m, "crm")
	if err != nil {
		t.Fatal(err)
	}
	second := begun(t, m, before, "a third password of length", now, newPassword)
	k.look(t.Context())
	if err := second.TakeBack(t.Context(), m, "crm", before); err != nil {
		t.Fatal(err)
	}
	k.look(t.Context())
	if k.judge("crm", "hook", "a third password of length", true) != Unknown || k.judge("crm", "hook", newPassword, true) != Good {
		t.Error("the second rotation holds, or the first does not")
	}
	if err := second.TakeBack(t.Context(), m, "crm", nil); err != nil { // it is not there any more
		t.Fatal(err)
	}
	if err := first.TakeBack(t.Context(), m, "crm", nil); err != nil {
		t.Fatal(err)
	}
	k.look(t.Context())
	if k.judge("crm", "hook", newPassword, true) != Unknown {
		t.Error("the first rotation holds")
	}
}

func TestTheLogSaysWhereAChangeStands(t *testing.T) {
	m, now := &memory{}, time.Now()
	r := begun(t, m, nil, newPassword, now, oldPassword)
	r.ReplacedAt = now
	if err := errors.Join(r.Save(t.Context(), m, "crm"), write(t.Context(), m, stateName("crm", partNew), Use{r.ID, now})); err != nil {
		t.Fatal(err)
	}
	now = now.Add(Grace + time.Second)
	var log strings.Builder
	password := core.Secret("a password made by hand")
	k := NewKeeper(m, func() []Pipeline { return []Pipeline{{"crm", []Credential{{"hook", password}}}} }, slog.New(slog.NewTextHandler(&log, nil)))
	k.now = func() time.Time { return now }
	k.look(t.Context())
	k.look(t.Context())
	if got := log.String(); !strings.Contains(got, "the old one is refused") || strings.Contains(got, "being changed") || strings.Count(got, "level=WARN") != 1 {
		t.Errorf("got %s", got)
	}
	log.Reset()
	password = newPassword
	k.look(t.Context())
	if log.Len() > 0 {
		t.Errorf("got %s", log.String())
	}
}
