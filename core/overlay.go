package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
)

// Amendment is what a user's code says about an event in place of what its source read out of the
// body. A part that is nil is left as it is.
type Amendment struct {
	Labels   map[string]string // are added; one with an empty value is taken away
	Action   *string
	Object   *string
	ObjectID *string
	Current  json.RawMessage // null takes it away
	Previous json.RawMessage
}

// Amend changes the event as a says, and has the change kept with it. It returns the names of what is
// another now, in the order of an Amendment's parts. An error is of Kind Invalid and names the part;
// then nothing has changed. Key stays as it is: it is about what happened, and a repetition of that
// must be known again whatever is said of it.
func (ev *Event) Amend(a Amendment) (changed []string, err error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	labels, err := mergeLabels(ev.Labels, a.Labels)
	if err != nil {
		return nil, err
	}
	o, err := parseOverlay(ev.Overlay)
	if err != nil {
		return nil, err
	}
	if !maps.Equal(ev.Labels, labels) {
		ev.Labels, changed = labels, append(changed, "labels")
	}
	changed = append(changed, ev.rename(&a, &o)...)
	changed = append(changed, ev.revalue(&a, &o)...)
	if o.Whole {
		o = whole(ev)
	}
	ev.Overlay = o.text()
	return changed, nil
}

// rename takes the names that are said, and notes them in the overlay.
func (ev *Event) rename(a *Amendment, o *overlay) (changed []string) {
	if a.Action != nil {
		if action := CanonicalAction(*a.Action); action != ev.Action {
			o.Action, o.AlsoAction, ev.Action, ev.AlsoAction = &action, "", action, ""
			changed = append(changed, "action")
		}
	}
	if a.Object != nil && *a.Object != ev.Object {
		o.Object, ev.Object = a.Object, *a.Object
		changed = append(changed, "object")
	}
	if a.ObjectID != nil && *a.ObjectID != ev.ObjectID {
		o.ObjectID, ev.ObjectID = a.ObjectID, *a.ObjectID
		changed = append(changed, "objectId")
	}
	return changed
}

// revalue takes the values that are said, and notes them in the overlay.
func (ev *Event) revalue(a *Amendment, o *overlay) (changed []string) {
	if said := present(a.Current); a.Current != nil && !sameJSON(said, ev.Current) {
		o.Current, ev.Current = a.Current, said
		changed = append(changed, "current")
	}
	if said := present(a.Previous); a.Previous != nil && !sameJSON(said, ev.Previous) {
		o.Previous, ev.Previous = a.Previous, said
		changed = append(changed, "previous")
	}
	return changed
}

// SetOrigin says what made the event, and has it kept with it. Whoever makes an event calls it before the
// event walks its chain.
func (ev *Event) SetOrigin(origin string) error {
	o, err := parseOverlay(ev.Overlay)
	if err != nil {
		return err
	}
	o.Origin, ev.Origin = origin, origin
	ev.Overlay = o.text()
	return nil
}

// OriginOf is the origin that is kept in an overlay, empty for none.
func OriginOf(overlay string) string {
	if !strings.HasPrefix(overlay, originFirst) {
		return ""
	}
	o, err := parseOverlay(overlay)
	if err != nil {
		return ""
	}
	return o.Origin
}

// originFirst is how an overlay begins that holds an origin.
const originFirst = `{"origin":`

// OriginPrefix is how the overlays begin of events with the origin, or, when that is empty, of those with any.
func OriginPrefix(origin string) string {
	if origin == "" {
		return originFirst
	}
	text := overlay{Origin: origin}.text()
	return text[:len(text)-1]
}

// KeepWhole has all that the source said kept with the event, so that it is not asked again when the
// event is read back: for a source whose answer may be another by then.
func (ev *Event) KeepWhole() { ev.Overlay = whole(ev).text() }

// Restore names an event that was read back: by name, which asks its source, and then by what was said
// of it since. A source of which all was kept is not asked.
func (ev *Event) Restore(name func(ev *Event) error) error {
	if ev.Overlay == "" {
		return name(ev)
	}
	o, err := parseOverlay(ev.Overlay)
	if err != nil {
		return errors.Join(err, name(ev))
	}
	ev.Origin = o.Origin
	if !o.Whole {
		err = name(ev)
	}
	o.apply(ev)
	return err
}

// AsNamed is the event as its source named it, whatever stages have said of it since: itself when they left its names and values
// alone, else one that name has named anew. Who made it stays. Not for a source of which all was kept.
func (ev *Event) AsNamed(name func(ev *Event) error) (*Event, error) {
	if ev.Overlay == "" {
		return ev, nil
	}
	own := overlay{Origin: ev.Origin}.text()
	if ev.Overlay == own {
		return ev, nil
	}
	as := &Event{
		ID: ev.ID, Pipeline: ev.Pipeline, Source: ev.Source, ReceivedAt: ev.ReceivedAt, Origin: ev.Origin, Remote: ev.Remote,
		Header: ev.Header, Body: ev.Body, Overlay: own,
	}
	return as, name(as)
}

// Bytes is about how much the event takes.
func (ev *Event) Bytes() int { return len(ev.Body) + len(ev.Overlay) }

// overlay is what is kept of an event beside its body, as JSON: what was changed of it, or all that its
// source said.
type overlay struct {
	Origin     string          `json:"origin,omitempty"` // stands first: see OriginPrefix
	Whole      bool            `json:"whole,omitempty"`  // the source need not be asked
	Action     *string         `json:"action,omitempty"`
	AlsoAction string          `json:"alsoAction,omitempty"`
	Object     *string         `json:"object,omitempty"`
	ObjectID   *string         `json:"objectId,omitempty"`
	Current    json.RawMessage `json:"current,omitempty"` // null: it was taken away
	Previous   json.RawMessage `json:"previous,omitempty"`
	Meta       json.RawMessage `json:"meta,omitempty"`

	Version    string    `json:"version,omitempty"`
	Attempt    int       `json:"attempt,omitempty"`
	OccurredAt time.Time `json:"occurredAt,omitzero"`
	Facts      Facts     `json:"facts,omitzero"`
}

func whole(ev *Event) overlay {
	return overlay{
		Origin: ev.Origin, Whole: true, Action: &ev.Action, AlsoAction: ev.AlsoAction, Object: &ev.Object, ObjectID: &ev.ObjectID,
		Current: ev.Current, Previous: ev.Previous, Meta: ev.Meta,
		Version: ev.Version, Attempt: ev.Attempt, OccurredAt: ev.OccurredAt, Facts: ev.Facts,
	}
}

// text is the overlay as it is kept, empty when it says nothing.
func (o overlay) text() string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // what stands in current is not to change
	if err := enc.Encode(o); err != nil {
		return "" // its JSON was checked when it was taken
	}
	text := string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	if text == "{}" {
		return ""
	}
	return text
}

func parseOverlay(text string) (overlay, error) {
	var o overlay
	if text == "" {
		return o, nil
	}
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return overlay{}, fmt.Errorf("what was kept of its changes can't be read: %w", err)
	}
	return o, nil
}

func (o *overlay) apply(ev *Event) {
	if o.Action != nil {
		ev.Action, ev.AlsoAction = *o.Action, o.AlsoAction
	}
	if o.Object != nil {
		ev.Object = *o.Object
	}
	if o.ObjectID != nil {
		ev.ObjectID = *o.ObjectID
	}
	if o.Current != nil {
		ev.Current = present(o.Current)
	}
	if o.Previous != nil {
		ev.Previous = present(o.Previous)
	}
	if o.Whole {
		ev.Meta, ev.Version, ev.Attempt, ev.OccurredAt, ev.Facts = present(o.Meta), o.Version, o.Attempt, o.OccurredAt, o.Facts
	}
}

// present is nil for JSON's null.
func present(v json.RawMessage) json.RawMessage {
	if v = bytes.TrimSpace(v); len(v) == 0 || string(v) == "null" {
		return nil
	}
	return v
}
