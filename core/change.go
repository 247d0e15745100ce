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
// object ("custom_fields.<key>"), and "fields.<name>" asks for what people gave that name. Only a change
// of an existing record can have changed fields: without both sides the answer is false.
func (ev *Event) Changed(field string) bool {
	if ev.Current == nil {
		return false
	}
	now, before := ev.Current, ev.Previous
	if name, ok := strings.CutPrefix(field, "fields."); ok && (ev.Fields != nil || ev.PreviousFields != nil) {
		now, before, field = ev.Fields, ev.PreviousFields, name
	}
	was, ok := lookup(before, field)
	if !ok {
		return false
	}
	is, _ := lookup(now, field)
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
		if v, ok := fieldOf(doc, path); ok {
			return v, true
		}
		head, rest, nested := strings.Cut(path, ".")
		if !nested {
			return nil, false
		}
		v, ok := fieldOf(doc, head)
		if !ok {
			return nil, false
		}
		doc, path = v, rest
	}
}

// fieldOf finds an object's member without decoding the others: handlers and filters ask for one
// field of many. doc is JSON that a Source has read; of equal names the last counts.
func fieldOf(doc json.RawMessage, name string) (value json.RawMessage, ok bool) {
	i := skipSpace(doc, 0)
	if i >= len(doc) || doc[i] != '{' {
		return nil, false
	}
	for i = skipSpace(doc, i+1); i < len(doc) && doc[i] == '"'; i = skipSpace(doc, i) {
		end := skipValue(doc, i)
		key := doc[i:end]
		i = skipSpace(doc, end)
		if i >= len(doc) || doc[i] != ':' {
			return nil, false
		}
		i = skipSpace(doc, i+1)
		end = skipValue(doc, i)
		if isName(key, name) {
			value, ok = doc[i:end], true
		}
		if i = skipSpace(doc, end); i < len(doc) && doc[i] == ',' {
			i++
		}
	}
	return value, ok
}

func isName(key []byte, name string) bool {
	if bytes.IndexByte(key, '\\') < 0 {
		return len(key) == len(name)+2 && string(key[1:len(key)-1]) == name
	}
	var text string
	return json.Unmarshal(key, &text) == nil && text == name
}

func skipSpace(doc []byte, i int) int {
	for i < len(doc) && (doc[i] == ' ' || doc[i] == '\n' || doc[i] == '\t' || doc[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns the index after the value that begins at i.
func skipValue(doc []byte, i int) int {
	depth := 0
	for ; i < len(doc); i++ {
		switch doc[i] {
		case '"':
			for i++; i < len(doc) && doc[i] != '"'; i++ {
				if doc[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return min(i+1, len(doc))
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // the end of what holds a number or word
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return min(i, len(doc)) // a text without an end was looked for beyond it
}

// sameJSON compares two values by meaning, numbers by their digits, so that 1 and 1.0 differ as
// the sender wrote them but the order of keys does not matter.
func sameJSON(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if plainScalar(a) || plainScalar(b) {
		return false
	}
	ca, errA := canonical(a)
	cb, errB := canonical(b)
	return errA == nil && errB == nil && bytes.Equal(ca, cb)
}

// plainScalar reports whether the value has only one way to be written, as numbers here do.
func plainScalar(v json.RawMessage) bool {
	return len(v) == 0 || v[0] != '{' && v[0] != '[' && v[0] != '"'
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
