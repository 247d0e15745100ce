// Command plugin is the plugin of pipehook's own tests: a stage, a source and a listener that do what
// the event asks for.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"

	"github.com/pipehook/pipehook/plugins/sdk"
)

func main() {
	c := &config{}
	sdk.Serve(sdk.Plugin{Name: "plugin", Version: "1.0.0", Config: c, Stage: stage{c}, Source: source{}, Listener: listener{}})
}

type config struct {
	Mark string `json:"mark"` // a label that every event gets
	Bad  bool   `json:"bad"`
}

// picky is set in a binary whose stage refuses every configuration.
var picky string

type stage struct{ config *config }

func (s stage) Start(context.Context, *sdk.Host) error {
	if s.config.Bad || picky != "" {
		return sdk.Wrong("bad", "must not be true")
	}
	slog.Info("the stage has begun", "pid", os.Getpid())
	return nil
}

func (s stage) Process(_ context.Context, ev *sdk.Event) (sdk.Verdict, error) {
	var current map[string]json.RawMessage
	if json.Unmarshal(ev.Current, &current) != nil {
		return sdk.Continue, nil
	}
	var title string
	_ = json.Unmarshal(current["title"], &title)
	if s.config.Mark != "" {
		ev.Labels = map[string]string{"mark": s.config.Mark}
	}
	switch title {
	case "drop":
		ev.Remark("a test")
		return sdk.Drop, nil
	case "reject":
		return sdk.Continue, sdk.Reject(409, "we have that")
	case "throw":
		return sdk.Continue, errors.New("no luck")
	case "hang":
		select {}
	case "crash":
		os.Exit(3)
	case "wrong":
		ev.Labels = map[string]string{"Size": "large"}
	case "large":
		ev.Labels = map[string]string{"size": "large"}
	case "change":
		ev.Labels = map[string]string{"size": "large"}
		ev.Action, ev.Object, ev.ObjectID = "create", "lead", "lead-1"
		current["title"] = json.RawMessage(`"changed"`)
		ev.Current, _ = json.Marshal(current)
	}
	return sdk.Continue, nil
}

type source struct{}

func (source) Name(_ context.Context, ev *sdk.Event) error {
	var body struct {
		Type  string
		Order json.RawMessage
		Was   json.RawMessage
	}
	if err := json.Unmarshal(ev.Body, &body); err != nil || body.Order == nil {
		return sdk.Reject(422, "order is missing")
	}
	var order struct{ ID string }
	_ = json.Unmarshal(body.Order, &order)
	if order.ID == "hang" {
		select {}
	}
	ev.Action, ev.Object, ev.ObjectID = body.Type, "order", order.ID
	ev.Current, ev.Previous, ev.Key = body.Order, body.Was, []byte(ev.Header.Get("X-Delivery"))
	ev.Facts.UserID = ev.Header.Get("X-Acme-Token") // which it must not see
	return nil
}

type listener struct{}

func (listener) Handle(context.Context, sdk.Event) error { return nil }
