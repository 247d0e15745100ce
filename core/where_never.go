package core

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// Impossible says why the condition can hold for no event that match chooses, one reason each, such
// as "current.status: the list is empty"; none when it may hold. Without patterns it says only what
// no event could meet. It is sure of what it says, but does not find everything.
func (w Where) Impossible(match []Pattern) []string {
	var why []string
	for i := range w.rules {
		if r := &w.rules[i]; r.contradicts() {
			why = append(why, r.path+": "+r.contradiction())
		}
	}
	if len(why) > 0 || len(match) == 0 {
		return why
	}
	for _, p := range match {
		none := w.lacks(p)
		if len(none) == 0 {
			return nil
		}
		why = append(why, none...)
	}
	slices.Sort(why)
	return slices.Compact(why)
}

// lacks are the rules that need what the events of a pattern never have.
func (w Where) lacks(p Pattern) []string {
	var why []string
	for i := range w.rules {
		r := &w.rules[i]
		if all(r.tests, value{}) {
			continue
		}
		switch {
		case (r.root == "previous" || r.root == "previousFields") && p.Action() == Added:
			why = append(why, r.path+": what was added has no previous values")
		case (r.root == "current" || r.root == "fields") && p.Action() == Deleted:
			why = append(why, r.path+": what was deleted has no current values, its last ones are in previous")
		}
	}
	return why
}

// FieldNames are the names of fields, as people gave them, that the condition asks for, each once.
func (w Where) FieldNames() []string {
	var names []string
	for _, r := range w.rules {
		if name, _, _ := strings.Cut(r.field, "."); (r.root == "fields" || r.root == "previousFields") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// ImpossibleChanged says why no event that match chooses can have changed fields; empty when one
// can, or when no field is asked for.
func ImpossibleChanged(match []Pattern, changed []string) string {
	if len(match) == 0 || len(changed) == 0 {
		return ""
	}
	for _, p := range match {
		if a := p.Action(); a != Added && a != Deleted {
			return ""
		}
	}
	return "what was added has no values before and what was deleted none after, so nothing changed"
}

// contradicts reports whether no value at all can meet a rule. It tries one value from each stretch
// that the rule's own values divide all values into.
func (r *rule) contradicts() bool {
	tries, known := stretches(literalsOf(r.tests))
	return known && !slices.ContainsFunc(tries, func(v value) bool { return all(r.tests, v) })
}

func (r *rule) contradiction() string {
	if len(r.tests) == 1 && r.tests[0].op == is {
		return "the list is empty"
	}
	names := make([]string, len(r.tests))
	for i, t := range r.tests {
		names[i] = t.op
	}
	if len(names) == 1 {
		return "no value meets its " + names[0]
	}
	return fmt.Sprintf("no value meets its %s and %s at once", strings.Join(names[:len(names)-1], ", "), names[len(names)-1])
}

func literalsOf(tests []test) []literal {
	var all []literal
	for _, t := range tests {
		all = append(all, t.values...)
		all = append(all, literalsOf(t.tests)...)
	}
	return all
}

// stretches are values of every sort, and those at and beside each literal. It is not known what
// lies between texts that are compared as times and others that are compared by their bytes.
func stretches(literals []literal) (tries []value, known bool) {
	tries = []value{{}, {null, nil}, {boolean, json.RawMessage("true")}, {boolean, json.RawMessage("false")}, {number, json.RawMessage("0")}, textValue(""), {nested, json.RawMessage("[]")}}
	var texts, moments bool
	for _, l := range literals {
		switch l.kind {
		case number:
			tries = append(tries, besideNumber(l)...)
		case text:
			texts = true
			tries = append(tries, textValue(l.text), textValue(l.text+"\x00")) // there is none between
		case moment:
			moments = true
			for _, beside := range []time.Duration{0, -1, 1} {
				at := l.at.Add(beside)
				if at.Year() < 0 || at.Year() > 9999 {
					return nil, false
				}
				tries = append(tries, textValue(at.Format(time.RFC3339Nano)))
			}
		}
	}
	return tries, !texts || !moments
}

func textValue(s string) value {
	raw, _ := json.Marshal(s) // any text can be marshalled
	return value{text, raw}
}

// besideNumber moves the number by less than any two numbers of a file are apart.
func besideNumber(l literal) []value {
	const places = 400 // a float64 ends before the 342nd
	x, ok := new(big.Rat).SetString(l.text)
	if !ok {
		return nil
	}
	near := new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Exp(big.NewInt(10), big.NewInt(places), nil))
	var tries []value
	for _, n := range []*big.Rat{x, new(big.Rat).Sub(x, near), new(big.Rat).Add(x, near)} {
		tries = append(tries, value{number, json.RawMessage(n.FloatString(places))})
	}
	return tries
}
