package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/pipehook/pipehook/plugins/sdk"
)

// byPipehook reports whether an example is started as a plugin.
func byPipehook() bool { return os.Getenv("PIPEHOOK_PLUGIN") != "" }

// A plugin that only looks needs no configuration and no type of its own.
func ExampleServe() {
	if !byPipehook() {
		return
	}
	sdk.Serve(sdk.Plugin{
		Name: "looker", Version: "1.0.0",
		Listener: sdk.ListenerFunc(func(_ context.Context, ev sdk.Event) error {
			slog.Info("seen", "event", ev.ID, "type", ev.Type())
			return nil
		}),
	})
	// Output:
}

// sender is a listener with a configuration, which is checked before the first event.
type sender struct {
	URL     string        `json:"url" validate:"required,url"`
	Timeout time.Duration `json:"timeout" validate:"gt=0"` // config = { url = "…", timeout = "5s" }
	token   string
}

// Start gets what pipehook does for the plugin.
func (s *sender) Start(_ context.Context, host *sdk.Host) (err error) {
	s.token, err = host.NeedSecret("api")
	return err
}

func (s *sender) Handle(ctx context.Context, ev sdk.Event) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.URL+"/"+ev.ObjectID, nil)
	if err != nil {
		return sdk.Permanent(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err // another attempt may succeed
	}
	_ = answer.Body.Close() // nothing of it is read
	switch {
	case answer.StatusCode == http.StatusTooManyRequests:
		return sdk.RetryAfter(time.Minute, errors.New(answer.Status))
	case answer.StatusCode >= 400:
		return sdk.Permanent(errors.New(answer.Status))
	}
	return nil
}

// The configuration may be the listener itself, with defaults in it.
func ExampleServe_configuration() {
	if !byPipehook() {
		return
	}
	s := &sender{Timeout: 5 * time.Second}
	sdk.Serve(sdk.Plugin{Name: "sender", Version: "1.0.0", Config: s, Listener: s})
	// Output:
}

// sizer is a stage that labels deals by their value, and turns away what has none.
type sizer struct {
	Large float64 `json:"large" validate:"gt=0"`
}

func (s *sizer) Process(_ context.Context, ev *sdk.Event) (sdk.Verdict, error) {
	var deal struct {
		Value *float64 `json:"value"`
	}
	switch err := json.Unmarshal(ev.Current, &deal); {
	case err != nil || deal.Value == nil:
		return sdk.Continue, sdk.Reject(422, "a deal has a value")
	case *deal.Value == 0:
		ev.Remark("it is worth nothing")
		return sdk.Drop, nil
	case *deal.Value >= s.Large:
		ev.Labels = map[string]string{"size": "large"}
	}
	return sdk.Continue, nil
}

// A stage changes the event that it is given.
func ExampleServe_stage() {
	if !byPipehook() {
		return
	}
	s := &sizer{Large: 10_000}
	sdk.Serve(sdk.Plugin{Name: "sizer", Version: "1.0.0", Config: s, Stage: s})
	// Output:
}

// orders is a source: it knows how a shop writes.
type orders struct{}

func (orders) Name(_ context.Context, ev *sdk.Event) error {
	var order struct {
		Number json.Number
		Status string
	}
	if err := json.Unmarshal(ev.Body, &order); err != nil {
		return sdk.Reject(400, "it is no order")
	}
	ev.Action, ev.Object, ev.ObjectID = order.Status, "order", order.Number.String()
	ev.Current = json.RawMessage(ev.Body)
	return nil
}

// A source fills in the event that a request is.
func ExampleServe_source() {
	if !byPipehook() {
		return
	}
	sdk.Serve(sdk.Plugin{Name: "orders", Version: "1.0.0", Source: orders{}})
	// Output:
}

// counter counts the changes of each record in pipehook's store, and emits an event for every tenth.
type counter struct{ host *sdk.Host }

func (c *counter) Start(_ context.Context, host *sdk.Host) error {
	c.host = host
	return nil
}

func (c *counter) Handle(ctx context.Context, ev sdk.Event) error {
	key := ev.Object + "/" + ev.ObjectID
	for {
		var n int
		entry, found, err := c.host.KV().Entry(ctx, key)
		if err == nil && found {
			err = json.Unmarshal(entry.Value, &n)
		}
		if err != nil {
			return fmt.Errorf("what was counted can't be read: %w", err)
		}
		n++
		written, err := c.host.KV().SetIf(ctx, key, n, 24*time.Hour, entry.Version) // another process may be faster
		if err != nil {
			return err
		}
		if !written {
			continue
		}
		c.host.Count("changes", 1)
		if n%10 == 0 {
			_, err = c.host.Emit(ctx, sdk.Emission{Action: "busy", Object: ev.Object, ObjectID: ev.ObjectID, Current: map[string]int{"changes": n}})
		}
		return err
	}
}

// A plugin remembers, counts and emits with its Host.
func ExampleHost() {
	if !byPipehook() {
		return
	}
	c := &counter{}
	sdk.Serve(sdk.Plugin{Name: "counter", Version: "1.0.0", Listener: c})
	// Output:
}
