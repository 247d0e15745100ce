package wire

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Loop joins the two ends in one process, over a unix socket: for tests. stop breaks off the calls that
// run, and returns when they have ended.
func Loop(s Server) (c *Client, stop func(), err error) {
	dir, err := os.MkdirTemp("", "pipehook-") // a test's own folder may be too deep for a socket
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(dir, "plugin")
	at, err := net.Listen("unix", path)
	if err != nil {
		return nil, nil, fmt.Errorf("the plugin's socket: %w", err)
	}
	server := newServer([]grpc.ServerOption{grpc.WaitForHandlers(true)})
	register(server, s)
	served := make(chan struct{})
	go func() { // ends with stop
		defer close(served)
		_ = server.Serve(at) // a listener that breaks is seen by who calls
	}()
	conn, err := grpc.NewClient("unix:"+path, append(DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil { // the name of a socket can't be wrong
		panic(err)
	}
	return newClient(conn), func() {
		_ = conn.Close() // it only fails when it was closed
		server.Stop()
		<-served
		_ = os.RemoveAll(dir)
	}, nil
}
