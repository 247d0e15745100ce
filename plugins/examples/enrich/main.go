// Command enrich is an example of a stage: it looks up the owner of a deal in a table, labels the event
// with his team and tier, turns away what lacks a field, and drops what test users do. Listeners then
// choose by label, as with where = { "labels.team" = "north" }.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/pipehook/pipehook/plugins/sdk"
)

func main() {
	e := &enrich{Owners: "owners.csv"}
	sdk.Serve(sdk.Plugin{Name: "enrich", Version: "1.0.0", Config: e, Stage: e})
}

// enrich is the configuration and the stage in one.
type enrich struct {
	Owners    string   `json:"owners" validate:"required"` // a CSV file of user_id, team and tier; relative to the folder of pipeline.toml
	Required  []string `json:"required"`                   // fields without which a deal is answered 422
	TestUsers []string `json:"test_users"`                 // users whose events nobody wants
	Closed    bool     `json:"closed"`                     // a deal that is won or lost is won.deal or lost.deal, not updated.deal

	host   *sdk.Host
	owners *table
}

// Start reads the table, so that a mistake in it shows at once.
func (e *enrich) Start(_ context.Context, host *sdk.Host) (err error) {
	e.host = host
	if e.owners, err = open(e.Owners); err != nil {
		return sdk.Wrong("owners", err.Error())
	}
	return nil
}

// deal is what is read of a deal. Pipedrive calls its owner owner_id, and in its first format user_id.
type deal struct {
	OwnerID json.Number `json:"owner_id"`
	UserID  json.Number `json:"user_id"`
	Status  string      `json:"status"`
}

func (d *deal) owner() string {
	if d.OwnerID != "" {
		return d.OwnerID.String()
	}
	return d.UserID.String()
}

// Process is called by several at once, and a sender waits: nothing here asks the network. What it
// changes of the event is kept with it, so listeners, retries and replays see it.
func (e *enrich) Process(_ context.Context, ev *sdk.Event) (sdk.Verdict, error) {
	if !ev.IsObjectType("deal") {
		return sdk.Continue, nil
	}
	if slices.Contains(e.TestUsers, ev.Facts.UserID) {
		ev.Remark("user " + ev.Facts.UserID + " tests") // pipehook events explain shows it
		return sdk.Drop, nil
	}
	if err := e.check(ev); err != nil {
		return sdk.Continue, err
	}
	var d deal
	if err := json.Unmarshal(record(ev), &d); err != nil {
		return sdk.Continue, fmt.Errorf("the deal can't be read: %w", err) // on_failure says what becomes of the event
	}
	if e.Closed && ev.IsUpdate() && ev.Changed("status") && (d.Status == "won" || d.Status == "lost") {
		ev.Action = d.Status
	}
	e.label(ev, d.owner())
	return sdk.Continue, nil
}

// record is the deal as it is, or as it was when it was deleted.
func record(ev *sdk.Event) json.RawMessage {
	switch {
	case ev.Current != nil:
		return ev.Current
	case ev.Previous != nil:
		return ev.Previous
	}
	return json.RawMessage("{}")
}

// check turns away a deal that lacks a field. Mind that Pipedrive gives up a webhook that is refused too
// often: ask for no more than what you can't do without.
func (e *enrich) check(ev *sdk.Event) error {
	if len(e.Required) == 0 || ev.Current == nil {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(ev.Current, &fields); err != nil {
		return sdk.Reject(http.StatusUnprocessableEntity, "a deal must be a JSON object")
	}
	for _, name := range e.Required {
		if value := string(fields[name]); value == "" || value == "null" || value == `""` {
			return sdk.Reject(http.StatusUnprocessableEntity, "a deal needs a "+name)
		}
	}
	return nil
}

// label says of an event whose it is. Without a line for the owner it has no labels, which a count shows.
func (e *enrich) label(ev *sdk.Event, owner string) {
	who, err := e.owners.find(owner)
	if err != nil {
		e.host.Log().Warn("the table of owners can't be read again; what it said before still holds", "err", err)
	}
	if who == nil {
		e.host.Count("unknown_owners", 1)
		return
	}
	if ev.Labels == nil {
		ev.Labels = map[string]string{}
	}
	ev.Labels["team"], ev.Labels["tier"] = who.team, who.tier
}
