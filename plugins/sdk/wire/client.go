package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// Client is pipehook's end. It may be used by many at once, once Configure has returned.
type Client struct {
	plugin   pluginv1.PluginServiceClient
	listener pluginv1.ListenerServiceClient
	stage    pluginv1.StageServiceClient
	source   pluginv1.SourceServiceClient
	manifest Manifest
}

// Given is an event and what it is handed over for.
type Given struct {
	Event *core.Event
	Call  Call
}

// Result is what came of one event.
type Result struct {
	Err  error
	Took time.Duration // as the plugin has measured it; 0 when it does not say
}

// errAnswer is in the error of a plugin that answers something that makes no sense.
var errAnswer = errors.New("the plugin broke the protocol")

var receives = []grpc.CallOption{grpc.MaxCallSendMsgSize(maxMessage), grpc.MaxCallRecvMsgSize(maxAnswer)}

// answers lets a stage or a source say again what is in a long body.
func answers(ev *core.Event) []grpc.CallOption {
	if len(ev.Body) < maxAnswer/4 {
		return receives
	}
	return []grpc.CallOption{grpc.MaxCallSendMsgSize(maxMessage), grpc.MaxCallRecvMsgSize(maxAnswer + 3*len(ev.Body))}
}

// Configure hands over what the plugin is started with. What it finds wrong with the configuration
// comes as ConfigErrors, joined, and what it is not as a KindError; any other error is one of the call.
func (c *Client) Configure(ctx context.Context, s Setup) (Manifest, error) {
	for name, value := range s.Secrets {
		if !utf8.ValidString(value) {
			return Manifest{}, fmt.Errorf("the secret %s can't be handed over: it is not UTF-8", name)
		}
	}
	answer, err := c.plugin.Configure(ctx, &pluginv1.ConfigureRequest{
		Config: s.Config, Kind: s.Kind, Name: s.Name, Secrets: s.Secrets, Minor: Minor,
		Host: &pluginv1.Host{Address: s.Host.Path, Token: s.Host.Token},
	}, receives...)
	if err != nil {
		return Manifest{}, startError(err)
	}
	var wrong []error
	for _, m := range answer.GetMistakes() {
		wrong = append(wrong, &ConfigError{Key: short(m.GetKey()), Msg: short(m.GetMessage()), Secret: m.GetSecret()})
	}
	c.manifest = Manifest{Name: short(answer.GetName()), Version: short(answer.GetVersion()), Does: answer.GetDoes(), Minor: int(max(answer.GetMinor(), 0))}
	if len(wrong) == 0 && s.Kind != "" && !c.manifest.Can(s.Kind) {
		return c.manifest, &KindError{Plugin: c.manifest.Name, Kind: s.Kind, Does: c.manifest.Does}
	}
	return c.manifest, errors.Join(wrong...)
}

// Handle hands over events, which the plugin takes one after another, each within the timeout. done
// is told what came of each, in their order and as soon as it is known. The error is that of a call
// that failed, also because ctx ended; then done was not told of the rest.
func (c *Client) Handle(ctx context.Context, timeout time.Duration, events []Given, done func(i int, r Result)) error {
	if len(events) > 1 && c.manifest.Batches() {
		return c.handleBatch(ctx, timeout, events, done)
	}
	for i := range events {
		answer, err := c.listener.Handle(ctx, c.handleRequest(timeout, events[i:i+1]), receives...)
		switch own := ownError(err); {
		case own != nil:
			done(i, Result{Err: own})
		case err != nil:
			return callError(err)
		case len(answer.GetResults()) != 1:
			return fmt.Errorf("%w: %d results for one event", errAnswer, len(answer.GetResults()))
		default:
			done(i, result(answer.GetResults()[0]))
		}
	}
	return nil
}

func (c *Client) handleBatch(ctx context.Context, timeout time.Duration, events []Given, done func(i int, r Result)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a stream that is not read to its end would stay
	stream, err := c.listener.HandleBatch(ctx, c.handleRequest(timeout, events), receives...)
	if err != nil {
		return callError(err)
	}
	for next := 0; ; {
		answer, err := stream.Recv()
		own := ownError(err)
		switch {
		case own != nil && next < len(events): // it is about the event whose turn it is, and those behind it had none
			done(next, Result{Err: own})
			first := next + 1
			return c.Handle(ctx, timeout, events[first:], func(i int, r Result) { done(first+i, r) })
		case errors.Is(err, io.EOF) && next == len(events):
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%w: %d results for %d events", errAnswer, next, len(events))
		case err != nil:
			return callError(err)
		case next+len(answer.GetResults()) > len(events):
			return fmt.Errorf("%w: more than %d results for as many events", errAnswer, len(events))
		}
		for _, r := range answer.GetResults() {
			done(next, result(r))
			next++
		}
	}
}

func (c *Client) handleRequest(timeout time.Duration, events []Given) *pluginv1.HandleRequest {
	req := &pluginv1.HandleRequest{
		TimeoutMs: millis(timeout), Events: make([]*pluginv1.Event, len(events)), Calls: make([]*pluginv1.Call, len(events)),
	}
	packets, short := make([]packet, len(events)), c.manifest.Can(spans)
	for i, g := range events {
		p := &packets[i]
		p.call.Id, p.call.Attempt = g.Call.ID, int64(g.Call.Attempt)
		req.Events[i], req.Calls[i] = p.fill(g.Event), &p.call
		if short {
			shorten(req.Events[i])
		}
	}
	return req
}

// millis rounds a time that is left so that some is left.
func millis(d time.Duration) int64 { return max(d.Milliseconds(), 1) }

func result(r *pluginv1.Result) Result {
	return Result{Err: errorOf(r), Took: max(time.Duration(r.GetTookNs()), 0)}
}

// ownError is the error of gRPC that a plugin has made itself, as a failure: other languages make one of an
// exception. It is nil for those that say that the connection or the protocol is broken.
func ownError(err error) error {
	s, ok := status.FromError(err)
	if err == nil || !ok {
		return nil
	}
	switch s.Code() {
	case codes.Unknown, codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied,
		codes.FailedPrecondition, codes.Aborted, codes.OutOfRange, codes.DataLoss, codes.Unauthenticated:
		return &core.Error{Kind: core.Failed, Msg: short(cmp.Or(s.Message(), "the plugin failed and did not say why"))}
	}
	return nil
}

// startError is what the plugin says when it can't start, as it says it. Unknown is what gRPC makes of an
// error in other languages.
func startError(err error) error {
	s := status.Convert(err)
	if c := s.Code(); s.Message() != "" && (c == codes.Unavailable || c == codes.Unknown) {
		return errors.New(s.Message())
	}
	return callError(err)
}

// callError is gRPC's error in words for people.
func callError(err error) error {
	s := status.Convert(err)
	return fmt.Errorf("%s (%s)", s.Message(), s.Code())
}
