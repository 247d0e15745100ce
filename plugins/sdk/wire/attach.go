package wire

import (
	"context"
	"net"
	"sync"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"

	"github.com/pipehook/pipehook/core"
)

// Attachment is where a process that was started by hand serves, and of which version.
type Attachment struct {
	Protocol int    `json:"protocol"`
	Address  string `json:"address"` // of a unix socket
	PID      int    `json:"pid"`
}

// ServeEach serves without a handshake and without TLS, and gives each that connects a Server of its own:
// several hosts, or several places of one, may use the process. gone is told of a Server whose connection
// has ended, with its calls. It returns when stop has ended, with all connections.
func ServeEach(stop context.Context, at net.Listener, each func() Server, gone func(Server)) error {
	server := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.StatsHandler(&doors{each: each, gone: gone}))
	for _, p := range Set(byConnection{}) {
		if err := p.(goplugin.GRPCPlugin).GRPCServer(nil, server); err != nil {
			return err
		}
	}
	defer context.AfterFunc(stop, server.Stop)()
	return server.Serve(at)
}

// Attach is the other end of a connection to ServeEach.
func Attach(dial func(context.Context) (net.Conn, error)) (*Client, *grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:plugin",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0))
	if err != nil {
		return nil, nil, err
	}
	c, err := Dispense(&goplugin.GRPCClient{Conn: conn, Plugins: Set(nil)})
	return c, conn, err
}

// door is what one connection leads to.
type door struct {
	server Server
	calls  sync.RWMutex // held for reading by each
}

type doorKey struct{}

func doorOf(ctx context.Context) *door { return ctx.Value(doorKey{}).(*door) }

// doors puts each connection's door into the contexts of its calls.
type doors struct {
	each func() Server
	gone func(Server)
}

func (d *doors) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, doorKey{}, &door{server: d.each()})
}

func (d *doors) HandleConn(ctx context.Context, s stats.ConnStats) {
	if _, ended := s.(*stats.ConnEnd); ended {
		door := doorOf(ctx)
		door.calls.Lock()
		defer door.calls.Unlock()
		d.gone(door.server)
	}
}

func (d *doors) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (d *doors) HandleRPC(ctx context.Context, s stats.RPCStats) {
	switch s.(type) {
	case *stats.Begin:
		doorOf(ctx).calls.RLock()
	case *stats.End:
		doorOf(ctx).calls.RUnlock()
	}
}

// byConnection is the Server of whoever calls.
type byConnection struct{}

func (byConnection) Configure(ctx context.Context, s Setup) (Manifest, error) {
	return doorOf(ctx).server.Configure(ctx, s)
}

func (byConnection) Handle(ctx context.Context, c Call, ev core.Event) error {
	return doorOf(ctx).server.Handle(ctx, c, ev)
}

func (byConnection) Process(ctx context.Context, c Call, ev *core.Event) (core.Verdict, error) {
	return doorOf(ctx).server.Process(ctx, c, ev)
}

func (byConnection) Name(ctx context.Context, c Call, ev *core.Event) error {
	return doorOf(ctx).server.Name(ctx, c, ev)
}
