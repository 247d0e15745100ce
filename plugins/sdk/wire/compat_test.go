package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

var record = flag.String("record", "", "write what both ends say to each other into this folder of testdata, when there is a new minor")

// plain carries messages as the bytes that they are.
type plain struct{}

func (plain) Name() string { return "proto" }

func (plain) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (plain) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func said(t *testing.T, version, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", version, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// recorded is a plugin of an older contract: what one has answered, by the name of the call. It knows no
// other calls.
func recorded(t *testing.T, version string, answers map[string]string) *wire.Client {
	t.Helper()
	return wire.NewClient(dial(t, speaking(t, version, answers)))
}

func speaking(t *testing.T, version string, answers map[string]string) *grpc.Server {
	t.Helper()
	return grpc.NewServer(grpc.ForceServerCodecV2(plain{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		name, known := answers[path.Base(method)]
		if !known {
			return status.Error(codes.Unimplemented, "unknown method "+method)
		}
		var request []byte
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		if path.Base(method) == "Handle" {
			var h pluginv1.HandleRequest
			if err := proto.Unmarshal(request, &h); err != nil {
				return err
			}
			name += "-" + h.GetEvents()[0].GetId()
		}
		answer := said(t, version, name+".response")
		return stream.SendMsg(&answer)
	}))
}

func hostAnswers() map[string]proto.Message {
	return map[string]proto.Message{"kv": &pluginv1.KVResponse{}, "emit": &pluginv1.EmitResponse{}, "measure": &pluginv1.MeasureResponse{}, "pipedrive": &pluginv1.PipedriveResponse{}}
}

func withToken(token string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return invoke(metadata.AppendToOutgoingContext(ctx, "pipehook-token", token), method, req, reply, conn, opts...)
	}
}

// outcomes are what came of the four events that every version was given.
var outcomes = map[string]error{
	"done": nil, "failed": &core.Error{Kind: core.Failed, Msg: "merged.deal failed"}, "permanent": &core.Error{Kind: core.Permanent, Msg: "never"},
	"later": &core.Error{Kind: core.Failed, Msg: "later", RetryAfter: 90 * time.Second},
}

// testdata/vX.Y has what a host and a plugin of that minor have said to each other, byte for byte. It is not
// changed: a later minor gets a folder of its own, and is to understand all of them.
func TestAPluginOfAnOlderMinorGoesOnWorking(t *testing.T) {
	for version, want := range map[string]struct {
		manifest wire.Manifest
		contract string
	}{
		"v1.0": {wire.Manifest{Name: "old", Version: "1.2.3", Does: []string{"listener"}}, "1.0"},
		"v1.1": {wire.Manifest{Name: "old", Version: "1.2.3", Does: []string{"listener", "stage", "source", "listener.batch"}, Minor: 1}, "1.1"},
		"v1.2": {wire.Manifest{Name: "old", Version: "1.2.3", Does: []string{"listener", "stage", "source", "listener.batch", "listener.spans"}, Minor: 2}, "1.2"},
	} {
		client := recorded(t, version, map[string]string{"Configure": "configure", "Handle": "handle", "HandleBatch": "batch", "Process": "process", "Name": "name"})
		m, err := client.Configure(t.Context(), wire.Setup{Kind: wire.Listener, Name: "a", Secrets: map[string]string{"a": "b"}})
		if err != nil || !reflect.DeepEqual(m, want.manifest) || m.Contract() != want.contract {
			t.Errorf("%s: %+v, %v", version, m, err)
		}
		for _, several := range [][]string{{"done"}, {"failed"}, {"permanent"}, {"later"}, {"done", "failed", "permanent", "later"}} {
			given := make([]wire.Given, len(several))
			for i, id := range several {
				given[i] = wire.Given{Event: &core.Event{ID: id}, Call: wire.Call{ID: 5, Attempt: 2}}
			}
			told := 0
			err := client.Handle(t.Context(), time.Second, given, func(i int, r wire.Result) {
				if told++; !reflect.DeepEqual(r.Err, outcomes[several[i]]) {
					t.Errorf("%s: %s came as %#v", version, several[i], r.Err)
				}
			})
			if err != nil || told != len(several) {
				t.Errorf("%s: %d of %v: %v", version, told, several, err)
			}
		}
		client = recorded(t, version, map[string]string{"Configure": "refused"})
		_, err = client.Configure(t.Context(), wire.Setup{})
		if wrong, ok := errors.AsType[*wire.ConfigError](err); !ok || wrong.Key != "greeting" || err.Error() != "greeting: must not be empty\nit is wrong as a whole" {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestAStageAndASourceOf11GoOnWorking(t *testing.T) {
	client := recorded(t, "v1.1", map[string]string{"Process": "process", "Name": "name"})
	won, none := "won", ""
	j, err := client.Process(t.Context(), time.Second, wire.Given{Event: &core.Event{}})
	want := wire.Judgement{Amendment: core.Amendment{Labels: map[string]string{"size": "", "seen": "yes"}, Action: &won, ObjectID: &none, Current: json.RawMessage(`{"id":2}`), Previous: json.RawMessage("null")}}
	if err != nil || !reflect.DeepEqual(j, want) {
		t.Errorf("a stage: %+v, %v", j, err)
	}
	ev, err := client.Name(t.Context(), time.Second, wire.Given{Event: &core.Event{}})
	if said := old(""); err != nil || !reflect.DeepEqual(ev, &core.Event{
		Action: said.Action, AlsoAction: said.AlsoAction, Object: said.Object, ObjectID: said.ObjectID, Current: said.Current, Previous: said.Previous,
		Meta: said.Meta, Version: said.Version, Attempt: said.Attempt, OccurredAt: said.OccurredAt, Facts: said.Facts, Flaw: said.Flaw, Key: said.Key,
	}) {
		t.Errorf("a source: %+v, %v", ev, err)
	}
	for name, want := range map[string]string{"rejected": "not you 403 1m0s", "dropped": "it is gone"} {
		j, err := recorded(t, "v1.1", map[string]string{"Process": name}).Process(t.Context(), time.Second, wire.Given{Event: &core.Event{}})
		got := j.Reason
		if r, ok := errors.AsType[*wire.Rejection](err); ok {
			got = fmt.Sprint(r.Msg, " ", r.Status, " ", r.RetryAfter)
		}
		if got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// old is the event that every version was given, as far as 1.0 knew it, and more.
func old(id string) core.Event {
	return core.Event{
		ID: id, Pipeline: "crm", Source: "pipedrive", ReceivedAt: time.Unix(1_800_000_000, 123456789).UTC(), Remote: netip.MustParseAddr("203.0.113.7"),
		Header: http.Header{"Content-Type": {"application/json", "text/plain"}}, Body: []byte(`{"a":1}`),
		Action: "merged", AlsoAction: "updated", Object: "deal", ObjectID: "12345678901234567890", Current: json.RawMessage(`{"id":1}`), Previous: json.RawMessage(`{"id":0}`),
		Meta: json.RawMessage(`{"v":2}`), Version: "2.0", Attempt: 3, OccurredAt: time.Unix(1_799_999_999, 0).UTC(),
		Facts: core.Facts{UserID: "u", CompanyID: "c", ChangeSource: "app", Bulk: true}, Gathered: []string{"x", "y"}, Labels: map[string]string{"size": "large"},
		Replayed: true, Flaw: "f", Key: []byte("k"),
		Origin: "reconcile", Fields: json.RawMessage(`{"tier":"Gold"}`), PreviousFields: json.RawMessage(`{"tier":null}`),
	}
}

// lacks11 takes away what 1.1 did not have.
func lacks11(ev *core.Event) { ev.Origin, ev.Fields, ev.PreviousFields = "", nil, nil }

// kept is a plugin that notes what it is given.
type kept struct {
	setup wire.Setup
	calls []wire.Call
	seen  []core.Event
}

func (k *kept) Configure(_ context.Context, s wire.Setup) (wire.Manifest, error) {
	k.setup = s
	m := wire.Manifest{Name: "old", Version: "1.2.3", Does: []string{wire.Listener, wire.Stage, wire.Source}}
	if len(s.Config) < 4 {
		return m, errors.Join(&wire.ConfigError{Key: "greeting", Msg: "must not be empty"}, errors.New("it is wrong as a whole"))
	}
	return m, nil
}

func (k *kept) Handle(_ context.Context, c wire.Call, ev core.Event) error {
	k.calls, k.seen = append(k.calls, c), append(k.seen, ev)
	return outcomes[ev.ID]
}

func (k *kept) Process(_ context.Context, c wire.Call, ev *core.Event) (core.Verdict, error) {
	k.calls, k.seen = append(k.calls, c), append(k.seen, *ev)
	switch ev.ID {
	case "dropped":
		ev.Remark("it is gone")
		return core.Dropped, nil
	case "rejected":
		return core.Continue, &wire.Rejection{Status: 403, Msg: "not you", RetryAfter: time.Minute}
	}
	ev.Labels = map[string]string{"seen": "yes"}
	ev.Action, ev.ObjectID, ev.Current, ev.Previous = "won", "", json.RawMessage(`{"id":2}`), nil
	return core.Continue, nil
}

func (k *kept) Name(_ context.Context, c wire.Call, ev *core.Event) error {
	k.calls, k.seen = append(k.calls, c), append(k.seen, *ev)
	return nil
}

func TestAPluginAnswersAHostOfAnOlderMinor(t *testing.T) {
	for version, want := range map[string]struct {
		setup wire.Setup
		call  wire.Call
		lacks func(ev *core.Event)
	}{
		"v1.0": {wire.Setup{Kind: wire.Listener, Config: []byte(`{"greeting":"hello"}`)}, wire.Call{}, func(ev *core.Event) {
			ev.Replayed, ev.Flaw, ev.Key = false, "", nil
			lacks11(ev)
		}},
		"v1.1": {wire.Setup{Kind: wire.Listener, Name: "a", Config: []byte(`{"greeting":"hello"}`), Secrets: map[string]string{"api": "s"}, Host: wire.Address{Path: "/h", Token: "t"}}, wire.Call{ID: 7, Attempt: 2}, lacks11},
		"v1.2": {wire.Setup{Kind: wire.Listener, Name: "a", Config: []byte(`{"greeting":"hello"}`), Secrets: map[string]string{"api": "s"}, Host: wire.Address{Path: "/h", Token: "t"}}, wire.Call{ID: 7, Attempt: 2}, func(*core.Event) {}},
	} {
		k := &kept{}
		conn := server(t, k)
		ask(t, conn, version, "PluginService/Configure", "configure", &pluginv1.ConfigureResponse{})
		if !reflect.DeepEqual(k.setup, want.setup) {
			t.Errorf("%s: %+v", version, k.setup)
		}
		refused := &pluginv1.ConfigureResponse{}
		if ask(t, conn, version, "PluginService/Configure", "refused", refused); len(refused.GetMistakes()) != 2 || refused.GetMistakes()[0].GetKey() != "greeting" {
			t.Errorf("%s: %v", version, refused)
		}
		for id, result := range map[string]string{"done": "OUTCOME_DONE", "failed": "OUTCOME_FAILED", "permanent": "OUTCOME_PERMANENT", "later": "OUTCOME_FAILED"} {
			k.seen, k.calls = nil, nil
			answer := &pluginv1.HandleResponse{}
			ask(t, conn, version, "ListenerService/Handle", "handle-"+id, answer)
			ev := old(id)
			want.lacks(&ev)
			if len(k.seen) != 1 || !reflect.DeepEqual(k.seen[0], ev) || k.calls[0] != want.call {
				t.Errorf("%s: %s: got %+v %+v\nwant %+v", version, id, k.seen, k.calls, ev)
			}
			if r := answer.GetResults(); len(r) != 1 || r[0].GetOutcome().String() != result {
				t.Errorf("%s: %s: %v", version, id, r)
			}
		}
	}
}

func of11(id string) core.Event {
	ev := old(id)
	lacks11(&ev)
	return ev
}

func TestAPluginAnswersAHostOf11AsAStageAndASource(t *testing.T) {
	k := &kept{}
	conn := server(t, k)
	for name, verdict := range map[string]pluginv1.Verdict{"process": pluginv1.Verdict_VERDICT_CONTINUE, "dropped": pluginv1.Verdict_VERDICT_DROPPED, "rejected": pluginv1.Verdict_VERDICT_REJECTED} {
		k.seen = nil
		answer := &pluginv1.ProcessResponse{}
		if ask(t, conn, "v1.1", "StageService/Process", name, answer); answer.GetVerdict() != verdict || len(k.seen) != 1 || !reflect.DeepEqual(k.seen[0], of11(name)) {
			t.Errorf("%s: %v %+v", name, answer, k.seen)
		}
	}
	k.seen = nil
	answer := &pluginv1.NameResponse{}
	if ask(t, conn, "v1.1", "SourceService/Name", "name", answer); answer.GetVerdict() != pluginv1.Verdict_VERDICT_CONTINUE || answer.GetEvent().GetObjectId() != "12345678901234567890" {
		t.Errorf("%v %+v", answer, k.seen)
	}
}

// server serves the plugin's end to who speaks in bytes.
func server(t *testing.T, s wire.Server, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	server := grpc.NewServer()
	wire.Register(server, s)
	return dial(t, server, more...)
}

func ask(t *testing.T, conn *grpc.ClientConn, version, method, name string, into proto.Message) {
	t.Helper()
	request, answer := said(t, version, name+".request"), []byte(nil)
	if err := conn.Invoke(t.Context(), "/pipehook.plugin.v1."+method, &request, &answer, grpc.ForceCodecV2(plain{})); err != nil {
		t.Fatalf("%s: %s: %v", version, name, err)
	}
	if err := proto.Unmarshal(answer, into); err != nil {
		t.Fatalf("%s: %s: %v", version, name, err)
	}
}

// noting writes down what is said.
type noting struct {
	encoding.CodecV2
	t    *testing.T
	name *string
}

func (n noting) Marshal(v any) (mem.BufferSlice, error) {
	b, err := n.CodecV2.Marshal(v)
	n.put("request", b)
	return b, err
}

func (n noting) Unmarshal(b mem.BufferSlice, v any) error {
	n.put("response", b)
	return n.CodecV2.Unmarshal(b, v)
}

func (n noting) put(which string, b mem.BufferSlice) {
	if err := os.WriteFile(filepath.Join("testdata", *record, *n.name+"."+which), b.Materialize(), 0o600); err != nil {
		n.t.Error(err)
	}
}

func TestWhatIsSaidIsRecorded(t *testing.T) {
	if *record == "" {
		t.Skip("only when there is a new minor: go test -run Recorded -record v1.3")
	}
	var name string
	client := wire.NewClient(server(t, &kept{}, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(noting{encoding.GetCodecV2("proto"), t, &name}))))
	setup := wire.Setup{Kind: wire.Listener, Name: "a", Config: []byte(`{}`), Secrets: map[string]string{"api": "s"}, Host: wire.Address{Path: "/h", Token: "t"}}
	name = "refused"
	_, _ = client.Configure(t.Context(), setup) // it is refused
	name, setup.Config = "configure", []byte(`{"greeting":"hello"}`)
	if _, err := client.Configure(t.Context(), setup); err != nil {
		t.Fatal(err)
	}
	var all []wire.Given
	given := func(id string) wire.Given {
		ev := old(id)
		return wire.Given{Event: &ev, Call: wire.Call{ID: 7, Attempt: 2}}
	}
	for _, id := range []string{"done", "failed", "permanent", "later"} {
		all = append(all, given(id))
		name = "handle-" + id
		if err := client.Handle(t.Context(), 5*time.Second, all[len(all)-1:], func(int, wire.Result) {}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name = range []string{"process", "dropped", "rejected"} {
		_, _ = client.Process(t.Context(), 5*time.Second, given(name)) // it is rejected, too
	}
	name = "name"
	if _, err := client.Name(t.Context(), 5*time.Second, given("name")); err != nil {
		t.Fatal(err)
	}
	name = "batch"
	if err := client.Handle(t.Context(), 5*time.Second, all, func(int, wire.Result) {}); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	askAll(t, hostOf(t, &answering{}, &name), &name)
}
