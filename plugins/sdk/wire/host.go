package wire

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/url"
	"slices"
	"time"

	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// HostServer does what a plugin asks for. call is that of the event which is being handled, 0 when none
// is. Its methods are called several times at once. Errors that a plugin may see are effect.Errors; of
// any other it learns only that there was one.
type HostServer interface {
	KV(ctx context.Context, call uint64, op *effect.KVOp) (*effect.KVResult, error)
	Emit(ctx context.Context, call uint64, e *effect.Emit) (*effect.Emitted, error)
	Measure(ctx context.Context, measures []effect.Measure) error
	Pipedrive(ctx context.Context, call uint64, c *effect.APICall) (*effect.APIAnswer, error)
}

const tokenKey = "pipehook-token"

// maxPage is more than the longest page of what a plugin remembers.
const maxPage = 16 << 20

// How much a plugin may ask for at a time over one connection, and how many it may have; more waits. What is
// asked is held here.
const (
	maxAsking      = 64
	maxConnections = 4
)

// ServeHost answers one plugin at the listener until stop is called, which closes it, breaks off what is
// under way and waits for it.
func ServeHost(at net.Listener, token string, s HostServer) (stop func()) {
	server := grpc.NewServer(grpc.MaxRecvMsgSize(maxAnswer), grpc.MaxConcurrentStreams(maxAsking), grpc.WaitForHandlers(true), grpc.UnaryInterceptor(guard(token)))
	pluginv1.RegisterHostServiceServer(server, &hostEnd{server: s})
	done := make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		_ = server.Serve(netutil.LimitListener(at, maxConnections)) // a listener that breaks is seen by who calls
	}()
	return func() {
		server.Stop()
		<-done
	}
}

// guard lets only those in who know the token: other users of the machine, and plugins of another host,
// may find the socket.
func guard(token string) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		given := metadata.ValueFromIncomingContext(ctx, tokenKey)
		if len(given) != 1 || subtle.ConstantTimeCompare([]byte(given[0]), []byte(token)) != 1 {
			return nil, status.Error(codes.Unauthenticated, "the token is not that of Configure")
		}
		return next(ctx, req)
	}
}

type hostEnd struct {
	pluginv1.UnimplementedHostServiceServer
	server HostServer
}

func (h *hostEnd) KV(ctx context.Context, req *pluginv1.KVRequest) (*pluginv1.KVResponse, error) {
	r, err := h.server.KV(ctx, req.GetCall(), &effect.KVOp{
		Op: req.GetOp(), Shared: req.GetShared(), Key: req.GetKey(), Value: req.GetValue(), TTL: ttl(req.GetTtlMs()),
		IfVersion: req.IfVersion, Prefix: req.GetPrefix(), After: req.GetAfter(), Limit: int(req.GetLimit()),
	})
	if err != nil {
		return &pluginv1.KVResponse{Failure: failureOf(err)}, nil
	}
	answer := &pluginv1.KVResponse{Ok: r.OK, Entry: sentEntry(&r.Entry), More: r.More}
	for i := range r.Entries {
		answer.Entries = append(answer.Entries, sentEntry(&r.Entries[i]))
	}
	return answer, nil
}

// ttl is for ever when it is longer than any time.
func ttl(ms int64) time.Duration {
	if ms > int64(math.MaxInt64/time.Millisecond) {
		return 0
	}
	return time.Duration(max(ms, -1)) * time.Millisecond
}

// millisOf does not make for ever of a short time.
func millisOf(ttl time.Duration) int64 {
	if ttl > 0 {
		return millis(ttl)
	}
	return max(int64(ttl), -1)
}

func (h *hostEnd) Emit(ctx context.Context, req *pluginv1.EmitRequest) (*pluginv1.EmitResponse, error) {
	e, err := h.server.Emit(ctx, req.GetCall(), &effect.Emit{
		Action: req.GetAction(), Object: req.GetObject(), ObjectID: req.GetObjectId(), Current: json(req.GetCurrent()), Previous: json(req.GetPrevious()),
		Meta: json(req.GetMeta()), Key: req.GetKey(), Ordinal: int(req.GetOrdinal()),
	})
	if err != nil {
		return &pluginv1.EmitResponse{Failure: failureOf(err)}, nil
	}
	return &pluginv1.EmitResponse{Id: e.ID, Duplicate: e.Duplicate}, nil
}

func (h *hostEnd) Measure(ctx context.Context, req *pluginv1.MeasureRequest) (*pluginv1.MeasureResponse, error) {
	measures := make([]effect.Measure, len(req.GetMeasures()))
	for i, m := range req.GetMeasures() {
		measures[i] = effect.Measure{Name: m.GetName(), Gauge: m.GetGauge(), Value: m.GetValue()}
	}
	return &pluginv1.MeasureResponse{Failure: failureOf(h.server.Measure(ctx, measures))}, nil
}

func (h *hostEnd) Pipedrive(ctx context.Context, req *pluginv1.PipedriveRequest) (*pluginv1.PipedriveResponse, error) {
	c := &effect.APICall{Method: req.GetMethod(), Path: req.GetPath(), Body: json(req.GetBody())}
	for _, p := range req.GetQuery() {
		if c.Query == nil {
			c.Query = url.Values{}
		}
		c.Query.Add(p.GetName(), p.GetValue())
	}
	a, err := h.server.Pipedrive(ctx, req.GetCall(), c)
	if err != nil {
		return &pluginv1.PipedriveResponse{Failure: failureOf(err)}, nil
	}
	return &pluginv1.PipedriveResponse{Status: int32(a.Status), Data: a.Data, Next: text(a.Next)}, nil
}

func failureOf(err error) *pluginv1.Failure {
	if err == nil {
		return nil
	}
	if known, ok := errors.AsType[*effect.Error](err); ok {
		return &pluginv1.Failure{Code: known.Code, Message: short(known.Msg), Status: int32(known.Status), RetryAfterMs: asked(known.RetryAfter)}
	}
	return &pluginv1.Failure{Code: "EINTERNAL", Message: "this failed for a reason of pipehook's own, which is in its log"}
}

func sentEntry(e *effect.KVEntry) *pluginv1.KVEntry {
	return &pluginv1.KVEntry{Key: e.Key, Value: e.Value, Version: e.Version, Expires: nanos(e.Expires)}
}

// HostClient asks pipehook, as a HostServer. Failures of effects come as effect.Errors.
type HostClient struct {
	conn *grpc.ClientConn
	host pluginv1.HostServiceClient
}

// DialHost makes a client for the address. It connects when it is first asked.
func DialHost(a Address) (*HostClient, error) { return dialHost(a) }

func dialHost(a Address, more ...grpc.DialOption) (*HostClient, error) {
	conn, err := grpc.NewClient("unix:"+a.Path, append(more,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(maxAnswer), grpc.MaxCallRecvMsgSize(maxPage)),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return invoke(metadata.AppendToOutgoingContext(ctx, tokenKey, a.Token), method, req, reply, cc, opts...)
		}))...)
	if err != nil {
		return nil, err
	}
	return &HostClient{conn: conn, host: pluginv1.NewHostServiceClient(conn)}, nil
}

// Close ends the connection.
func (c *HostClient) Close() error { return c.conn.Close() }

// KV is part of HostServer.
func (c *HostClient) KV(ctx context.Context, call uint64, op *effect.KVOp) (*effect.KVResult, error) {
	answer, err := c.host.KV(ctx, &pluginv1.KVRequest{
		Call: call, Op: op.Op, Shared: op.Shared, Key: text(op.Key), Value: op.Value, TtlMs: millisOf(op.TTL), IfVersion: textOrNone(op.IfVersion),
		Prefix: text(op.Prefix), After: text(op.After), Limit: int32(op.Limit),
	})
	if err := effectError(ctx, err, answer.GetFailure()); err != nil {
		return nil, err
	}
	r := &effect.KVResult{OK: answer.GetOk(), Entry: receivedEntry(answer.GetEntry()), More: answer.GetMore()}
	for _, e := range answer.GetEntries() {
		r.Entries = append(r.Entries, receivedEntry(e))
	}
	return r, nil
}

func textOrNone(s *string) *string {
	if s == nil {
		return nil
	}
	said := text(*s)
	return &said
}

// Emit is part of HostServer.
func (c *HostClient) Emit(ctx context.Context, call uint64, e *effect.Emit) (*effect.Emitted, error) {
	answer, err := c.host.Emit(ctx, &pluginv1.EmitRequest{
		Call: call, Action: text(e.Action), Object: text(e.Object), ObjectId: text(e.ObjectID), Current: e.Current, Previous: e.Previous, Meta: e.Meta,
		Key: text(e.Key), Ordinal: int32(e.Ordinal),
	})
	if err := effectError(ctx, err, answer.GetFailure()); err != nil {
		return nil, err
	}
	return &effect.Emitted{ID: answer.GetId(), Duplicate: answer.GetDuplicate()}, nil
}

// Measure is part of HostServer.
func (c *HostClient) Measure(ctx context.Context, measures []effect.Measure) error {
	req := &pluginv1.MeasureRequest{Measures: make([]*pluginv1.Measure, len(measures))}
	for i, m := range measures {
		req.Measures[i] = &pluginv1.Measure{Name: text(m.Name), Gauge: m.Gauge, Value: m.Value}
	}
	answer, err := c.host.Measure(ctx, req)
	return effectError(ctx, err, answer.GetFailure())
}

// Pipedrive is part of HostServer. A host before 1.2 knows nothing of it.
func (c *HostClient) Pipedrive(ctx context.Context, call uint64, a *effect.APICall) (*effect.APIAnswer, error) {
	req := &pluginv1.PipedriveRequest{Call: call, Method: text(a.Method), Path: text(a.Path), Body: a.Body}
	for _, name := range slices.Sorted(maps.Keys(a.Query)) {
		for _, value := range a.Query[name] {
			req.Query = append(req.Query, &pluginv1.Parameter{Name: text(name), Value: text(value)})
		}
	}
	answer, err := c.host.Pipedrive(ctx, req)
	if status.Code(err) == codes.Unimplemented {
		return nil, &effect.Error{Code: "ENOTAVAILABLE", Msg: "this pipehook is older than the plugin and can't ask Pipedrive: it needs protocol 1.2"}
	}
	if err := effectError(ctx, err, answer.GetFailure()); err != nil {
		return nil, err
	}
	return &effect.APIAnswer{Status: int(answer.GetStatus()), Data: json(answer.GetData()), Next: answer.GetNext()}, nil
}

func receivedEntry(e *pluginv1.KVEntry) effect.KVEntry {
	return effect.KVEntry{Key: e.GetKey(), Value: e.GetValue(), Version: e.GetVersion(), Expires: moment(e.GetExpires())}
}

func effectError(ctx context.Context, err error, f *pluginv1.Failure) error {
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case status.Code(err) == codes.ResourceExhausted:
		return &effect.Error{Code: "ETOOLARGE", Msg: fmt.Sprintf("pipehook can't be asked for so much at once: a question may have %d MiB", maxAnswer>>20)}
	case err != nil:
		return &effect.Error{Code: "EUNAVAILABLE", Msg: "pipehook could not be asked: " + callError(err).Error()}
	case f != nil:
		return &effect.Error{Code: f.GetCode(), Msg: f.GetMessage(), Status: int(f.GetStatus()), RetryAfter: time.Duration(max(f.GetRetryAfterMs(), 0)) * time.Millisecond}
	}
	return nil
}
