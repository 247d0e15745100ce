// Package wire joins pipehook and a compiled plugin, which is a process of its own: the handshake,
// the calls and how events and errors look on the way. It has both ends, so that they can't differ,
// and knows neither how a plugin is started nor what its author sees.
package wire

import (
	"context"
	"errors"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

//go:generate ./generate

// Version is the version of what is said. Another one has another package of messages.
const Version = 1

// maxMessage is the most that one call may carry: the longest body there can be, its parts that are
// sent beside it, and room for the header.
const maxMessage = 192 << 20

// maxAnswer is the most that a plugin may answer. go-plugin allows all that memory holds.
const maxAnswer = 4 << 20

const name = "pipehook"

// Handshake is how the two know that they were made for each other. It keeps nobody out.
var Handshake = goplugin.HandshakeConfig{ProtocolVersion: Version, MagicCookieKey: "PIPEHOOK_PLUGIN", MagicCookieValue: "92f0d4c2-listeners-and-more"}

// Manifest is what a plugin says of itself.
type Manifest struct {
	Name, Version string
	Does          []string // Listens, so far
}

// Listens is in the Manifest of a plugin that handles events.
const Listens = "listener"

// ConfigError is a mistake in a plugin's configuration.
type ConfigError struct {
	Key string // in the config table, such as "retry.max"; empty for all of it
	Msg string
}

func (e *ConfigError) Error() string {
	if e.Key == "" {
		return e.Msg
	}
	return e.Key + ": " + e.Msg
}

// Server is the plugin's end.
type Server interface {
	core.Listener

	// Configure is called once, before all else. The ConfigErrors in its error are shown with their
	// places in the file.
	Configure(ctx context.Context, config []byte) (Manifest, error)
}

// Set is what a plugin serves and pipehook asks for. The host passes nil.
func Set(s Server) goplugin.PluginSet { return goplugin.PluginSet{name: &joint{server: s}} }

// Serve serves until pipehook ends the plugin.
func Serve(s Server, config goplugin.ServeConfig) {
	config.HandshakeConfig = Handshake
	config.VersionedPlugins = map[int]goplugin.PluginSet{Version: Set(s)}
	config.GRPCServer = func(opts []grpc.ServerOption) *grpc.Server {
		return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(maxMessage))...)
	}
	goplugin.Serve(&config)
}

// Dispense is the host's end of a connection.
func Dispense(conn goplugin.ClientProtocol) (*Client, error) {
	raw, err := conn.Dispense(name)
	if err != nil {
		return nil, err
	}
	c, ok := raw.(*Client)
	if !ok {
		return nil, errors.New("the plugin set is not that of this package")
	}
	return c, nil
}

// joint is what go-plugin asks for the two ends.
type joint struct {
	goplugin.NetRPCUnsupportedPlugin
	server Server
}

func (j *joint) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	end := &serverEnd{server: j.server}
	pluginv1.RegisterPluginServiceServer(s, end)
	pluginv1.RegisterListenerServiceServer(s, end)
	return nil
}

func (j *joint) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return &Client{plugin: pluginv1.NewPluginServiceClient(conn), listener: pluginv1.NewListenerServiceClient(conn)}, nil
}
