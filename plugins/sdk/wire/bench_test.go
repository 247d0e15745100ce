//go:build unix

package wire_test

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/pipedrive"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// usual is an event as most are: 2.3 kB as it is sent.
func usual(tb testing.TB) *core.Event {
	tb.Helper()
	_, body, ok := samples.For("updated.deal")
	if !ok {
		tb.Fatal("there is no sample")
	}
	ev := &core.Event{
		ID: "0199c3a4-7b1e-7c55-8e2d-0a4f3c2b1d09", Pipeline: "crm", Source: "pipedrive", ReceivedAt: time.Now(), Body: body,
		Remote: netip.MustParseAddr("203.0.113.7"),
		Header: http.Header{"Content-Type": {"application/json"}, "User-Agent": {"Pipedrive Webhooks"}, "X-Request-Id": {strings.Repeat("a", 32)}},
	}
	if err := (pipedrive.Source{}).Name(ev); err != nil {
		tb.Fatal(err)
	}
	return ev
}

func loop(tb testing.TB, s wire.Server) *wire.Client {
	tb.Helper()
	client, stop, err := wire.Loop(s)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(stop)
	if _, err := client.Configure(tb.Context(), wire.Setup{Kind: wire.Listener}); err != nil {
		tb.Fatal(err)
	}
	return client
}

// processor reports what both ends together take of processors: what else runs on the machine is not in it.
func processor(b *testing.B, events int) {
	b.Helper()
	began := used(b)
	b.Cleanup(func() {
		b.ReportMetric(float64((used(b)-began).Nanoseconds())/float64(b.N*events), "cpu-ns/event")
	})
}

func used(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkHandle(b *testing.B) {
	client := loop(b, fake{})
	given := []wire.Given{{Event: usual(b), Call: wire.Call{ID: 1, Attempt: 1}}}
	one := func() {
		if err := client.Handle(b.Context(), time.Second, given, func(int, wire.Result) {}); err != nil {
			b.Error(err)
		}
	}
	b.Run("one by one", func(b *testing.B) {
		b.ReportAllocs()
		processor(b, 1)
		for b.Loop() {
			one()
		}
	})
	b.Run("four at once", func(b *testing.B) {
		b.SetParallelism(2)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				one()
			}
		})
	})
}

func BenchmarkHandleBatchOf64(b *testing.B) {
	client := loop(b, fake{})
	given := make([]wire.Given, 64)
	for i := range given {
		given[i] = wire.Given{Event: usual(b), Call: wire.Call{ID: uint64(i), Attempt: 1}}
	}
	all := func() {
		if err := client.Handle(b.Context(), time.Second, given, func(int, wire.Result) {}); err != nil {
			b.Error(err)
		}
	}
	b.Run("one by one", func(b *testing.B) {
		b.ReportAllocs()
		processor(b, len(given))
		for b.Loop() {
			all()
		}
		b.ReportMetric(float64(b.N*len(given))/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("two at once", func(b *testing.B) {
		processor(b, len(given))
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				all()
			}
		})
		b.ReportMetric(float64(b.N*len(given))/b.Elapsed().Seconds(), "events/s")
	})
}

func BenchmarkProcess(b *testing.B) {
	client := loop(b, fake{})
	given := wire.Given{Event: usual(b), Call: wire.Call{ID: 1}}
	b.ReportAllocs()
	processor(b, 1)
	for b.Loop() {
		if _, err := client.Process(b.Context(), time.Second, given); err != nil {
			b.Fatal(err)
		}
	}
}

// What gRPC alone takes to carry the same message there, or as many bytes, and as little back.
func BenchmarkGRPCAlone(b *testing.B) {
	message := &pluginv1.HandleRequest{TimeoutMs: 1000, Events: []*pluginv1.Event{wire.Sent(usual(b))}, Calls: []*pluginv1.Call{{Id: 1, Attempt: 1}}}
	for name, test := range map[string]struct {
		request  proto.Message
		received func() proto.Message
	}{
		"the same message": {message, func() proto.Message { return &pluginv1.HandleRequest{} }},
		"as many bytes":    {wrapperspb.Bytes(make([]byte, proto.Size(message))), func() proto.Message { return &wrapperspb.BytesValue{} }},
	} {
		conn := alone(b, test.received)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			processor(b, 1)
			for b.Loop() {
				ctx, cancel := context.WithTimeout(b.Context(), time.Second)
				if err := conn.Invoke(ctx, "/alone/Say", test.request, &pluginv1.HandleResponse{}); err != nil {
					b.Error(err)
				}
				cancel()
			}
		})
	}
}

func alone(b *testing.B, received func() proto.Message) *grpc.ClientConn {
	b.Helper()
	server := grpc.NewServer()
	answer := &pluginv1.HandleResponse{Results: []*pluginv1.Result{{Outcome: pluginv1.Outcome_OUTCOME_DONE, TookNs: 12345}}}
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "alone", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Say", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			return answer, decode(received())
		},
	}}}, nil)
	return dial(b, server)
}
