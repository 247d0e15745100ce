package core

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Where is a listener's condition on what an event holds; every rule of it must hold. The zero
// Where holds always. It is not changed once made and may be used by many at once.
type Where struct{ rules []rule }

// rule asks something of the value at one path.
type rule struct {
	path  string // as written, such as current.org_id.name
	root  string // one of roots
	field string // what follows the root; empty for origin
	tests []test // all must hold
}

// test is one demand on a value.
type test struct {
	op     string    // is, or one of operators
	values []literal // is: any of them; a comparison: the one
	exists bool
	tests  []test // not: these must not hold together
	asks   string // in words, for Decide
}

// is is the equality that is written without an operator.
const is = ""

// operators are the keys of a table that asks for more than equality, in the order they are shown.
var operators = []string{"exists", "gt", "gte", "lt", "lte", "not"}

// literal is a value of the configuration.
type literal struct {
	kind kind
	text string
	num  decimal
	yes  bool
	at   time.Time
}

// kind is what sort of value something is.
type kind uint8

const (
	missing kind = iota // or not readable
	null
	boolean
	number
	text
	moment // a literal only: an event holds times as text
	nested // an object or an array
)

// value is a part of an event, not yet decoded.
type value struct {
	kind kind
	raw  json.RawMessage
}

// originWebhook is how a condition, and a script, names an origin that is empty.
const originWebhook = "webhook"

func (r *rule) find(ev *Event) value {
	doc := ev.Current
	switch r.root {
	case "previous":
		doc = ev.Previous
	case "fields":
		doc = ev.Fields
	case "previousFields":
		doc = ev.PreviousFields
	case "meta":
		doc = ev.Meta
	case "origin":
		if ev.Origin == "" {
			return textValue(originWebhook)
		}
		return textValue(ev.Origin)
	case "labels":
		if label, ok := ev.Labels[r.field]; ok {
			return textValue(label)
		}
		return value{}
	}
	raw, ok := reach(doc, r.field)
	if !ok {
		return value{}
	}
	return valueOf(raw)
}

// reach follows a path as Event.Changed does, and into arrays too, where a step is an index.
func reach(doc json.RawMessage, path string) (json.RawMessage, bool) {
	for {
		if v, ok := memberOf(doc, path); ok {
			return v, true
		}
		head, rest, nested := strings.Cut(path, ".")
		if !nested {
			return nil, false
		}
		v, ok := memberOf(doc, head)
		if !ok {
			return nil, false
		}
		doc, path = v, rest
	}
}

// memberOf is an object's member or an array's element.
func memberOf(doc json.RawMessage, step string) (json.RawMessage, bool) {
	i := skipSpace(doc, 0)
	if i >= len(doc) || doc[i] != '[' {
		return fieldOf(doc, step)
	}
	n, ok := arrayIndex(step)
	if !ok {
		return nil, false
	}
	for i = skipSpace(doc, i+1); i < len(doc) && doc[i] != ']'; n-- {
		end := skipValue(doc, i)
		if end == i {
			return nil, false // not JSON
		}
		if n == 0 {
			return doc[i:end], true
		}
		if i = skipSpace(doc, end); i < len(doc) && doc[i] == ',' {
			i = skipSpace(doc, i+1)
		}
	}
	return nil, false
}

// arrayIndex reads a step such as 0 or 12. More digits than any array has elements are no index.
func arrayIndex(step string) (n int, ok bool) {
	if step == "" || len(step) > 9 || step[0] == '0' && step != "0" {
		return 0, false
	}
	for _, c := range []byte(step) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// Decide reports whether the event meets every rule. why is a sentence for people that begins with
// "where: " and says which rule failed, or what holds, and what the event has there; it shows at
// most 80 bytes of a value. It is part of the event's data, so it does not belong into a log. The
// zero Where says nothing.
func (w Where) Decide(ev *Event) (ok bool, why string) {
	var holds strings.Builder
	for i := range w.rules {
		r := &w.rules[i]
		v := r.find(ev)
		for j := range r.tests {
			if t := &r.tests[j]; !t.holds(v) {
				return false, "where: " + r.path + " is " + v.String() + t.otherwise()
			}
		}
		if i == 0 {
			holds.WriteString("where: ")
		} else {
			holds.WriteString(", ")
		}
		holds.WriteString(r.path + " is " + v.String())
	}
	return true, holds.String()
}

// holds reports whether the value is as the test asks.
func (t *test) holds(v value) bool {
	switch t.op {
	case is:
		return slices.ContainsFunc(t.values, v.equals)
	case "exists":
		return (v.kind != missing && v.kind != null) == t.exists
	case "not":
		return !all(t.tests, v)
	}
	order, ok := v.compare(t.values[0])
	if !ok {
		return false
	}
	switch t.op {
	case "gt":
		return order > 0
	case "gte":
		return order >= 0
	case "lt":
		return order < 0
	default:
		return order <= 0
	}
}

func all(tests []test, v value) bool {
	for i := range tests {
		if !tests[i].holds(v) {
			return false
		}
	}
	return true
}

// otherwise ends the sentence of a value that is not as the test asks.
func (t *test) otherwise() string {
	if t.op == "not" {
		return ", must not be " + t.asks
	}
	return ", not " + t.asks
}
