package wire

import (
	"google.golang.org/grpc"

	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// The parts that tests put together in another way.
var (
	NewClient = newClient
	Register  = register
	HostAt    = dialHost
	ResultOf  = result
	Judged    = judged
	Naming    = naming
	Sent      = sent
	Received  = received
)

// NewHostClient is a client without a token.
func NewHostClient(conn *grpc.ClientConn) *HostClient {
	return &HostClient{conn: conn, host: pluginv1.NewHostServiceClient(conn)}
}

// HostEnd answers requests as they come over the wire.
func HostEnd(s HostServer) pluginv1.HostServiceServer { return &hostEnd{server: s} }

// ServerEnd does so in the plugin.
func ServerEnd(s Server) pluginv1.StageServiceServer { return &serverEnd{server: s} }
