package wire_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"

	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// answering is a host that notes what it is asked, and answers all of it.
type answering struct {
	asked []any
	err   error
}

func (a *answering) KV(_ context.Context, call uint64, op *effect.KVOp) (*effect.KVResult, error) {
	a.asked = append(a.asked, call, *op)
	return &effect.KVResult{OK: true, Entry: entryOf("a"), Entries: []effect.KVEntry{entryOf("b"), entryOf("c")}, More: true}, a.err
}

func (a *answering) Emit(_ context.Context, call uint64, e *effect.Emit) (*effect.Emitted, error) {
	a.asked = append(a.asked, call, *e)
	return &effect.Emitted{ID: "e1", Duplicate: true}, a.err
}

func (a *answering) Measure(_ context.Context, measures []effect.Measure) error {
	a.asked = append(a.asked, measures)
	return a.err
}

func (a *answering) Pipedrive(_ context.Context, call uint64, c *effect.APICall) (*effect.APIAnswer, error) {
	a.asked = append(a.asked, call, *c)
	return &effect.APIAnswer{Status: 200, Data: []byte(`{"id":1}`), Next: "n"}, a.err
}

func entryOf(key string) effect.KVEntry {
	return effect.KVEntry{Key: key, Value: []byte(`"v"`), Version: "3", Expires: time.Unix(1_800_000_000, 0).UTC()}
}

// The questions of all versions.
var (
	version   = "3"
	askedKV   = effect.KVOp{Op: "set", Shared: true, Key: "k", Value: []byte(`{"a":1}`), TTL: time.Minute, IfVersion: &version, Prefix: "p", After: "b", Limit: 10}
	askedEmit = effect.Emit{Action: "added", Object: "invoice", ObjectID: "7", Current: []byte(`{"a":1}`), Previous: []byte(`{"a":0}`), Meta: []byte(`{}`), Key: "k", Ordinal: 2}
	askedAPI  = effect.APICall{Method: "PATCH", Path: "/api/v2/deals/1", Query: url.Values{"a": {"1", "2"}, "b": {"ü"}}, Body: []byte(`{"title":"x"}`)}
	measured  = []effect.Measure{{Name: "n", Value: 1.5}, {Name: "g", Gauge: true, Value: -2}}
)

// hostOf serves a host, and is its plugin. With a name what is said is written down under it.
func hostOf(t *testing.T, s wire.HostServer, name *string) *wire.HostClient {
	t.Helper()
	at := wire.Address{Path: filepath.Join(t.TempDir(), "h"), Token: "t"}
	l, err := net.Listen("unix", at.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(wire.ServeHost(l, at.Token, s))
	var more []grpc.DialOption
	if name != nil {
		more = append(more, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(noting{encoding.GetCodecV2("proto"), t, name})))
	}
	client, err := wire.HostAt(at, more...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// askAll asks for one of each, and returns what came of it.
func askAll(t *testing.T, host *wire.HostClient, name *string) (all []any) {
	t.Helper()
	*name = "kv"
	kv, kvErr := host.KV(t.Context(), 7, &askedKV)
	*name = "emit"
	emitted, emitErr := host.Emit(t.Context(), 8, &askedEmit)
	*name = "measure"
	all = []any{kv, kvErr, emitted, emitErr, host.Measure(t.Context(), measured)}
	*name = "pipedrive"
	answer, apiErr := host.Pipedrive(t.Context(), 9, &askedAPI)
	return append(all, answer, apiErr)
}

var (
	wasAsked = []any{uint64(7), askedKV, uint64(8), askedEmit, measured, uint64(9), askedAPI}
	answered = []any{
		&effect.KVResult{OK: true, Entry: entryOf("a"), Entries: []effect.KVEntry{entryOf("b"), entryOf("c")}, More: true}, error(nil),
		&effect.Emitted{ID: "e1", Duplicate: true}, error(nil), error(nil),
		&effect.APIAnswer{Status: 200, Data: []byte(`{"id":1}`), Next: "n"}, error(nil),
	}
	// What 1.1 had of both.
	asked11, answers11 = wasAsked[:5], 5
)

func TestAPluginAsksTheHost(t *testing.T) {
	a := &answering{}
	if got := askAll(t, hostOf(t, a, nil), new(string)); !reflect.DeepEqual(got, answered) || !reflect.DeepEqual(a.asked, wasAsked) {
		t.Errorf("answers %+v\nto %+v", got, a.asked)
	}
}

func TestTheBytesOfAllVersionsAreUnderstoodByHostAndPlugin(t *testing.T) {
	t.Run("1.1", func(t *testing.T) { understood(t, "v1.1", asked11, answers11) })
	t.Run("1.2", func(t *testing.T) { understood(t, "v1.2", wasAsked, len(answered)) })
}

// understood has both ends read what a version said: so many questions, so much of the answers.
func understood(t *testing.T, version string, wasAsked []any, answers int) {
	t.Helper()
	a := &answering{}
	at := filepath.Join(t.TempDir(), "h")
	l, err := net.Listen("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(wire.ServeHost(l, "t", a))
	conn := dialAt(t, at, grpc.WithUnaryInterceptor(withToken("t")))
	for name, into := range hostAnswers() {
		method := map[string]string{"kv": "KV", "emit": "Emit", "measure": "Measure", "pipedrive": "Pipedrive"}[name]
		if name == "pipedrive" && version == "v1.1" {
			continue
		}
		ask(t, conn, version, "HostService/"+method, name, into)
	}
	if len(a.asked) != len(wasAsked) {
		t.Fatalf("it was asked %+v", a.asked)
	}
	for _, want := range wasAsked {
		found := false
		for _, got := range a.asked {
			found = found || reflect.DeepEqual(got, want)
		}
		if !found {
			t.Errorf("it was not asked %+v, but %+v", want, a.asked)
		}
	}
	calls := map[string]string{"KV": "kv", "Emit": "emit", "Measure": "measure", "Pipedrive": "pipedrive"}
	if version == "v1.1" {
		delete(calls, "Pipedrive")
	}
	host := wire.NewHostClient(dial(t, speaking(t, version, calls)))
	got := askAll(t, host, new(string))
	if lacking, ok := got[len(got)-1].(*effect.Error); version == "v1.1" && (!ok || lacking.Code != "ENOTAVAILABLE") {
		t.Errorf("a host that does not know the call: %v", got[len(got)-1])
	}
	if got = got[:answers]; !reflect.DeepEqual(got, answered[:answers]) {
		t.Errorf("a plugin understands %+v", got)
	}
}

func TestAFailureOfTheHostHasACode(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, test := range map[string]struct{ err, want error }{
		"one that a plugin may see": {fmt.Errorf("wrapped: %w", &effect.Error{Code: "EFULL", Msg: "too much"}), &effect.Error{Code: "EFULL", Msg: "too much"}},
		"one of the host's own":     {errors.New("the database's password is wrong"), &effect.Error{Code: "EINTERNAL", Msg: "this failed for a reason of pipehook's own, which is in its log"}},
		"a long one":                {&effect.Error{Code: "EINVAL", Msg: long}, &effect.Error{Code: "EINVAL", Msg: long[:16<<10] + "…"}},
	} {
		got := askAll(t, hostOf(t, &answering{err: test.err}, nil), new(string))
		for _, i := range []int{1, 3, 4, 6} {
			if !reflect.DeepEqual(got[i], test.want) {
				t.Errorf("%s: %.200v", name, got[i])
			}
		}
	}
}

func TestAHostAnswersOnlyThoseWithItsToken(t *testing.T) {
	a := &answering{}
	at := filepath.Join(t.TempDir(), "h")
	l, err := net.Listen("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	stop := wire.ServeHost(l, "t", a)
	for _, token := range []string{"", "T", "tt"} {
		client, err := wire.DialHost(wire.Address{Path: at, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.KV(t.Context(), 0, &effect.KVOp{})
		if refused, ok := errors.AsType[*effect.Error](err); !ok || refused.Code != "EUNAVAILABLE" || !strings.Contains(refused.Msg, "token") {
			t.Errorf("with %q: %v", token, err)
		}
		_ = client.Close()
	}
	stop()
	client, err := wire.DialHost(wire.Address{Path: at, Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if _, err := client.KV(t.Context(), 0, &effect.KVOp{}); err == nil || len(a.asked) > 0 {
		t.Errorf("a host that has gone: %v, %v", err, a.asked)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the call is over"))
	if _, err := client.KV(ctx, 0, &effect.KVOp{}); err == nil || err.Error() != "the call is over" {
		t.Errorf("a call that is over: %v", err)
	}
}

func TestAQuestionThatIsTooLargeIsNotAsked(t *testing.T) {
	a := &answering{}
	_, err := hostOf(t, a, nil).KV(t.Context(), 0, &effect.KVOp{Op: "set", Key: "k", Value: make([]byte, 5<<20)})
	if refused, ok := errors.AsType[*effect.Error](err); !ok || refused.Code != "ETOOLARGE" || len(a.asked) > 0 {
		t.Error(err)
	}
}

func TestAVersionThatIsNoTextIsNoVersion(t *testing.T) {
	a, bad := &answering{}, "\xff"
	if _, err := hostOf(t, a, nil).KV(t.Context(), 0, &effect.KVOp{Op: "set", Key: "k", IfVersion: &bad}); err != nil {
		t.Fatal(err)
	}
	if op := a.asked[1].(effect.KVOp); *op.IfVersion != "\ufffd" {
		t.Errorf("%+v", op)
	}
}

// slow is a host that answers nobody before it may.
type slow struct {
	answering
	asked, may chan struct{}
}

func (s *slow) KV(ctx context.Context, _ uint64, _ *effect.KVOp) (*effect.KVResult, error) {
	s.asked <- struct{}{}
	select {
	case <-s.may:
	case <-ctx.Done():
	}
	return &effect.KVResult{OK: true}, nil
}

// However much a plugin asks for, and over however many connections, pipehook holds so much at a time. The
// rest waits, and is answered.
func TestWhatAPluginAsksForAtATimeIsBounded(t *testing.T) {
	const most, lanes, each = 4 * 64, 5, 80
	s := &slow{asked: make(chan struct{}, lanes*each), may: make(chan struct{})}
	at := wire.Address{Path: filepath.Join(t.TempDir(), "h"), Token: "t"}
	l, err := net.Listen("unix", at.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer wire.ServeHost(l, at.Token, s)()
	var all sync.WaitGroup
	for range lanes {
		all.Go(func() {
			client, err := wire.DialHost(at)
			if err != nil {
				t.Error(err)
				return
			}
			var lane sync.WaitGroup
			for range each {
				lane.Go(func() {
					if _, err := client.KV(t.Context(), 0, &effect.KVOp{Op: "get", Key: "a"}); err != nil {
						t.Error(err)
					}
				})
			}
			lane.Wait()
			if err := client.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	for range most {
		<-s.asked
	}
	select {
	case <-s.asked:
		t.Errorf("more than %d are asked at a time", most)
	case <-time.After(100 * time.Millisecond):
	}
	close(s.may)
	all.Wait()
	if rest := len(s.asked); rest != lanes*each-most {
		t.Errorf("%d of %d were asked later", rest, lanes*each-most)
	}
}
