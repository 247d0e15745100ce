package wire

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// serverEnd answers in the plugin's process. It does not catch panics: what a plugin that has lost
// its way would do next nobody knows, and a new process costs little.
type serverEnd struct {
	pluginv1.UnimplementedPluginServiceServer
	pluginv1.UnimplementedListenerServiceServer
	pluginv1.UnimplementedStageServiceServer
	pluginv1.UnimplementedSourceServiceServer
	server Server
}

func (s *serverEnd) Configure(ctx context.Context, req *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	setup := Setup{
		Kind: req.GetKind(), Name: req.GetName(), Config: req.GetConfig(), Secrets: req.GetSecrets(),
		Host: Address{Path: req.GetHost().GetAddress(), Token: req.GetHost().GetToken()},
	}
	if setup.Kind == "" { // pipehook knows 1.0 only
		setup.Kind = Listener
	}
	m, err := s.server.Configure(ctx, setup)
	if _, ok := errors.AsType[*KindError](err); ok {
		err = nil // pipehook sees it in what the plugin does
	}
	if _, wrong := errors.AsType[*ConfigError](err); err != nil && !wrong { // the configuration is not to blame
		return nil, status.Error(codes.Unavailable, text(err.Error()))
	}
	if m.Can(Listener) {
		m.Does = append(m.Does, batch, spans)
	}
	return &pluginv1.ConfigureResponse{Name: text(m.Name), Version: text(m.Version), Does: m.Does, Mistakes: mistakesOf(err), Minor: Minor}, nil
}

func mistakesOf(err error) []*pluginv1.Mistake {
	switch e := err.(type) {
	case nil:
		return nil
	case *ConfigError:
		return []*pluginv1.Mistake{{Key: text(e.Key), Message: short(e.Msg), Secret: e.Secret}}
	case interface{ Unwrap() []error }:
		var all []*pluginv1.Mistake
		for _, one := range e.Unwrap() {
			all = append(all, mistakesOf(one)...)
		}
		return all
	default:
		return []*pluginv1.Mistake{{Message: short(err.Error())}}
	}
}

func (s *serverEnd) Handle(ctx context.Context, req *pluginv1.HandleRequest) (*pluginv1.HandleResponse, error) {
	timeout, err := timeoutOf(req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer := &pluginv1.HandleResponse{}
	for i := range req.GetEvents() {
		r, err := s.handle(ctx, req, i)
		if err != nil {
			return nil, err
		}
		answer.Results = append(answer.Results, r)
	}
	return answer, nil
}

// HandleBatch sends results from a goroutine of its own: while one message is on its way the results
// of quick handlers gather for the next.
func (s *serverEnd) HandleBatch(req *pluginv1.HandleRequest, stream pluginv1.ListenerService_HandleBatchServer) error {
	timeout, err := timeoutOf(req)
	if err != nil {
		return err
	}
	results := make(chan *pluginv1.Result, len(req.GetEvents()))
	sent := make(chan error, 1)
	go func() { sent <- sendResults(stream, results) }() // ends with results
	err = s.handleEach(stream.Context(), timeout, req, results)
	close(results)
	if sendErr := <-sent; err == nil {
		err = sendErr
	}
	return err
}

// handleEach stops when nobody waits any more.
func (s *serverEnd) handleEach(ctx context.Context, timeout time.Duration, req *pluginv1.HandleRequest, results chan<- *pluginv1.Result) error {
	for i := range req.GetEvents() {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := s.handleWithin(ctx, timeout, req, i)
		if err != nil {
			return err
		}
		results <- r
	}
	return nil
}

// sendResults sends what there is, several at once when they are quick. After an error it goes on taking
// results, and drops them.
func sendResults(stream pluginv1.ListenerService_HandleBatchServer, results <-chan *pluginv1.Result) (err error) {
	for r := range results {
		all := append(make([]*pluginv1.Result, 0, 1+len(results)), r)
		for range len(results) { // there is no other reader
			all = append(all, <-results)
		}
		if err == nil {
			err = stream.Send(&pluginv1.HandleResponse{Results: all})
		}
	}
	return err
}

func (s *serverEnd) handleWithin(ctx context.Context, timeout time.Duration, req *pluginv1.HandleRequest, i int) (*pluginv1.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.handle(ctx, req, i)
}

func (s *serverEnd) handle(ctx context.Context, req *pluginv1.HandleRequest, i int) (*pluginv1.Result, error) {
	ev, err := received(req.GetEvents()[i])
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	var call Call
	if calls := req.GetCalls(); i < len(calls) {
		call = Call{ID: calls[i].GetId(), Attempt: int(calls[i].GetAttempt())}
	}
	began := time.Now()
	r := resultOf(s.server.Handle(ctx, call, ev))
	r.TookNs = time.Since(began).Nanoseconds()
	return r, nil
}

func timeoutOf(req interface{ GetTimeoutMs() int64 }) (time.Duration, error) {
	if req.GetTimeoutMs() <= 0 {
		return 0, status.Error(codes.InvalidArgument, "the call has no time-out")
	}
	return min(time.Duration(req.GetTimeoutMs()), longestWait/time.Millisecond) * time.Millisecond, nil
}
