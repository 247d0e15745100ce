package scripttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
)

// Events makes the events that tests and trials use.
type Events struct {
	// Sample is a recorded body by the type of its event, such as updated.deal.
	Sample func(eventType string) (body []byte, ok bool)
	Types  []string // that Sample has
	// Name reads an event out of its body, as the source does that the event names.
	Name func(ev *core.Event) error
	// Source is what reads bodies of which nothing else is known, and Pipeline where they come in.
	Source, Pipeline string
}

// change is what a test says about an event beside what was recorded.
type change struct {
	Current    json.RawMessage   `json:"current"`
	Previous   json.RawMessage   `json:"previous"`
	Meta       json.RawMessage   `json:"meta"`
	Labels     map[string]string `json:"labels"`
	ID         string            `json:"id"`
	Pipeline   string            `json:"pipeline"`
	Source     string            `json:"source"`
	Action     string            `json:"action"`
	Object     string            `json:"object"`
	ObjectID   json.RawMessage   `json:"objectId"` // text or a number
	OccurredAt string            `json:"occurredAt"`
	ReceivedAt string            `json:"receivedAt"`
	Attempt    *int              `json:"attempt"`
	Version    string            `json:"version"`
	Replayed   bool              `json:"replayed"`
	Gathered   []string          `json:"gathered"`
}

// stored is what pipehook events show --json prints of an event.
type stored struct {
	ID         string    `json:"id"`
	Pipeline   string    `json:"pipeline"`
	Source     string    `json:"source"`
	ReceivedAt time.Time `json:"receivedAt"`
	Raw        string    `json:"raw"`
	Header     http.Header
}

// IsFile reports whether what an event is made of names a file, not a type.
func IsFile(of string) bool {
	return strings.HasPrefix(of, "./") || strings.HasPrefix(of, "../") || filepath.IsAbs(of) || strings.HasSuffix(of, ".json")
}

// Recorded is the event of a recorded body, changed as text says in JSON.
func (e *Events) Recorded(eventType, text string, now time.Time) (core.Event, error) {
	body, ok := e.Sample(eventType)
	if !ok {
		return core.Event{}, fmt.Errorf("nothing is recorded of %q: there are %s; or describe an event, fixture({ action, object, … })", eventType, strings.Join(e.Types, ", "))
	}
	return e.read(body, text, now)
}

// File is the event of a file: a body, or what pipehook events show --json has printed.
func (e *Events) File(path, text string, now time.Time) (core.Event, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return core.Event{}, err
	}
	ev, err := e.read(body, text, now)
	if err != nil {
		return ev, fmt.Errorf("%s: %w", path, err)
	}
	return ev, nil
}

func (e *Events) read(body []byte, text string, now time.Time) (core.Event, error) {
	ch, err := parseChange(text)
	if err != nil {
		return core.Event{}, err
	}
	ev := core.Event{Pipeline: e.Pipeline, Source: e.Source, ReceivedAt: now, Header: http.Header{"Content-Type": {"application/json"}}}
	var was stored
	if json.Unmarshal(body, &was) == nil && was.Raw != "" && was.Source != "" {
		ev.ID, ev.Pipeline, ev.Source, ev.ReceivedAt, body = was.ID, was.Pipeline, was.Source, was.ReceivedAt, []byte(was.Raw)
		if was.Header != nil {
			ev.Header = was.Header
		}
	} else {
		var compact bytes.Buffer
		if err := json.Compact(&compact, body); err != nil {
			return ev, fmt.Errorf("it is not JSON: %w", err)
		}
		body = compact.Bytes()
	}
	if ch.Source != "" {
		ev.Source = ch.Source
	}
	ev.Body = ch.body(body)
	if err := e.Name(&ev); err != nil {
		return ev, err
	}
	return ev, ch.fields(&ev)
}

// Described is an event of any sender, all of which text says in JSON.
func (e *Events) Described(text, more string, now time.Time) (core.Event, error) {
	ch, err := parseChange(mergeJSON(text, more))
	if err != nil {
		return core.Event{}, err
	}
	if ch.Action == "" || ch.Object == "" {
		return core.Event{}, errors.New("an event that is described needs an action and an object: fixture({ action: \"added\", object: \"invoice\" })")
	}
	ev := core.Event{Pipeline: e.Pipeline, Source: "test", ReceivedAt: now, Body: []byte(text), Current: orNil(ch.Current), Previous: orNil(ch.Previous), Meta: orNil(ch.Meta)}
	return ev, ch.fields(&ev)
}

func parseChange(text string) (*change, error) {
	ch := &change{}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(ch); err != nil {
		return nil, fmt.Errorf("the change of a fixture: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return ch, nil
}

func orNil(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// body puts what a change says about the record where this sender has it. With Pipedrive's version 2
// previous is all that changed, so it is not merged.
func (ch *change) body(body []byte) []byte {
	v2 := strings.HasPrefix(gjson.GetBytes(body, "meta.version").String(), "2")
	now := "current"
	if v2 {
		now = "data"
	}
	text := string(body)
	put := func(name string, value json.RawMessage, merge bool) {
		if value == nil {
			return
		}
		if !merge {
			text = mergeJSON(text, `{"`+name+`":null}`)
		}
		text = mergeJSON(text, `{"`+name+`":`+string(value)+`}`)
	}
	put(now, ch.Current, true)
	put("previous", ch.Previous, !v2)
	put("meta", ch.Meta, true)
	if ch.ObjectID != nil {
		id := string(ch.ObjectID)
		for _, at := range [][2]string{{now, "id"}, {"meta", "entity_id"}, {"meta", "id"}} {
			old := gjson.Get(text, at[0]+"."+at[1])
			if !old.Exists() || v2 && at == [2]string{"meta", "id"} { // there it is the delivery's
				continue
			}
			text = mergeJSON(text, `{"`+at[0]+`":{"`+at[1]+`":`+id+`}}`)
		}
	}
	return []byte(text)
}

// mergeJSON puts the members of one object into another; objects inside are merged as well.
func mergeJSON(doc, more string) string {
	a, b := gjson.Parse(doc), gjson.Parse(more)
	if !a.IsObject() || !b.IsObject() {
		return more
	}
	var out []string
	seen := map[string]bool{}
	a.ForEach(func(name, value gjson.Result) bool {
		raw := value.Raw
		if with, ok := member(b, name.String()); ok {
			raw = mergeJSON(raw, with.Raw)
		}
		seen[name.String()] = true
		out = append(out, name.Raw+":"+raw)
		return true
	})
	b.ForEach(func(name, value gjson.Result) bool {
		if !seen[name.String()] {
			out = append(out, name.Raw+":"+value.Raw)
		}
		return true
	})
	return "{" + strings.Join(out, ",") + "}"
}

// member looks a name up as it is written; gjson's paths have characters of their own.
func member(object gjson.Result, name string) (found gjson.Result, ok bool) {
	object.ForEach(func(key, value gjson.Result) bool {
		if key.String() == name {
			found, ok = value, true
		}
		return true
	})
	return found, ok
}

// fields sets what a change says beside the body.
func (ch *change) fields(ev *core.Event) error {
	for field, value := range map[*string]string{&ev.ID: ch.ID, &ev.Pipeline: ch.Pipeline, &ev.Source: ch.Source, &ev.Action: ch.Action, &ev.Object: ch.Object, &ev.Version: ch.Version} {
		if value != "" {
			*field = value
		}
	}
	ev.Action = core.CanonicalAction(ev.Action)
	if ch.ObjectID != nil {
		ev.ObjectID = strings.Trim(string(ch.ObjectID), `"`)
	}
	for field, text := range map[*time.Time]string{&ev.OccurredAt: ch.OccurredAt, &ev.ReceivedAt: ch.ReceivedAt} {
		if text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return fmt.Errorf("a fixture's time is written as 2026-01-05T09:00:00Z, not %q", text)
		}
		*field = t
	}
	if ch.Attempt != nil {
		ev.Attempt = *ch.Attempt
	}
	if ch.Labels != nil {
		ev.Labels = ch.Labels
	}
	ev.Replayed, ev.Gathered = ch.Replayed, ch.Gathered
	return nil
}
