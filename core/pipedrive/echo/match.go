package echo

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// unknownID stands for the id of a record that is being created.
const unknownID = "+"

const customFields = "custom_fields"

// write is what a call writes: the records, and what events it will cause.
type write struct {
	object  string
	ids     []string
	actions []string
	values  map[string]any
}

func (w *write) creates() bool { return w.ids[0] == unknownID }

// read finds out what a call writes; false when that is nothing of which an event is known to come.
func read(c *effect.APICall, f *shape.Fields) (w write, ok bool) {
	path := strings.TrimPrefix(c.Path, "/api")
	parts := strings.Split(strings.Trim(path, "/"), "/")[1:] // behind the version
	if w.object, ok = collections[parts[0]]; !ok {
		return w, false
	}
	switch {
	case c.Method == "POST" && len(parts) == 1:
		w.ids, w.actions = []string{unknownID}, []string{core.Added}
	case (c.Method == "PATCH" || c.Method == "PUT") && len(parts) == 2:
		w.ids, w.actions = parts[1:2], []string{core.Updated}
	case c.Method == "DELETE" && len(parts) == 2:
		w.ids, w.actions = parts[1:2], []string{core.Deleted}
		return w, true
	case c.Method == "PUT" && len(parts) == 3 && parts[2] == "merge":
		var body struct {
			With json.Number `json:"merge_with_id"`
		}
		if json.Unmarshal(c.Body, &body) != nil || body.With == "" {
			return w, false
		}
		w.ids, w.actions = []string{parts[1], body.With.String()}, []string{core.Deleted, core.Merged}
		return w, true
	default:
		return w, false
	}
	w.values, ok = written(w.object, c.Body, f)
	return w, ok
}

// written are a body's values in the normal form. One that has none known can't be found again.
func written(object string, body []byte, f *shape.Fields) (map[string]any, bool) {
	var values map[string]json.RawMessage
	if json.Unmarshal(body, &values) != nil || len(values) == 0 {
		return nil, false
	}
	values["id"] = json.RawMessage("1") // without one it is no record
	text, err := json.Marshal(values)
	if err != nil {
		return nil, false
	}
	r, err := shape.FromAPI(object, text, f)
	if err != nil {
		return nil, false
	}
	delete(r.Values, "id")
	return r.Values, len(r.Values) > 0
}

// collections are the objects that webhooks tell of, by their paths behind the version.
var collections = func() map[string]string {
	all := map[string]string{}
	for _, o := range shape.Objects() {
		parts := strings.Split(strings.TrimPrefix(o.Path, "/api/"), "/")
		if o.Hooks && len(parts) == 2 {
			all[parts[1]] = o.Name
		}
	}
	return all
}()

// fits reports whether the event says what was written; near, when it is about the same change of the
// same record but has other values.
func (e *entry) fits(ev *core.Event, f *shape.Fields) (fits, near bool) {
	if !slices.Contains(e.Actions, ev.Action) {
		return false, false
	}
	if e.Values == nil {
		return true, false
	}
	is, err := shape.FromWebhook(ev, f)
	if err != nil {
		return false, false
	}
	wrote := shape.Record{Object: ev.Object, ID: ev.ObjectID, Values: e.Values}
	if !carries(is.Values, e.Values) {
		return false, false
	}
	if len(shape.Differ(wrote, is)) > 0 {
		return false, e.Spent == ""
	}
	return ev.Action != core.Updated || e.moved(ev, f), false
}

// moved reports whether what an update says it changed has anything of what was written. What changed is not
// always all told, so an update that tells nothing may be any.
func (e *entry) moved(ev *core.Event, f *shape.Fields) bool {
	if ev.Previous == nil {
		return true
	}
	was, err := shape.FromWebhook(&core.Event{Object: ev.Object, ObjectID: ev.ObjectID, Previous: ev.Previous}, f)
	if err != nil {
		return true
	}
	delete(was.Values, "update_time")
	delete(was.Values, "id")
	return len(was.Values) == 0 || carries(was.Values, e.Values)
}

// carries reports whether a record has any key of another.
func carries(has, of map[string]any) bool {
	for key, v := range of {
		is, ok := has[key]
		if ok && key == customFields {
			inner, _ := v.(map[string]any)
			there, _ := is.(map[string]any)
			ok = carries(there, inner)
		}
		if ok {
			return true
		}
	}
	return false
}

func prefix(object, id string) string { return object + "/" + id + "/" }

// moved is the key of an entry under another id.
func moved(key, object, id string) string {
	return prefix(object, id) + key[strings.LastIndexByte(key, '/')+1:]
}

// decode keeps all digits, as the normal form does.
func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(into)
}

func idOf(data []byte) string {
	var of struct {
		ID any `json:"id"`
	}
	if decode(data, &of) != nil {
		return ""
	}
	switch id := of.ID.(type) {
	case string:
		return id
	case json.Number:
		return id.String()
	}
	return ""
}
