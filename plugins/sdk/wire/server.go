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
	server Server
}

func (s *serverEnd) Configure(ctx context.Context, req *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	m, err := s.server.Configure(ctx, req.GetConfig())
	if _, wrong := errors.AsType[*ConfigError](err); err != nil && !wrong { // the configuration is not to blame
		return nil, status.Error(codes.Unavailable, text(err.Error()))
	}
	return &pluginv1.ConfigureResponse{Name: m.Name, Version: m.Version, Does: m.Does, Mistakes: mistakesOf(err)}, nil
}

func mistakesOf(err error) []*pluginv1.Mistake {
	switch e := err.(type) {
	case nil:
		return nil
	case *ConfigError:
		return []*pluginv1.Mistake{{Key: e.Key, Message: e.Msg}}
	case interface{ Unwrap() []error }:
		var all []*pluginv1.Mistake
		for _, one := range e.Unwrap() {
			all = append(all, mistakesOf(one)...)
		}
		return all
	default:
		return []*pluginv1.Mistake{{Message: err.Error()}}
	}
}

func (s *serverEnd) Handle(ctx context.Context, req *pluginv1.HandleRequest) (*pluginv1.HandleResponse, error) {
	if req.GetTimeoutMs() <= 0 {
		return nil, status.Error(codes.InvalidArgument, "the call has no time-out")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(req.GetTimeoutMs())*time.Millisecond)
	defer cancel()
	answer := &pluginv1.HandleResponse{}
	for _, sent := range req.GetEvents() {
		ev, err := received(sent)
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		answer.Results = append(answer.Results, resultOf(s.server.Handle(ctx, ev)))
	}
	return answer, nil
}
