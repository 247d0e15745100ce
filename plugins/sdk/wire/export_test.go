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
	Sent      = sent
	Received  = received
)

// NewHostClient is a client without a token.
func NewHostClient(conn *grpc.ClientConn) *HostClient {
	return &HostClient{conn: conn, host: pluginv1.NewHostServiceClient(conn)}
}
