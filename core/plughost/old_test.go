//go:build unix

package plughost_test

import (
	"context"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pipehook/pipehook/plugins/sdk/wire"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// oldLab is the name under which the test's binary is a plugin that knows 1.0 only.
const oldLab = "old"

type oldPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	pluginv1.UnimplementedPluginServiceServer
	pluginv1.UnimplementedListenerServiceServer
}

func serveOld() {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: map[int]goplugin.PluginSet{wire.Version: {"pipehook": &oldPlugin{}}},
		GRPCServer:       goplugin.DefaultGRPCServer,
	})
}

func (p *oldPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	pluginv1.RegisterPluginServiceServer(s, p)
	pluginv1.RegisterListenerServiceServer(s, p)
	return nil
}

func (p *oldPlugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil // it is only served
}

func (p *oldPlugin) Configure(context.Context, *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	return &pluginv1.ConfigureResponse{Name: "lab", Version: "0.9.0", Does: []string{"listener"}}, nil
}

func (p *oldPlugin) Handle(_ context.Context, req *pluginv1.HandleRequest) (*pluginv1.HandleResponse, error) {
	answer := &pluginv1.HandleResponse{}
	for _, ev := range req.GetEvents() {
		answer.Results = append(answer.Results, &pluginv1.Result{Outcome: pluginv1.Outcome_OUTCOME_FAILED, Message: "old " + ev.GetId()})
	}
	return answer, nil
}
