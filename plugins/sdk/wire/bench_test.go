//go:build unix

package wire_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/pipedrive"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
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
	b.ReportAllocs()
	processor(b, len(given))
	for b.Loop() {
		if err := client.Handle(b.Context(), time.Second, given, func(int, wire.Result) {}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(given))/b.Elapsed().Seconds(), "events/s")
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

// What gRPC alone takes to carry as many bytes there, and as few back.
func BenchmarkGRPCAlone(b *testing.B) {
	conn := alone(b)
	request, answer := wrapperspb.Bytes(make([]byte, 2300)), &wrapperspb.BytesValue{}
	one := func() {
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		if err := conn.Invoke(ctx, "/alone/Say", request, answer); err != nil {
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
			answer := &wrapperspb.BytesValue{}
			for pb.Next() {
				if err := conn.Invoke(b.Context(), "/alone/Say", request, answer); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func alone(b *testing.B) *grpc.ClientConn {
	b.Helper()
	path := filepath.Join(b.TempDir(), "s")
	at, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	little := wrapperspb.Bytes(make([]byte, 12))
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "alone", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Say", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			return little, decode(&wrapperspb.BytesValue{})
		},
	}}}, nil)
	go func() { _ = server.Serve(at) }()
	b.Cleanup(server.Stop)
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return conn
}
