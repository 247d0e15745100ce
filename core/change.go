package core

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Change is one field's value before and after an event. Was is nil when the field was not there
// before, Is when it is gone.
type Change struct {
	Was json.RawMessage `json:"was"`
	Is  json.RawMessage `json:"is"`
}

// Changed reports whether the field differs between Previous and Current. A field that Previous
// does not carry is "not reported as changed", so it answers false. A dot reaches into a nested
// object ("custom_fields.<key>"). Only a change of an existing record can have changed fields:
// without both sides the answer is false.
func (ev *Event) Changed(field string) bool {
	was, ok := lookup(ev.Previous, field)
	if !ok || ev.Current == nil {
		return false
	}
	is, _ := lookup(ev.Current, field)
	return !sameJSON(was, is)
}

// Changes lists every top-level field that Changed reports, by name.
func (ev *Event) Changes() map[string]Change {
	changes := map[string]Change{}
	var before, after map[string]json.RawMessage
	if json.Unmarshal(ev.Previous, &before) != nil || json.Unmarshal(ev.Current, &after) != nil {
		return changes
	}
	for name, was := range before {
		if is := after[name]; !sameJSON(was, is) {
			changes[name] = Change{Was: was, Is: is}
		}
	}
	return changes
}

func lookup(doc json.RawMessage, path string) (json.RawMessage, bool) {
	for {
		var fields map[string]json.RawMessage
		if json.Unmarshal(doc, &fields) != nil {
			return nil, false
		}
		if v, ok := fields[path]; ok {
			return v, true
		}
		head, rest, nested := strings.Cut(path, ".")
		if !nested {
			return nil, false
		}
		v, ok := fields[head]
		if !ok {
			return nil, false
		}
		doc, path = v, rest
	}
}

// sameJSON compares two values by meaning, numbers by their digits, so that 1 and 1.0 differ as
// the sender wrote them but the order of keys does not matter.
func sameJSON(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if a == nil || b == nil {
		return false
	}
	ca, errA := canonical(a)
	cb, errB := canonical(b)
	return errA == nil && errB == nil && bytes.Equal(ca, cb)
}

func canonical(v json.RawMessage) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(v))
	dec.UseNumber()
	var x any
	if err := dec.Decode(&x); err != nil {
		return nil, err
	}
	return json.Marshal(x)
}
