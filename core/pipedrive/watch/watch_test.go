package watch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pipehook/pipehook/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf keeps states in memory.
type shelf struct {
	mu   sync.Mutex
	at   map[string][]byte
	away error
}

func (s *shelf) State(_ context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at[name], s.away
}

func (s *shelf) SetState(_ context.Context, name string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[string][]byte{}
	}
	if s.away == nil {
		s.at[name] = bytes.Clone(value)
	}
	return s.away
}

// bench is a watch whose clock and surroundings are a test's.
type bench struct {
	*Watch
	now   time.Time
	log   *bytes.Buffer
	gaps  []string
	deaf  error  // of who is told of them
	gone  string // a pipeline
	every time.Duration
	odd   float64
	shelf *shelf
}

func newBench(t *testing.T, s *shelf, api API) *bench {
	t.Helper()
	return benchAt(t, s, api, time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC))
}

// benchAt is one that starts at a time.
func benchAt(t *testing.T, s *shelf, api API, now time.Time) *bench {
	t.Helper()
	b := &bench{now: now, log: &bytes.Buffer{}, shelf: s, every: 10 * time.Minute, odd: 10}
	b.Watch = New(Options{
		States: s, API: api, Every: func() time.Duration { return b.every }, Quiet: func() float64 { return b.odd }, Log: slog.New(slog.NewTextHandler(b.log, nil)), Now: func() time.Time { return b.now },
		Has: func(pipeline string) bool { return pipeline != b.gone },
		OnGap: func(_ context.Context, since time.Time, why string) error {
			if b.deaf == nil {
				b.gaps = append(b.gaps, since.Format(time.TimeOnly)+" "+why)
			}
			return b.deaf
		},
	})
	return b
}

// answered is a request of Pipedrive's and its answer, a second later than the last.
func (b *bench) answered(status int, change func(ev *core.Event)) {
	b.now = b.now.Add(time.Second)
	ev := &core.Event{Pipeline: "crm", Header: http.Header{"User-Agent": {"Pipedrive Webhooks"}}, Attempt: 1, Meta: json.RawMessage(`{"webhook_id":"7"}`)}
	if change != nil {
		change(ev)
	}
	b.Seen(ev, status, time.Millisecond)
}

// later goes on after a time.
func (b *bench) later(t *testing.T, after time.Duration) {
	t.Helper()
	b.now = b.now.Add(after)
	b.step(t.Context())
}

// notRead makes it a request whose body was not read before it was refused.
func notRead(ev *core.Event) { ev.Meta, ev.Attempt = nil, 0 }

func (b *bench) said(level string) int { return strings.Count(b.log.String(), "level="+level) }

func TestFirstAttemptsThatFailAreCounted(t *testing.T) {
	none := func(*core.Event) {}
	tests := []struct {
		name   string
		status int
		took   time.Duration
		ev     func(ev *core.Event)
		counts bool
	}{
		{"a first attempt that fails", 500, 0, none, true},
		{"a redirect", 302, 0, none, true},
		{"a success", 200, 0, none, false},
		{"a success that came too late", 200, 11 * time.Second, none, true},
		{"a retry", 500, 0, func(ev *core.Event) { ev.Attempt = 2 }, false},
		{"a request that was refused before its body was read", 401, 0, notRead, true},
		{"a stranger", 401, 0, func(ev *core.Event) { ev.Header, ev.Meta, ev.Attempt = http.Header{"User-Agent": {"curl"}}, nil, 0 }, false},
		{"a stranger whose body was read before he was refused", 401, 0, func(ev *core.Event) { ev.Header = http.Header{"User-Agent": {"curl"}} }, false},
		{"a sender with another name that was let in", 500, 0, func(ev *core.Event) { ev.Header = http.Header{"User-Agent": {"curl"}} }, true},
		{"what pipehook made itself", 503, 0, func(ev *core.Event) { ev.Origin = core.OriginReconcile }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, &shelf{}, nil)
			ev := &core.Event{Pipeline: "crm", Header: http.Header{"User-Agent": {"Pipedrive Webhooks"}}, Attempt: 1, Meta: json.RawMessage(`{"webhook_id":7}`)}
			test.ev(ev)
			b.Seen(ev, test.status, test.took)
			if got := b.Pipelines()["crm"].Failed == 1; got != test.counts {
				t.Errorf("counted: %v", got)
			}
		})
	}
}

func TestABanIsForeseenSuspectedAndOver(t *testing.T) {
	b := newBench(t, &shelf{}, nil)
	for n := 1; n <= 10; n++ {
		b.answered(500, nil)
		b.answered(200, nil) // a success does not lower the count
		wantWarn, wantErr := 0, 0
		for _, at := range []int{5, 8} {
			if n >= at {
				wantWarn++
			}
		}
		if n == 10 {
			wantErr = 1
		}
		if b.said("WARN") != wantWarn || b.said("ERROR") != wantErr {
			t.Errorf("after %d: %d warnings, %d errors\n%s", n, b.said("WARN"), b.said("ERROR"), b.log)
		}
		if err := b.Check(); (err != nil) != (n >= 5) {
			t.Errorf("after %d it is %v", n, err)
		}
		if s := b.Pipelines()["crm"]; s.Failed != n || s.Suspected != (n == 10) {
			t.Errorf("after %d: %+v", n, s)
		}
	}
	began := b.now.Add(-time.Second)
	b.now = began.Add(29 * time.Minute)
	b.step(t.Context())
	if len(b.gaps) != 0 {
		t.Errorf("told too early: %v", b.gaps)
	}
	b.now = began.Add(30 * time.Minute)
	b.step(t.Context())
	if len(b.gaps) != 1 || !strings.HasPrefix(b.gaps[0], began.Format(time.TimeOnly)) {
		t.Errorf("told of %v", b.gaps)
	}
	if s := b.Pipelines()["crm"]; s.Failed != 0 || s.Suspected || b.Check() != nil {
		t.Errorf("afterwards: %+v, %v", s, b.Check())
	}
	b.step(t.Context())
	if len(b.gaps) != 1 {
		t.Errorf("told again: %v", b.gaps)
	}
}

func TestFailuresOfTwoWebhooksAreTwoCounts(t *testing.T) {
	b := newBench(t, &shelf{}, nil)
	other := func(ev *core.Event) { ev.Meta = json.RawMessage(`{"webhook_id":8}`) }
	for range 6 {
		b.answered(500, nil)
	}
	for range 3 {
		b.answered(500, other)
	}
	for range 2 {
		b.answered(401, notRead) // may be of either
	}
	if s := b.Pipelines()["crm"]; s.Failed != 8 || s.Suspected {
		t.Errorf("%+v", s)
	}
}

// Who is let in may name any webhook, and what is kept has to fit into a state.
func TestWhatBodiesSayOfTheirWebhookIsBounded(t *testing.T) {
	t.Run("ids", func(t *testing.T) {
		for meta, want := range map[string]string{
			`{"webhook_id":7}`: "7", `{"webhook_id":"7"}`: "7", `{"webhook_id":"123456789012345678901"}`: "123456789012345678901",
			`{}`: "", `{"webhook_id":null}`: "", `{"webhook_id":"seven"}`: "", `{"webhook_id":-7}`: "", `{"webhook_id":12345678901234567890}`: "12345678901234567890", `{"webhook_id":7.5}`: "", `{"webhook_id":true}`: "", `{"webhook_id":[7]}`: "",
			`{"webhook_id":"` + strings.Repeat("7", 33) + `"}`: "",
		} {
			if got := webhookID(json.RawMessage(meta)); got != want {
				t.Errorf("%s: %q", meta, got)
			}
		}
	})
	t.Run("number", func(t *testing.T) {
		b := newBench(t, &shelf{}, nil)
		for id := range 10 * mostWebhooks {
			for n := range 3 * banAt {
				b.fails.add(fmt.Sprint("crm-", id%5), fmt.Sprintf("%032d", id), b.now.Add(time.Duration(n)))
			}
		}
		b.step(t.Context())
		if n := len(b.shelf.at[stateName]); n > 128<<10 { // half of what a state may be
			t.Errorf("%d bytes are kept", n)
		}
	})
}

func TestAWebhookThatSpeaksIsNotSilenced(t *testing.T) {
	b := newBench(t, &shelf{}, nil)
	for range 10 {
		b.answered(500, nil)
	}
	b.answered(200, nil) // was under way
	b.now = b.now.Add(2 * time.Minute)
	b.answered(200, func(ev *core.Event) { ev.Attempt = 3 })
	b.answered(200, func(ev *core.Event) { ev.Meta = json.RawMessage(`{"webhook_id":8}`) })
	if !b.Pipelines()["crm"].Suspected {
		t.Error("a retry, or another webhook, has ended the suspicion")
	}
	b.answered(200, nil)
	b.step(t.Context())
	if s := b.Pipelines()["crm"]; s.Suspected || s.Failed != 0 || len(b.gaps) != 1 {
		t.Errorf("%+v, told of %v", s, b.gaps)
	}
}

func TestAFirstAttemptOfWhatHappenedSinceEndsTheSuspicionAtOnce(t *testing.T) {
	b := newBench(t, &shelf{}, nil)
	for range 10 {
		b.answered(500, nil)
	}
	began := b.now
	before := func(ev *core.Event) { ev.OccurredAt = began.Add(-time.Second) }
	since := func(ev *core.Event) { ev.OccurredAt = began.Add(2 * time.Second) }
	b.answered(200, before)
	b.answered(200, func(ev *core.Event) { since(ev); ev.Attempt = 2 })
	if !b.Pipelines()["crm"].Suspected {
		t.Error("what was under way has ended the suspicion")
	}
	b.answered(200, since)
	b.step(t.Context())
	if s := b.Pipelines()["crm"]; s.Suspected || s.Failed != 0 || len(b.gaps) != 1 {
		t.Errorf("%+v, told of %v", s, b.gaps)
	}
}

func TestOnlyWhatWasTakenIsADelivery(t *testing.T) {
	b := newBench(t, &shelf{}, nil)
	b.answered(401, notRead)
	if s, known := b.Pipelines()["crm"]; !known || !s.Last.IsZero() || s.Failed != 1 {
		t.Errorf("after a refusal %+v", s)
	}
	b.answered(200, nil)
	took := b.now
	b.answered(401, notRead)
	if s := b.Pipelines()["crm"]; !s.Last.Equal(took) {
		t.Errorf("the last one was at %s, want %s", s.Last, took)
	}
}

func TestFailuresAreForgottenAfterThreeDays(t *testing.T) {
	b := newBench(t, &shelf{}, nil)
	for range 9 {
		b.answered(500, nil)
	}
	b.now = b.now.Add(forget)
	b.answered(500, nil)
	b.step(t.Context())
	if s := b.Pipelines()["crm"]; s.Failed != 1 {
		t.Errorf("%+v", s)
	}
}

func TestWhatIsCountedOutlivesTheProcessAndIsSharedByReplicas(t *testing.T) {
	s := &shelf{}
	a := newBench(t, s, nil)
	b := newBench(t, s, nil)
	b.now = b.now.Add(100 * time.Millisecond)
	for range 5 {
		a.answered(500, nil)
		b.answered(500, nil)
	}
	for range 2 {
		a.step(t.Context())
		b.step(t.Context())
	}
	next := newBench(t, s, nil)
	next.now = a.now.Add(time.Second)
	next.step(t.Context())
	for name, w := range map[string]*bench{"one": a, "the other": b, "the next": next} {
		if s := w.Pipelines()["crm"]; s.Failed != 10 || !s.Suspected {
			t.Errorf("%s: %+v", name, s)
		}
	}
	next.now = next.now.Add(banFor)
	next.step(t.Context())
	a.now = next.now
	a.step(t.Context())
	if s := a.Pipelines()["crm"]; s.Failed != 0 || len(a.gaps)+len(next.gaps) == 0 {
		t.Errorf("after the ban: %+v", s)
	}
}

func TestSilenceIsToldOnceItIsMuchLongerThanUsual(t *testing.T) {
	tests := []struct {
		name    string
		gap     time.Duration
		events  int
		silence time.Duration
		odd     bool
	}{
		{"ten times a usual gap of two minutes", 2 * time.Minute, 40, 21 * time.Minute, true},
		{"less than that", 2 * time.Minute, 40, 19 * time.Minute, false},
		{"never below a quarter of an hour", time.Second, 40, 14 * time.Minute, false},
		{"above it", time.Second, 40, 16 * time.Minute, true},
		{"too few to know what is usual", time.Minute, 20, 24 * time.Hour, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, &shelf{}, nil)
			for range test.events {
				b.now = b.now.Add(test.gap - time.Second)
				b.answered(200, nil)
			}
			b.later(t, test.silence)
			b.step(t.Context())
			if got := b.said("WARN"); got != map[bool]int{true: 1}[test.odd] {
				t.Errorf("%d warnings\n%s", got, b.log)
			}
			b.answered(200, nil)
			if strings.Contains(b.log.String(), "come again") != test.odd {
				t.Errorf("it says\n%s", b.log)
			}
		})
	}
}

// Nothing can come while nobody serves.
func TestSilenceCountsFromTheStartOfAProcess(t *testing.T) {
	s := &shelf{}
	b := newBench(t, s, nil)
	for range 40 {
		b.now = b.now.Add(time.Minute)
		b.answered(200, nil)
	}
	b.step(t.Context())
	next := benchAt(t, s, nil, b.now.Add(time.Hour))
	next.step(t.Context())
	if strings.Contains(next.log.String(), "longer than usual") {
		t.Errorf("right after the start it says\n%s", next.log)
	}
	next.later(t, 16*time.Minute)
	if !strings.Contains(next.log.String(), "longer than usual") {
		t.Errorf("a silence since the start is not told\n%s", next.log)
	}
}

func TestAPipelineThatIsGoneIsForgotten(t *testing.T) {
	s := &shelf{}
	b := newBench(t, s, nil)
	for range 40 {
		b.answered(200, nil)
		b.answered(200, func(ev *core.Event) { ev.Pipeline = "former" })
	}
	b.step(t.Context())
	next := newBench(t, s, nil)
	next.gone = "former"
	next.step(t.Context())
	next.later(t, time.Hour)
	if _, known := next.Pipelines()["former"]; known || next.said("WARN") != 1 || strings.Contains(next.log.String(), "former") || strings.Contains(string(s.at[stateName]), "former") {
		t.Errorf("it says\n%s\nand keeps %s", next.log, s.at[stateName])
	}
}

func TestATimeInWhichNobodyServedIsTold(t *testing.T) {
	s := &shelf{}
	b := newBench(t, s, nil)
	run := func(away time.Duration, want int) {
		t.Helper()
		b.now, b.gaps, b.begun = b.now.Add(away), nil, false
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(b.gaps) != want {
			t.Errorf("after %s: %v", away, b.gaps)
		}
	}
	run(0, 0)
	run(time.Minute, 0)
	run(2*time.Hour, 1)
	s.away = fmt.Errorf("away")
	run(2*time.Hour, 0)
	next := newBench(t, s, nil)
	next.now = b.now
	next.step(t.Context())
	s.away = nil
	next.step(t.Context())
	if len(next.gaps) != 1 {
		t.Errorf("once the states are back: %v", next.gaps)
	}
}

// What is refused before its body was read does not say whether it is a retry; its time does.
func TestRetriesOfWhatWasRefusedUnreadAreNotCounted(t *testing.T) {
	for name, schedule := range map[string][]time.Duration{
		"counted from the try before": {0, 3, 33, 183},
		"counted from the first try":  {0, 3, 30, 150},
		"a little late":               {0, 5, 36, 188},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, &shelf{}, nil)
			start := b.now
			var at []time.Duration
			for delivery := range 4 { // a second apart, so that their tries are among each other
				for _, s := range schedule {
					at = append(at, s*time.Second+time.Duration(delivery)*time.Second)
				}
			}
			slices.Sort(at)
			for _, d := range at {
				b.now = start.Add(d - time.Second)
				b.answered(401, notRead)
			}
			if s := b.Pipelines()["crm"]; s.Failed != 4 {
				t.Errorf("%d are counted, want 4", s.Failed)
			}
			b.now = b.now.Add(time.Hour)
			b.answered(401, notRead)
			if s := b.Pipelines()["crm"]; s.Failed != 5 {
				t.Errorf("later %d are counted, want 5", s.Failed)
			}
		})
	}
}

// Who mends a password tries it, and what was refused before that is not undone by it.
func TestWhatPipehookSendsItselfIsNoWordOfPipedrives(t *testing.T) {
	b := newBench(t, &shelf{}, nil)
	for range 10 {
		b.now = b.now.Add(time.Hour) // each is a first attempt
		b.answered(http.StatusUnauthorized, notRead)
	}
	last := b.Pipelines()["crm"].Last
	for _, agent := range []string{"pipehook trigger", "pipehook webhooks test"} {
		b.answered(http.StatusOK, func(ev *core.Event) {
			ev.Header = http.Header{"User-Agent": {agent}}
			ev.Meta, ev.OccurredAt = json.RawMessage(`{"webhook_id":"1"}`), b.now
		})
		b.step(t.Context())
		if s := b.Pipelines()["crm"]; !s.Suspected || s.Last != last || len(b.gaps) > 0 {
			t.Errorf("%s: %+v, gaps %v", agent, s, b.gaps)
		}
	}
	b.answered(http.StatusOK, func(ev *core.Event) { ev.OccurredAt = b.now })
	b.step(t.Context())
	if s := b.Pipelines()["crm"]; s.Suspected || len(b.gaps) != 1 {
		t.Errorf("Pipedrive sends: %+v, gaps %v", s, b.gaps)
	}
}

// Who is told may be away when a process starts or a ban ends, and the process may not live until it is back.
func TestAGapThatCouldNotBeToldIsToldOnceThatIsPossible(t *testing.T) {
	banned := func(b *bench) {
		for range 10 {
			b.answered(500, nil)
		}
		b.step(t.Context())
	}
	for want, gap := range map[string]func(b *bench){
		"no process served": func(b *bench) { b.now, b.begun = b.now.Add(time.Hour), false },
		"Pipedrive has probably silenced a webhook of pipeline crm": func(b *bench) {
			banned(b)
			for range 30 {
				b.now = b.now.Add(time.Minute)
				b.keep(t.Context())
			}
		},
		"Pipedrive may have silenced a webhook of pipeline crm": func(b *bench) {
			banned(b)
			b.answered(200, func(ev *core.Event) { ev.OccurredAt = b.now.Add(2 * time.Second) })
		},
	} {
		for _, by := range []string{"the process", "another"} {
			t.Run(want+", by "+by, func(t *testing.T) {
				kept := &shelf{}
				a := newBench(t, kept, nil)
				a.step(t.Context())
				a.deaf = errors.New("away")
				gap(a)
				a.step(t.Context())
				if len(a.gaps) != 0 || !strings.Contains(a.log.String(), "can't be told\" err=\"since 2026-11-01T12:00:") {
					t.Errorf("told of %v\n%s", a.gaps, a.log)
				}
				first := a
				if by == "another" {
					first = benchAt(t, kept, nil, a.now.Add(time.Minute))
				}
				a.deaf = nil
				first.step(t.Context())
				if len(first.gaps) != 1 || !strings.HasSuffix(first.gaps[0], want) {
					t.Errorf("told of %v", first.gaps)
				}
				next := benchAt(t, kept, nil, first.now.Add(time.Minute))
				for _, b := range []*bench{a, first, next} {
					b.gaps = nil
					if b.step(t.Context()); len(b.gaps) > 0 {
						t.Errorf("told again of %v", b.gaps)
					}
				}
			})
		}
	}
}

func TestWhatIsKnownIsKeptWhileNobodyCanBeTold(t *testing.T) {
	s := &shelf{}
	api := &account{all: []Webhook{comes(1, "*.deal"), comes(2, "*.note")}}
	b := newBench(t, s, api)
	b.step(t.Context())
	b.deaf = errors.New("away")
	for i := range 48 { // its webhook comes and goes for a day
		api.all = []Webhook{comes(2, "*.note")}
		if i%2 == 1 {
			api.all = append(api.all, comes(1, "*.deal"))
		}
		b.answered(500, nil)
		b.later(t, 30*time.Minute)
	}
	if n := len(b.Watch.gaps); n > 2 {
		t.Errorf("%d gaps wait for two reasons", n)
	}
	next := benchAt(t, s, api, b.now.Add(time.Minute))
	next.step(t.Context())
	if strings.Contains(next.log.String(), "nobody took webhooks") {
		t.Errorf("it says\n%s", next.log)
	}
	if !slices.Contains(next.gaps, "12:00:00 webhook 1 was deleted") {
		t.Errorf("told of %v", next.gaps)
	}
	if got, want := next.Pipelines()["crm"], b.Pipelines()["crm"]; got.Failed != want.Failed || got.Failed == 0 {
		t.Errorf("the next process knows %+v, want %+v", got, want)
	}
}

func TestTwoNoticesOfOneGapAreOneAndLoseNothing(t *testing.T) {
	at := func(hour int) time.Time {
		if hour == 0 {
			return time.Time{}
		}
		return time.Date(2026, 11, 1, hour, 0, 0, 0, time.UTC)
	}
	of := func(since, noticed, told int) gap { return gap{at(since), at(noticed), at(told)} }
	for name, test := range map[string]struct{ a, b, want gap }{
		"none is told":                    {of(3, 5, 0), of(2, 4, 0), of(2, 5, 0)},
		"one is told":                     {of(2, 4, 0), of(2, 4, 5), of(2, 4, 5)},
		"noticed again before it is told": {of(2, 4, 5), of(3, 5, 0), of(2, 4, 5)},
		"noticed again after it was told": {of(2, 4, 5), of(3, 6, 0), of(3, 6, 0)},
		"what was told began later":       {of(2, 4, 0), of(3, 4, 5), of(2, 4, 0)},
		"both are told":                   {of(2, 4, 5), of(3, 6, 7), of(3, 6, 7)},
	} {
		if one, other := test.a.with(test.b), test.b.with(test.a); one != test.want || other != test.want {
			t.Errorf("%s: %v and %v, want %v", name, one, other, test.want)
		}
	}
}
