// Command audit is an example of a listener: it appends a line for every event to a file, and an event
// counts as handled once its line is on the disk.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/pipehook/pipehook/plugins/sdk"
)

func main() {
	a := &audit{Path: "audit.log"} // the defaults of the config table
	sdk.Serve(sdk.Plugin{Name: "audit", Version: "1.1.0", Config: a, Listener: a})
}

// audit is the configuration and the listener in one.
type audit struct {
	Path string `json:"path" validate:"required"` // relative to the folder of pipeline.toml

	host *sdk.Host
	mu   sync.Mutex // Handle is called by several at once
	file *os.File
}

// Start opens the file before the first event, so that a path that is wrong shows at once.
func (a *audit) Start(_ context.Context, host *sdk.Host) (err error) {
	a.host = host
	if a.file, err = os.OpenFile(a.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return sdk.Wrong("path", err.Error())
	}
	return nil
}

// Stop is called when no event is handled any more.
func (a *audit) Stop(context.Context) error { return a.file.Close() }

// line is what is written of an event. An event that comes again has the same id.
type line struct {
	Time     time.Time `json:"time"`
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	ObjectID string    `json:"object_id"`
	User     string    `json:"user,omitempty"`
	Changed  []string  `json:"changed,omitempty"`
}

// Handle writes an event's line. An error has the event tried again, one of sdk.Permanent gives it up.
func (a *audit) Handle(ctx context.Context, ev sdk.Event) error {
	text, err := json.Marshal(line{
		Time: ev.ReceivedAt, ID: ev.ID, Type: ev.Type(), ObjectID: ev.ObjectID, User: ev.Facts.UserID,
		Changed: slices.Sorted(maps.Keys(ev.Changes())),
	})
	if err != nil {
		return sdk.Permanent(err)
	}
	if err := a.write(append(text, '\n')); err != nil {
		return fmt.Errorf("the audit file can't be written: %w", err)
	}
	a.host.Count("lines", 1) // on /metrics: pipehook_plugin_count_total{name="lines"}
	a.host.Log().DebugContext(ctx, "noted", "event", ev.ID)
	return nil
}

// write has a line on the disk when it returns.
func (a *audit) write(text []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.file.Write(text); err != nil {
		return err
	}
	return a.file.Sync()
}
