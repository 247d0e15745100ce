// Package wire joins pipehook and a compiled plugin, which is a process of its own: the handshake,
// the calls and how events and errors look on the way. It has both ends, so that they can't differ,
// and knows neither how a plugin is started nor what its author sees.
package wire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

//go:generate ./generate

// Version is the version of what is said. Another one has another package of messages. Minor counts
// what was added since: both sides say theirs, and neither relies on what the other does not know.
const (
	Version = 1
	Minor   = 2
)

// maxMessage is the most that one call may carry: the longest body there can be, its parts that are
// sent beside it, and room for the header.
const maxMessage = 192 << 20

// maxAnswer is the most that a plugin may answer. go-plugin allows all that memory holds.
const maxAnswer = 4 << 20

// What is on its way at once between the two, which are on one machine. gRPC's own values are for networks: it
// would let 64 KiB go before it waits for the other side, less than a batch, and measure how long the way is
// all the time.
const (
	window = 4 << 20
	buffer = 128 << 10
)

const name = "pipehook"

// Handshake is how the two know that they were made for each other. It keeps nobody out.
var Handshake = goplugin.HandshakeConfig{ProtocolVersion: Version, MagicCookieKey: "PIPEHOOK_PLUGIN", MagicCookieValue: "92f0d4c2-listeners-and-more"}

// The kinds of what a plugin is started as. One may be able to be several.
const (
	Listener = "listener"
	Stage    = "stage"
	Source   = "source"
)

// batch is what a Manifest has beside Listener when the plugin takes several events at once.
const batch = "listener.batch"

// Setup is what a plugin is started with.
type Setup struct {
	Kind    string // Listener, Stage or Source
	Name    string // of that listener or stage; what the events of that source have as their source
	Config  []byte // JSON
	Secrets map[string]string
	Host    Address // where it can ask for something; empty when it can't
}

// Address is where pipehook answers a plugin, and what it must show there.
type Address struct{ Path, Token string }

// Manifest is what a plugin says of itself.
type Manifest struct {
	Name, Version string
	Does          []string
	Minor         int // of the protocol
}

// Can reports whether the plugin can be started as the kind.
func (m *Manifest) Can(kind string) bool { return slices.Contains(m.Does, kind) }

// Batches reports whether the plugin takes several events with one message.
func (m *Manifest) Batches() bool { return m.Can(batch) }

// Contract is the version of the protocol that both sides know, such as 1.1.
func (m *Manifest) Contract() string { return fmt.Sprintf("%d.%d", Version, min(m.Minor, Minor)) }

// Call is the delivery that an event is handed over for. Its ID is what HostServer is asked with.
type Call struct {
	ID      uint64
	Attempt int
}

// KindError says that a plugin is used as what it is not.
type KindError struct {
	Plugin string   // as it calls itself
	Kind   string   // that it is named as
	Does   []string // what it is
}

func (e *KindError) Error() string {
	var kinds []string
	for _, word := range e.Does {
		if word == Listener || word == Stage || word == Source {
			kinds = append(kinds, "a "+word)
		}
	}
	if len(kinds) == 0 {
		return e.Plugin + " is no listener, no stage and no source"
	}
	return fmt.Sprintf("%s is %s, and is named as a %s", e.Plugin, strings.Join(kinds, " and "), e.Kind)
}

// ConfigError is a mistake in a plugin's configuration.
type ConfigError struct {
	Key    string // in the config table, such as "retry.max"; empty for all of it
	Msg    string
	Secret bool // Key is in secrets instead
}

func (e *ConfigError) Error() string {
	switch {
	case e.Secret:
		return strings.TrimSuffix("secrets."+e.Key, ".") + ": " + e.Msg
	case e.Key == "":
		return e.Msg
	}
	return e.Key + ": " + e.Msg
}

// Server is the plugin's end. But for Configure its methods are called several times at once, and
// those of kinds that it can't be started as are not called.
type Server interface {
	// Configure is called once, before all else. The ConfigErrors in its error are shown with their
	// places in the file.
	Configure(ctx context.Context, s Setup) (Manifest, error)

	Handle(ctx context.Context, call Call, ev core.Event) error
	Process(ctx context.Context, call Call, ev *core.Event) (core.Verdict, error)
	Name(ctx context.Context, call Call, ev *core.Event) error
}

// Set is what a plugin serves and pipehook asks for. The host passes nil.
func Set(s Server) goplugin.PluginSet { return goplugin.PluginSet{name: &joint{server: s}} }

// Serve serves until pipehook ends the plugin.
func Serve(s Server, config goplugin.ServeConfig) {
	config.HandshakeConfig = Handshake
	config.VersionedPlugins = map[int]goplugin.PluginSet{Version: Set(s)}
	config.GRPCServer = newServer
	goplugin.Serve(&config)
}

func newServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(maxMessage),
		grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(window), grpc.ReadBufferSize(buffer), grpc.WriteBufferSize(buffer))...)
}

// DialOptions are those of pipehook's end of the connection.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window), grpc.WithReadBufferSize(buffer), grpc.WithWriteBufferSize(buffer),
	}
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
	register(s, j.server)
	return nil
}

func (j *joint) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return newClient(conn), nil
}

func register(on *grpc.Server, s Server) {
	end := &serverEnd{server: s}
	pluginv1.RegisterPluginServiceServer(on, end)
	pluginv1.RegisterListenerServiceServer(on, end)
	pluginv1.RegisterStageServiceServer(on, end)
	pluginv1.RegisterSourceServiceServer(on, end)
}

func newClient(conn grpc.ClientConnInterface) *Client {
	return &Client{
		plugin: pluginv1.NewPluginServiceClient(conn), listener: pluginv1.NewListenerServiceClient(conn),
		stage: pluginv1.NewStageServiceClient(conn), source: pluginv1.NewSourceServiceClient(conn),
	}
}
