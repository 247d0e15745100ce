// Package sdktest runs a plugin in its author's test, over a real connection but in one process, so
// that a debugger and the race detector see all of it. It does not know what the plugin does.
package sdktest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// Run connects to the plugin and gives it the config, which is written as JSON: a map, or nil for
// none. The error is what the plugin finds wrong with it. The listener's calls go over the
// connection and have ten seconds, or as long as their context says.
func Run(t testing.TB, p sdk.Plugin, config any) (sdk.Listener, error) {
	t.Helper()
	table, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	s := sdk.NewServer(p)
	conn, _ := goplugin.TestPluginGRPCConn(t, false, wire.Set(s))
	t.Cleanup(func() {
		_ = conn.Close() // which stops the server, too
		s.Stop()
	})
	client, err := wire.Dispense(conn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if _, err := client.Configure(ctx, wire.Setup{Kind: wire.Listener, Name: p.Name, Config: table}); err != nil {
		return nil, err
	}
	return sdk.ListenerFunc(func(ctx context.Context, ev sdk.Event) error {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		deadline, _ := ctx.Deadline()
		var result wire.Result
		if err := client.Handle(ctx, time.Until(deadline), []wire.Given{{Event: &ev}}, func(_ int, r wire.Result) { result = r }); err != nil {
			return err
		}
		return result.Err
	}), nil
}

const within = 10 * time.Second
