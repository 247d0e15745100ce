// Package hooks knows what a webhook of Pipedrive's can be about, in both of its vocabularies, and compares
// the webhooks that are wanted with those that an account has. It asks nobody for anything: who lists and
// makes them is not its matter.
package hooks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// The versions of webhooks. Pipedrive makes the newer one when none is named, since March 2025.
const (
	Version1 = "1.0"
	Version2 = "2.0"
)

// Limit is how many webhooks a user can have, by Pipedrive's guide.
const Limit = 40

// Any stands for every action, or every object.
const Any = "*"

// Event is what a webhook is about, in the words of version 1, which are core's.
type Event struct{ Action, Object string }

// words are the actions of version 2 by those of version 1.
var words = map[string]string{core.Added: "create", core.Updated: "change", core.Deleted: "delete", Any: Any}

// activityType is the one object that only version 1 has, and the one that is not written in lower case.
const activityType = "activityType"

// newer are the objects that only version 2 has (changelog of 2026-04-10 and 2026-05-21, and the guide).
var newer = []string{"lead", "project", "task", "board", "phase", "deal_installment", "deal_product"}

// Parse reads "updated.deal" or "change.deal"; * is allowed on either side.
func Parse(text string) (Event, error) {
	action, object, found := strings.Cut(strings.TrimSpace(text), ".")
	if !found || action == "" || object == "" || strings.ContainsAny(object, ". \t") {
		return Event{}, fmt.Errorf("%q is no event: write action.object, such as updated.deal, *.deal or *.*", text)
	}
	e := FromWire(strings.ToLower(action), object)
	if _, ok := words[e.Action]; !ok && e.Action != core.Merged {
		return Event{}, fmt.Errorf("%q is no action: it is one of added, updated, deleted, merged and *, or create, change, delete", action)
	}
	return e, nil
}

// FromWire is the event of a webhook as the API has it, of either version.
func FromWire(action, object string) Event {
	for old, newer := range words {
		if action == newer {
			action = old
		}
	}
	switch lower := strings.ToLower(object); lower {
	case "activitytype", "activity_type":
		object = activityType
	default:
		object = lower
	}
	return Event{action, object}
}

func (e Event) String() string { return e.Action + "." + e.Object }

// Wire is the event in the words of a version, as the API takes it.
func (e Event) Wire(version string) (action, object string) {
	if version == Version1 {
		return e.Action, e.Object
	}
	if word, ok := words[e.Action]; ok {
		return word, e.Object
	}
	return e.Action, e.Object
}

// Named is the event as webhooks of the version name it: change.deal.
func (e Event) Named(version string) string {
	action, object := e.Wire(version)
	return action + "." + object
}

// Covers reports whether whatever o is about, e is about too.
func (e Event) Covers(o Event) bool {
	return (e.Action == Any || e.Action == o.Action) && (e.Object == Any || e.Object == o.Object)
}

// overlaps reports whether something can happen that both are about, each in its version.
func (e Event) overlaps(version string, o Event, other string) bool {
	actions := e.Action == Any || o.Action == Any || e.Action == o.Action
	switch {
	case !actions:
		return false
	case e.Object == Any:
		return offers(version, o.Object)
	case o.Object == Any:
		return offers(other, e.Object)
	}
	return e.Object == o.Object
}

// offers reports whether webhooks of the version can be about the object.
func offers(version, object string) bool {
	return version == Version1 && !slices.Contains(newer, object) || version != Version1 && object != activityType
}

// Check refuses an event that webhooks of the version can't be about. Of an object that it does not know it
// only warns: Pipedrive adds some now and then, and its published description lags behind.
func (e Event) Check(version string) (warning string, err error) {
	switch {
	case version == Version2 && e.Action == core.Merged:
		return "", fmt.Errorf("%s is for webhooks of version 1.0: in version 2.0 a merge is a change of the record that stays and a delete of the other; subscribe to %s, of which pipehook makes merged events too",
			e, Event{Any, e.Object})
	case version == Version2 && e.Object == activityType:
		return "", fmt.Errorf("%s is for webhooks of version 1.0 only: Pipedrive has no activityType in version 2.0; ask for it with version 1.0", e)
	case version == Version1 && slices.Contains(newer, e.Object):
		return "", fmt.Errorf("%s is for webhooks of version 2.0 only: Pipedrive has no %s in version 1.0; ask for it with version 2.0", e, e.Object)
	case e.Object == Any || e.Object == activityType:
		return "", nil
	}
	o, known := shape.Find(e.Object)
	single, plural := shape.Find(strings.TrimSuffix(e.Object, "s"))
	switch {
	case !known && plural:
		return fmt.Sprintf("pipehook knows no object %q; did you mean %s?", e.Object, single.Name), nil
	case !known:
		return fmt.Sprintf("pipehook knows no object %q; Pipedrive may", e.Object), nil
	case !o.Hooks:
		return fmt.Sprintf("Pipedrive is not known to send webhooks about %s", e.Object), nil
	case e.Action == core.Merged && !o.Merges:
		return fmt.Sprintf("Pipedrive is not known to merge %s", e.Object), nil
	}
	return "", nil
}
