package sdktest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shop is a plugin of all kinds, with a use for all that a host does.
type shop struct {
	Large   float64 `json:"large"`
	host    *sdk.Host
	stopped bool
}

func (s *shop) Start(_ context.Context, host *sdk.Host) error {
	if s.host = host; host.Secret("api") == "" {
		return errors.New("there is no secret api")
	}
	return nil
}

func (s *shop) Stop(context.Context) error {
	s.stopped = true
	return nil
}

// Handle counts the events of each record, and says so.
func (s *shop) Handle(ctx context.Context, ev sdk.Event) error {
	var seen int
	if _, err := s.host.KV().Get(ctx, "deal/"+ev.ObjectID, &seen); err != nil {
		return err
	}
	seen++
	if err := s.host.KV().Set(ctx, "deal/"+ev.ObjectID, seen, time.Hour); err != nil {
		return err
	}
	s.host.Count("seen", 1)
	s.host.Gauge("attempt", float64(sdk.Attempt(ctx)))
	switch ev.ObjectID {
	case "bad":
		return sdk.Permanent(errors.New("it is bad"))
	case "slow":
		return sdk.RetryAfter(time.Minute, errors.New("not now"))
	}
	_, err := s.host.Emit(ctx, sdk.Emission{Action: "counted", Object: "deal", ObjectID: ev.ObjectID, Current: map[string]int{"seen": seen}})
	return err
}

// Process labels what is large, drops what is deleted and rejects what has no id.
func (s *shop) Process(_ context.Context, ev *sdk.Event) (sdk.Verdict, error) {
	var deal struct {
		Value float64 `json:"value"`
	}
	switch {
	case ev.IsDelete():
		ev.Remark("it is gone")
		return sdk.Drop, nil
	case ev.ObjectID == "":
		return sdk.Continue, sdk.Reject(422, "it has no id")
	case json.Unmarshal(ev.Current, &deal) != nil:
		return sdk.Continue, errors.New("it can't be read")
	case deal.Value >= s.Large:
		ev.Labels = map[string]string{"size": "large"}
	}
	return sdk.Continue, nil
}

func (s *shop) Name(_ context.Context, ev *sdk.Event) error {
	number, found := strings.CutPrefix(string(ev.Body), "order=")
	if !found {
		return sdk.Reject(400, "it is no order")
	}
	ev.Action, ev.Object, ev.ObjectID = ev.Header.Get("X-Topic"), "order", number
	return nil
}

func start(t *testing.T, kind string, after *sdktest.Plugin) (*sdktest.Plugin, *shop) {
	t.Helper()
	s := &shop{}
	return sdktest.Start(t, sdk.Plugin{Name: "shop", Version: "1", Config: s, Listener: s, Stage: s, Source: s}, sdktest.Options{
		Kind: kind, Config: map[string]any{"large": 1000}, Secrets: map[string]string{"api": "s"}, After: after,
	}), s
}

func TestAListenersEffectsCanBeSeen(t *testing.T) {
	p, s := start(t, "listener", nil)
	ev := sdk.Event{ID: "1", ObjectID: "7", ReceivedAt: time.Now()}
	for range 2 {
		if err := p.Handle(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	var seen int
	if found, err := p.Host().KV().Get(t.Context(), "deal/7", &seen); !found || err != nil || seen != 2 {
		t.Errorf("it remembers %d, %t, %v", seen, found, err)
	}
	attempt, measured := p.Gauge("attempt")
	if got := p.Count("seen"); got != 2 || attempt != 2 || !measured {
		t.Errorf("it has counted %g, and was in attempt %g", got, attempt)
	}
	emitted := p.Emitted()
	if len(emitted) != 1 || emitted[0].Type() != "counted.deal" || string(emitted[0].Current) != `{"seen":1}` {
		t.Errorf("what two attempts emitted: %+v", emitted)
	}
	p.Stop()
	if !s.stopped {
		t.Error("it was not stopped")
	}

	p, _ = start(t, "listener", p)
	if found, _ := p.Host().KV().Get(t.Context(), "deal/7", &seen); !found || len(p.Emitted()) != 1 {
		t.Error("the next process has forgotten")
	}
	p.Advance(time.Hour)
	if found, _ := p.Host().KV().Get(t.Context(), "deal/7", &seen); found {
		t.Error("it is still there after its time")
	}
}

func TestSeveralEventsHaveAResultEach(t *testing.T) {
	p, _ := start(t, "listener", nil)
	errs := p.HandleAll(t.Context(), []sdk.Event{{ID: "1", ObjectID: "7"}, {ID: "2", ObjectID: "bad"}, {ID: "3", ObjectID: "slow"}})
	if errs[0] != nil || !sdktest.IsPermanent(errs[1]) || errs[2] == nil || sdktest.IsPermanent(errs[2]) {
		t.Errorf("results %v", errs)
	}
	if attempt, _ := p.Gauge("attempt"); attempt != 1 {
		t.Errorf("attempt %g", attempt)
	}
}

func TestAStageChangesWhatItIsGiven(t *testing.T) {
	p, _ := start(t, "stage", nil)
	ev := sdktest.Event(t, "updated.deal")
	ev.Current = json.RawMessage(`{"value":5000}`)
	if verdict, err := p.Process(t.Context(), &ev); verdict != sdk.Continue || err != nil || ev.Labels["size"] != "large" {
		t.Errorf("%v, %v: %v", verdict, err, ev.Labels)
	}
	gone := sdktest.Event(t, "deleted.person")
	if verdict, err := p.Process(t.Context(), &gone); verdict != sdk.Drop || err != nil || gone.TakeRemark() != "it is gone" {
		t.Errorf("%v, %v", verdict, err)
	}
	_, err := p.Process(t.Context(), &sdk.Event{})
	if status, ok := sdktest.Status(err); !ok || status != 422 || err.Error() != "it has no id" {
		t.Errorf("%d, %v", status, err)
	}
	_, err = p.Process(t.Context(), &sdk.Event{ObjectID: "1", Current: json.RawMessage(`{"value":"much"}`)})
	if _, ok := sdktest.Status(err); ok || err == nil {
		t.Errorf("its own failure came as %v", err)
	}
}

func TestWhatPipehookWouldRefuseOfAStageFailsInItsTestToo(t *testing.T) {
	for want, change := range map[string]func(ev *sdk.Event){
		"current: must be an object or null, is an array": func(ev *sdk.Event) { ev.Current = json.RawMessage(`[1,2]`) },
		"previous: must be an object or null, is text":    func(ev *sdk.Event) { ev.Previous = json.RawMessage(`"x"`) },
		`labels: "Size" can't be a key`:                   func(ev *sdk.Event) { ev.Labels = map[string]string{"Size": "x"} },
		"the stage changed the event's body":              func(ev *sdk.Event) { ev.Body = []byte("x") },
	} {
		p := sdktest.Start(t, sdk.Plugin{Name: "bold", Stage: stageFunc(func(_ context.Context, ev *sdk.Event) (sdk.Verdict, error) {
			change(ev)
			return sdk.Continue, nil
		})}, sdktest.Options{})
		ev := sdktest.Event(t, "updated.deal")
		was := string(ev.Current)
		if _, err := p.Process(t.Context(), &ev); err == nil || !strings.Contains(err.Error(), want) || string(ev.Current) != was {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// stageFunc makes a stage of a function.
type stageFunc func(ctx context.Context, ev *sdk.Event) (sdk.Verdict, error)

func (f stageFunc) Process(ctx context.Context, ev *sdk.Event) (sdk.Verdict, error) {
	return f(ctx, ev)
}

func TestASourceNamesARequest(t *testing.T) {
	p, _ := start(t, "source", nil)
	ev := sdk.Event{Header: map[string][]string{"X-Topic": {"create"}}, Body: []byte("order=7")}
	if err := p.Name(t.Context(), &ev); err != nil || ev.Type() != "added.order" || ev.ObjectID != "7" {
		t.Errorf("%s %s, %v", ev.Type(), ev.ObjectID, err)
	}
	for name, test := range map[string]struct {
		event sdk.Event
		want  string
	}{
		"no order":         {sdk.Event{}, "it is no order"},
		"no action at all": {sdk.Event{Header: map[string][]string{"X-Topic": {"a b"}}, Body: []byte("order=7")}, "action: "},
	} {
		if err := p.Name(t.Context(), &test.event); err == nil || !strings.Contains(err.Error(), test.want) || test.event.Type() != "unknown.unknown" {
			t.Errorf("%s is %s, %v", name, test.event.Type(), err)
		}
	}
}

func TestAPluginThatDoesNotStartSaysWhy(t *testing.T) {
	s := &shop{}
	for name, test := range map[string]struct {
		plugin  sdk.Plugin
		options sdktest.Options
		want    string
	}{
		"a refused config": {sdk.Plugin{Name: "shop", Config: s, Listener: s}, sdktest.Options{Config: map[string]any{"large": "x"}}, "large: must be a number"},
		"a failing start":  {sdk.Plugin{Name: "shop", Config: s, Listener: s}, sdktest.Options{}, "there is no secret api"},
		"another kind":     {sdk.Plugin{Name: "shop", Config: s, Listener: s}, sdktest.Options{Kind: "stage"}, "shop is a listener, and is named as a stage"},
		"nothing":          {sdk.Plugin{Name: "shop"}, sdktest.Options{}, "shop is no listener, no stage and no source"},
	} {
		if _, err := sdktest.TryStart(t, test.plugin, test.options); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEventsAreRecordedOrReadFromFiles(t *testing.T) {
	ev := sdktest.Event(t, "updated.deal")
	path := filepath.Join(t.TempDir(), "body.json")
	if err := os.WriteFile(path, ev.Body, 0o600); err != nil {
		t.Fatal(err)
	}
	read := sdktest.File(t, path)
	if ev.Type() != "updated.deal" || read.Type() != ev.Type() || ev.ID == "" || ev.ID == read.ID || ev.ObjectID == "" {
		t.Errorf("%s %q %q, %s %q", ev.Type(), ev.ID, ev.ObjectID, read.Type(), read.ID)
	}
}

func TestALargeBodyReachesThePlugin(t *testing.T) {
	p := sdktest.Start(t, sdk.Plugin{Name: "long", Listener: sdk.ListenerFunc(func(_ context.Context, ev sdk.Event) error {
		return fmt.Errorf("%d bytes", len(ev.Body))
	})}, sdktest.Options{})
	if err := p.Handle(t.Context(), sdk.Event{ID: "1", Body: make([]byte, 20<<20)}); err == nil || err.Error() != "20971520 bytes" {
		t.Error(err)
	}
}

// strict is a test that may fail.
type strict struct {
	testing.TB
	failures []string
}

func (s *strict) Errorf(format string, args ...any) {
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
}

func TestWhatPipehookWouldNotCountFailsTheTest(t *testing.T) {
	s := &strict{TB: t}
	p := sdktest.Start(s, sdk.Plugin{Name: "p", Listener: sdk.ListenerFunc(nil)}, sdktest.Options{})
	p.Host().Count("Orders", 1)
	p.Host().Count("left", -1)
	p.Host().Gauge("ratio", math.NaN())
	p.Host().Count("fine", 1)
	if got := p.Count("fine"); got != 1 || len(s.failures) != 3 {
		t.Errorf("%g, %q", got, s.failures)
	}
}

// pipehook takes nothing that is asked for a call that has ended, so a test must not either.
func TestACallThatHasEndedCanAskForNothing(t *testing.T) {
	var kept context.Context
	p := sdktest.Start(t, sdk.Plugin{Name: "p", Listener: sdk.ListenerFunc(func(ctx context.Context, _ sdk.Event) error {
		kept = context.WithoutCancel(ctx)
		return nil
	})}, sdktest.Options{})
	if err := p.Handle(t.Context(), sdk.Event{ID: "1"}); err != nil {
		t.Fatal(err)
	}
	err := p.Host().KV().Set(kept, "late", 1, 0)
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != "ENOTAVAILABLE" {
		t.Errorf("error %v", err)
	}
}
