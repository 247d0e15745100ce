// Command audit is an example of a compiled plugin: it appends a line for every event to a file, and
// an event counts as handled once its line is on the disk.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/pipehook/pipehook/plugins/sdk"
)

func main() {
	a := &audit{Path: "audit.log"}
	sdk.Serve(sdk.Plugin{Name: "audit", Version: "1.0.0", Config: a, Listener: a})
}

// audit is the configuration and the listener in one.
type audit struct {
	Path string `json:"path"` // relative to the folder of pipeline.toml

	mu   sync.Mutex
	file *os.File
}

// Start opens the file before the first event, so that a path that is wrong shows at once.
func (a *audit) Start(context.Context, *sdk.Host) (err error) {
	if a.Path == "" {
		return sdk.Wrong("path", "must not be empty")
	}
	if a.file, err = os.OpenFile(a.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return sdk.Wrong("path", err.Error())
	}
	return nil
}

// line is what is written of an event. An event that comes again has the same id.
type line struct {
	Time     time.Time `json:"time"`
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	ObjectID string    `json:"object_id"`
	User     string    `json:"user,omitempty"`
	Changed  []string  `json:"changed,omitempty"`
}

// Handle is called by several at once.
func (a *audit) Handle(ctx context.Context, ev sdk.Event) error {
	l := line{Time: ev.ReceivedAt, ID: ev.ID, Type: ev.Type(), ObjectID: ev.ObjectID, User: ev.Facts.UserID}
	for name := range ev.Changes() {
		l.Changed = append(l.Changed, name)
	}
	text, err := json.Marshal(l)
	if err != nil {
		return sdk.Permanent(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.file.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("the audit file can't be written: %w", err)
	}
	if err := a.file.Sync(); err != nil {
		return fmt.Errorf("the audit file can't be written: %w", err)
	}
	slog.DebugContext(ctx, "noted", "event", ev.ID)
	return nil
}
