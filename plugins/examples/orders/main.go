// Command orders is an example of a source, for a sender whose bodies are no JSON: shops that send XML
// when something happens to an order. It says which event each request is.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	_ "time/tzdata" // a container may have no time zones

	"github.com/pipehook/pipehook/plugins/sdk"
)

func main() {
	o := &orders{}
	sdk.Serve(sdk.Plugin{Name: "orders", Version: "1.0.0", Config: o, Source: o})
}

// orders is the configuration and the source in one.
type orders struct {
	// Shops are those that may send, each with the time zone that its times are in: they say none.
	Shops map[string]string `json:"shops" validate:"required,min=1"`

	zones map[string]*time.Location
}

// Start looks at the configuration before the first request.
func (o *orders) Start(context.Context, *sdk.Host) error {
	var wrong []error
	o.zones = map[string]*time.Location{}
	for shop, name := range o.Shops {
		zone, err := time.LoadLocation(name)
		if err != nil || name == "" {
			wrong = append(wrong, sdk.Wrong("shops."+shop, fmt.Sprintf("%q is no time zone; take one as Europe/Berlin or UTC", name)))
		}
		o.zones[shop] = zone
	}
	return errors.Join(wrong...)
}

// actions are the shops' words that pipehook has its own for. Others stay as they are: paid.order.
var actions = map[string]string{"placed": "added", "changed": "updated", "cancelled": "deleted"}

// Name is called by several at once, and a sender waits. What it says is kept with the event, beside the
// body: it is not asked again. An error made by sdk.Reject is about the request, and validate answers the
// sender with it; any other would be about this plugin.
func (o *orders) Name(_ context.Context, ev *sdk.Event) error {
	n, err := read(ev.Body)
	if err != nil {
		return reject("the body is no notification of a shop: %v", err)
	}
	zone, ok := o.zones[n.Shop]
	if !ok {
		return reject("the shop %.40q is not known here", n.Shop)
	}
	if ev.OccurredAt, err = time.ParseInLocation("2006-01-02T15:04:05", n.Sent, zone); err != nil {
		return reject("sent must be a time such as 2026-11-20T09:30:00, is %.40q", n.Sent)
	}
	ev.Action = n.Event.Kind
	if action, ok := actions[ev.Action]; ok {
		ev.Action = action
	}
	ev.Object = "order"
	ev.ObjectID = n.Shop + "/" + n.Order.Number // each shop counts from 1
	ev.Attempt = n.Attempt
	ev.Facts.CompanyID = n.Shop
	ev.Key = []byte(n.Shop + "/" + n.ID) // a shop that tries again sends the same id, and dedupe knows it by that
	current, err := json.Marshal(n.Order)
	if err != nil {
		return err
	}
	if len(current) > mostJSON {
		return reject("the order is too long")
	}
	// What was deleted is not there any more: listeners look for it in previous.
	if ev.IsDelete() {
		ev.Previous = current
	} else {
		ev.Current = current
	}
	return nil
}

// reject says what is wrong with a request. The sender may read it: it holds no more of the body than
// he needs to find the place.
func reject(format string, args ...any) error {
	return sdk.Reject(http.StatusUnprocessableEntity, strings.ToValidUTF8(fmt.Sprintf(format, args...), "�"))
}
