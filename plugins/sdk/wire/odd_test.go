package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// acting does something with each event.
type acting func(ctx context.Context, ev *core.Event) error

func (acting) Configure(context.Context, wire.Setup) (wire.Manifest, error) {
	return wire.Manifest{Does: []string{wire.Listener, wire.Stage, wire.Source}}, nil
}

func (a acting) Handle(ctx context.Context, _ wire.Call, ev core.Event) error { return a(ctx, &ev) }

func (a acting) Process(ctx context.Context, _ wire.Call, ev *core.Event) (core.Verdict, error) {
	return core.Continue, a(ctx, ev)
}

func (a acting) Name(ctx context.Context, _ wire.Call, ev *core.Event) error { return a(ctx, ev) }

func TestABodyThatIsLongMaySayAll(t *testing.T) {
	long := json.RawMessage(`"` + strings.Repeat("x", 6<<20) + `"`)
	client := connect(t, acting(func(_ context.Context, ev *core.Event) error {
		ev.Current, ev.Previous = json.RawMessage(ev.Body), json.RawMessage(ev.Body)
		return nil
	}))
	if said, err := client.Name(t.Context(), 5*time.Second, wire.Given{Event: &core.Event{Body: long}}); err != nil || len(said.Current) != len(long) {
		t.Errorf("a source: %v", err)
	}
	if said, err := client.Process(t.Context(), 5*time.Second, wire.Given{Event: &core.Event{Body: long}}); err != nil || len(said.Amendment.Current) != len(long) {
		t.Errorf("a stage: %v", err)
	}
}

// A sender may have written anything, and what is no text can't be sent as one.
func TestAnEventOfBadTextArrives(t *testing.T) {
	const bad, good = "a\xffb", "a\ufffdb"
	client := connect(t, acting(func(_ context.Context, ev *core.Event) error {
		return fmt.Errorf("%v %v %v %v", ev.Header, ev.Labels, ev.Gathered, []string{ev.ID, ev.Pipeline, ev.Source, ev.Action, ev.Object, ev.ObjectID, ev.Version, ev.Flaw, ev.Facts.UserID, string(ev.Body)})
	}))
	ev := core.Event{
		ID: bad, Pipeline: bad, Source: bad, Action: bad, Object: bad, ObjectID: bad, Version: bad, Flaw: bad, Facts: core.Facts{UserID: bad}, Body: []byte(bad),
		Header: http.Header{bad: {"ok", bad}}, Labels: map[string]string{"k" + bad: bad}, Gathered: []string{"ok", bad},
	}
	want := fmt.Sprintf("map[%[1]s:[ok %[1]s]] map[k%[1]s:%[1]s] [ok %[1]s] %v", good, []string{good, good, good, good, good, good, good, good, good, good})
	if errs := handle(t, client, ev); errs[0] == nil || errs[0].Error() != want {
		t.Errorf("it sees %v\nwant %s", errs[0], want)
	}
	if ev.Header[bad][1] != bad || ev.Gathered[1] != bad || ev.Labels["k"+bad] != bad {
		t.Error("the event itself was changed")
	}
}

// foreign is a plugin that keeps to no rule.
type foreign struct {
	pluginv1.UnimplementedPluginServiceServer
	pluginv1.UnimplementedListenerServiceServer
	pluginv1.UnimplementedStageServiceServer
	pluginv1.UnimplementedSourceServiceServer
	handled []*pluginv1.HandleResponse
	judged  *pluginv1.ProcessResponse
	named   *pluginv1.NameResponse
}

func (f *foreign) Configure(context.Context, *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	return &pluginv1.ConfigureResponse{Does: []string{"listener", "listener.batch", "stage", "source"}, Minor: -3}, nil
}

func (f *foreign) Handle(context.Context, *pluginv1.HandleRequest) (*pluginv1.HandleResponse, error) {
	return f.handled[0], nil
}

func (f *foreign) HandleBatch(_ *pluginv1.HandleRequest, stream pluginv1.ListenerService_HandleBatchServer) error {
	for _, answer := range f.handled {
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
	return nil
}

func (f *foreign) Process(context.Context, *pluginv1.ProcessRequest) (*pluginv1.ProcessResponse, error) {
	return f.judged, nil
}

func (f *foreign) Name(context.Context, *pluginv1.NameRequest) (*pluginv1.NameResponse, error) {
	return f.named, nil
}

func (f *foreign) connect(t *testing.T) *wire.Client {
	t.Helper()
	return connectTo(t, f)
}

func connectTo(t *testing.T, f interface {
	pluginv1.PluginServiceServer
	pluginv1.ListenerServiceServer
	pluginv1.StageServiceServer
	pluginv1.SourceServiceServer
}) *wire.Client {
	t.Helper()
	server := grpc.NewServer()
	pluginv1.RegisterPluginServiceServer(server, f)
	pluginv1.RegisterListenerServiceServer(server, f)
	pluginv1.RegisterStageServiceServer(server, f)
	pluginv1.RegisterSourceServiceServer(server, f)
	client := wire.NewClient(dial(t, server))
	if _, err := client.Configure(t.Context(), wire.Setup{Kind: wire.Listener}); err != nil {
		t.Fatal(err)
	}
	return client
}

func dial(t testing.TB, server *grpc.Server, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	at, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(at) }()
	t.Cleanup(server.Stop)
	return dialAt(t, path, more...)
}

func dialAt(t testing.TB, path string, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+path, append(more, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestResultsThatBreakTheProtocolAreFailures(t *testing.T) {
	done, odd := &pluginv1.Result{Outcome: pluginv1.Outcome_OUTCOME_DONE, TookNs: -5}, &pluginv1.Result{Outcome: 77, RetryAfterMs: -1}
	several := func(all ...*pluginv1.Result) *pluginv1.HandleResponse { return &pluginv1.HandleResponse{Results: all} }
	for name, test := range map[string]struct {
		answers []*pluginv1.HandleResponse
		events  int
		want    string
	}{
		"as it should be":       {[]*pluginv1.HandleResponse{several(done), several(done)}, 2, "[<nil> <nil>] <nil>"},
		"nothing in between":    {[]*pluginv1.HandleResponse{several(done), several(), several(done)}, 2, "[<nil> <nil>] <nil>"},
		"an outcome unknown":    {[]*pluginv1.HandleResponse{several(odd, done)}, 2, "[the plugin failed and did not say why: the plugin broke the protocol <nil>] <nil>"},
		"one too few":           {[]*pluginv1.HandleResponse{several(done)}, 2, "[<nil>] the plugin broke the protocol: 1 results for 2 events"},
		"one too many":          {[]*pluginv1.HandleResponse{several(done), several(done, done)}, 2, "[<nil>] the plugin broke the protocol: more than 2 results for as many events"},
		"none for one event":    {[]*pluginv1.HandleResponse{several()}, 1, "[] the plugin broke the protocol: 0 results for one event"},
		"several for one event": {[]*pluginv1.HandleResponse{several(done, done)}, 1, "[] the plugin broke the protocol: 2 results for one event"},
	} {
		f := &foreign{handled: test.answers}
		client := f.connect(t)
		given := make([]wire.Given, test.events)
		for i := range given {
			given[i].Event = &core.Event{}
		}
		errs := []error{}
		err := client.Handle(t.Context(), time.Second, given, func(i int, r wire.Result) {
			if errs = append(errs, r.Err); i != len(errs)-1 || r.Took < 0 {
				t.Errorf("%s: result %d took %s", name, i, r.Took)
			}
		})
		if got := fmt.Sprint(errs, " ", err); got != test.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestVerdictsThatBreakTheProtocolAreFailures(t *testing.T) {
	f := &foreign{}
	client := f.connect(t)
	for name, test := range map[string]struct {
		judged *pluginv1.ProcessResponse
		named  *pluginv1.NameResponse
		want   string
	}{
		"nothing said":      {&pluginv1.ProcessResponse{}, &pluginv1.NameResponse{}, "the plugin failed and did not say why: the plugin broke the protocol"},
		"a verdict unknown": {&pluginv1.ProcessResponse{Verdict: 99, Message: "m"}, &pluginv1.NameResponse{Verdict: 99, Message: "m"}, "m: the plugin broke the protocol"},
		"a long message":    {&pluginv1.ProcessResponse{Verdict: pluginv1.Verdict_VERDICT_FAILED, Message: strings.Repeat("m", 1<<20)}, &pluginv1.NameResponse{Verdict: pluginv1.Verdict_VERDICT_FAILED, Message: strings.Repeat("m", 1<<20)}, strings.Repeat("m", 16<<10) + "…"},
	} {
		f.judged, f.named = test.judged, test.named
		if _, err := client.Process(t.Context(), time.Second, wire.Given{Event: &core.Event{}}); err == nil || err.Error() != test.want {
			t.Errorf("%s, a stage: %.200v", name, err)
		}
		if _, err := client.Name(t.Context(), time.Second, wire.Given{Event: &core.Event{}}); err == nil || err.Error() != test.want {
			t.Errorf("%s, a source: %.200v", name, err)
		}
	}
	f.judged, f.named = &pluginv1.ProcessResponse{Verdict: pluginv1.Verdict_VERDICT_CONTINUE}, &pluginv1.NameResponse{Verdict: pluginv1.Verdict_VERDICT_CONTINUE, Event: &pluginv1.Event{Id: "x", Action: "a", Attempt: -3}}
	if said, err := client.Process(t.Context(), time.Second, wire.Given{Event: &core.Event{}}); err != nil || !reflect.DeepEqual(said, wire.Judgement{}) {
		t.Errorf("no amendment: %+v, %v", said, err)
	}
	if said, err := client.Name(t.Context(), time.Second, wire.Given{Event: &core.Event{}}); err != nil || !reflect.DeepEqual(said, &core.Event{Action: "a"}) {
		t.Errorf("more than is a source's to say: %+v, %v", said, err)
	}
}

func TestABatchThatIsCancelledEndsBehindTheEventThatRuns(t *testing.T) {
	var begun atomic.Int32
	running := make(chan struct{}, 8)
	client, stop, err := wire.Loop(acting(func(ctx context.Context, _ *core.Event) error {
		begun.Add(1)
		running <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Configure(t.Context(), wire.Setup{Kind: wire.Listener}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-running
		cancel()
	}()
	given := []wire.Given{{Event: &core.Event{}}, {Event: &core.Event{}}, {Event: &core.Event{}}}
	err = client.Handle(ctx, time.Minute, given, func(i int, r wire.Result) { t.Errorf("result %d: %+v", i, r) })
	if err == nil {
		t.Error("it was cancelled")
	}
	stop() // which waits for what runs
	if begun.Load() != 1 {
		t.Errorf("%d had begun", begun.Load())
	}
}

func TestEachEventOfABatchHasItsOwnTime(t *testing.T) {
	client := connect(t, acting(func(ctx context.Context, ev *core.Event) error {
		if ev.ID == "slow" {
			<-ctx.Done()
			return errors.New("too slow")
		}
		return ctx.Err()
	}))
	if _, err := client.Configure(t.Context(), wire.Setup{Kind: wire.Listener}); err != nil {
		t.Fatal(err)
	}
	var got []error
	err := client.Handle(t.Context(), 50*time.Millisecond, []wire.Given{{Event: &core.Event{ID: "slow"}}, {Event: &core.Event{}}, {Event: &core.Event{ID: "slow"}}}, func(_ int, r wire.Result) {
		got = append(got, r.Err)
	})
	if fmt.Sprint(got, err) != "[too slow <nil> too slow] <nil>" {
		t.Error(got, err)
	}
}

func TestAResultOfABatchIsKnownWhileTheNextEventRuns(t *testing.T) {
	known := make(chan struct{})
	client := connect(t, acting(func(ctx context.Context, ev *core.Event) error {
		if ev.ID == "first" {
			return nil
		}
		select {
		case <-known:
			return nil
		case <-ctx.Done():
			return errors.New("nobody knows of the first")
		}
	}))
	if _, err := client.Configure(t.Context(), wire.Setup{Kind: wire.Listener}); err != nil {
		t.Fatal(err)
	}
	err := client.Handle(t.Context(), 20*time.Second, []wire.Given{{Event: &core.Event{ID: "first"}}, {Event: &core.Event{}}}, func(i int, r wire.Result) {
		if r.Err != nil {
			t.Error(r.Err)
		}
		if i == 0 {
			close(known)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestASecretThatIsNoTextIsNamed(t *testing.T) {
	_, err := connect(t, fake{}).Configure(t.Context(), wire.Setup{Secrets: map[string]string{"api": "\xff"}})
	if err == nil || err.Error() != "the secret api can't be handed over: it is not UTF-8" {
		t.Error(err)
	}
}
