package echo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"sync"

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
	_, path, _ := strings.Cut(strings.Trim(strings.TrimPrefix(c.Path, "/api"), "/"), "/") // behind the version
	parts := strings.Split(path, "/")                                                     // one at least
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
	shorten(r.Values)
	return r.Values, len(r.Values) > 0
}

// longText is the most bytes of a text that is noted as it is. It is more than a number, a time or a list of ids has, which
// are compared by what they mean.
const longText = 1 << 10

// shorten puts hashes in place of long texts: whether two are the same is all that anybody asks. What it is given is changed.
func shorten(v any) any {
	switch v := v.(type) {
	case string:
		if len(v) > longText {
			sum := sha256.Sum256([]byte(v))
			return "sha256 " + hex.EncodeToString(sum[:])
		}
	case map[string]any:
		for key, part := range v {
			v[key] = shorten(part)
		}
	case []any:
		for i, part := range v {
			v[i] = shorten(part)
		}
	}
	return v
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

// told is what an event says, which is read only if there is an entry.
type told struct {
	action  string
	current func() (shape.Record, error)
	changed func() map[string]any // what it says was another before, or nil when that may be anything
}

func (l *Ledger) told(ev *core.Event) *told {
	f := l.opts.Fields()
	return &told{
		action: ev.Action,
		current: sync.OnceValues(func() (shape.Record, error) {
			r, err := shape.FromWebhook(ev, f)
			shorten(r.Values)
			return r, err
		}),
		changed: sync.OnceValue(func() map[string]any {
			if ev.Previous == nil {
				return nil
			}
			was, err := shape.FromWebhook(&core.Event{Object: ev.Object, ObjectID: ev.ObjectID, Previous: ev.Previous}, f)
			if err != nil {
				return nil
			}
			delete(was.Values, "update_time")
			delete(was.Values, "id")
			return was.Values
		}),
	}
}

// fits reports whether the event says what was written; near, when it is about the same change of the
// same record but has other values.
func (e *entry) fits(t *told) (fits, near bool) {
	if !slices.Contains(e.Actions, t.action) {
		return false, false
	}
	if e.Values == nil {
		return true, false
	}
	is, err := t.current()
	if err != nil || !carries(is.Values, e.Values) {
		return false, false
	}
	if len(shape.Differ(shape.Record{Object: is.Object, ID: is.ID, Values: e.Values}, is)) > 0 {
		return false, true
	}
	return t.action != core.Updated || e.moved(t), false
}

// moved reports whether what an update says it changed has anything of what was written. What changed is not
// always all told, so an update that tells nothing may be any.
func (e *entry) moved(t *told) bool {
	changed := t.changed()
	return len(changed) == 0 || carries(changed, e.Values)
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
