package core

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// WhereMistake is one thing that is wrong with a where. It names keys and never a value, which may
// come from where secrets are kept.
type WhereMistake struct {
	At   []any // the way from the table to the place: keys as string, places in a list as int
	Msg  string
	Hint string // what to do about it; may be empty
}

func (m *WhereMistake) Error() string {
	var at strings.Builder
	at.WriteString("where")
	for _, step := range m.At {
		if i, ok := step.(int); ok {
			fmt.Fprintf(&at, "[%d]", i)
		} else {
			fmt.Fprintf(&at, ".%q", step)
		}
	}
	if m.Hint != "" {
		return at.String() + ": " + m.Msg + "; " + m.Hint
	}
	return at.String() + ": " + m.Msg
}

// ParseWhere reads a table as a TOML parser gives it: maps, lists, int64, float64, text, booleans
// and times. The error joins a WhereMistake for each thing that is wrong. No table at all is the zero
// Where.
func ParseWhere(raw any) (Where, error) {
	if raw == nil {
		return Where{}, nil
	}
	table, ok := raw.(map[string]any)
	if !ok {
		return Where{}, &WhereMistake{Msg: "must be a table", Hint: `write where = { "current.status" = "won" }`}
	}
	var w Where
	var p whereParser
	for _, path := range slices.Sorted(maps.Keys(table)) {
		p.at = []any{path}
		root, field, ok := p.path(path, table[path])
		if !ok {
			continue
		}
		if tests := p.demand(table[path]); len(tests) > 0 {
			w.rules = append(w.rules, rule{path: path, root: root, field: field, tests: tests})
		}
	}
	if len(p.mistakes) > 0 {
		return Where{}, errors.Join(p.mistakes...)
	}
	return w, nil
}

// whereParser goes on after a mistake, so that all are found at once.
type whereParser struct {
	at       []any
	mistakes []error
}

func (p *whereParser) wrong(msg, hint string) {
	p.mistakes = append(p.mistakes, &WhereMistake{At: slices.Clone(p.at), Msg: msg, Hint: hint})
}

// below reads something one step further in.
func (p *whereParser) below(step any, read func()) {
	p.at = append(p.at, step)
	read()
	p.at = p.at[:len(p.at)-1]
}

var roots = []string{"current", "previous", "fields", "previousFields", "meta", "labels", "origin"}

func (p *whereParser) path(path string, asked any) (root, field string, ok bool) {
	root, field, dotted := strings.Cut(path, ".")
	switch {
	case path == "origin":
		return root, "", true
	case root == "origin":
		p.wrong("origin is a text and has no fields", `write "origin" = "reconcile", or "webhook"`)
	case !slices.Contains(roots, root):
		p.wrong("a path begins with current, previous, fields, previousFields, meta or labels, or is origin", rootHint(root, field, dotted))
	case !dotted:
		hint := fmt.Sprintf(`write "%s.FIELD" = …`, path)
		if inner, ok := asked.(map[string]any); ok && len(inner) > 0 {
			first := slices.Min(slices.Collect(maps.Keys(inner)))
			hint = fmt.Sprintf("write the whole path as one key in quotes: %q = …", path+"."+first)
		}
		p.wrong("names no field", hint)
	case slices.Contains(strings.Split(field, "."), ""):
		p.wrong("has an empty step", "a path is names with one dot between two of them")
	default:
		return root, field, true
	}
	return "", "", false
}

func rootHint(root, field string, dotted bool) string {
	switch near := nearest(root, roots); {
	case root == "action" || root == "object" || root == "type":
		return `actions and objects are chosen by match, such as match = ["updated.deal"]`
	case root == "data" && dotted:
		near = "current"
		fallthrough
	case near != "" && dotted:
		return fmt.Sprintf("did you mean %q?", near+"."+field)
	case root == "objectId":
		return `did you mean "current.id"?`
	case dotted:
		return fmt.Sprintf("did you mean %q?", "current."+root+"."+field)
	default:
		return fmt.Sprintf("did you mean %q?", "current."+root)
	}
}

// demand reads what a path, or not, is set to: a value, a list of values, a table of operators.
func (p *whereParser) demand(raw any) []test {
	table, ok := raw.(map[string]any)
	if !ok {
		if t, ok := p.equality(raw); ok {
			return []test{t}
		}
		return nil
	}
	if len(table) == 0 {
		p.wrong("asks for nothing", "known here: "+strings.Join(operators, ", "))
	}
	var tests []test
	for _, op := range slices.Sorted(maps.Keys(table)) {
		p.below(op, func() {
			if t, ok := p.operator(op, table[op]); ok {
				tests = append(tests, t)
			}
		})
	}
	return tests
}

func (p *whereParser) equality(raw any) (test, bool) {
	list, ok := raw.([]any)
	if !ok {
		v, ok := p.literal(raw, "a value, a list of values or a table of operators")
		return test{op: is, values: []literal{v}, asks: v.String()}, ok
	}
	t := test{op: is}
	good := true
	for i, elem := range list {
		p.below(i, func() {
			v, ok := p.literal(elem, "text, a number, true or false, or a date")
			t.values = append(t.values, v)
			good = good && ok
		})
	}
	t.asks = either(t.values)
	return t, good
}

func (p *whereParser) operator(op string, raw any) (test, bool) {
	t := test{op: op}
	switch op {
	case "exists":
		var ok bool
		if t.exists, ok = raw.(bool); !ok {
			p.wrong("must be true or false", "")
			return t, false
		}
		t.asks = "missing or null"
		if t.exists {
			t.asks = "present"
		}
		return t, true
	case "not":
		if slices.Contains(p.at[:len(p.at)-1], any("not")) {
			p.wrong("not inside not", "leave both out")
			return t, false
		}
		if t.tests = p.demand(raw); t.tests == nil {
			return t, false
		}
		asks := make([]string, len(t.tests))
		for i, inner := range t.tests {
			asks[i] = inner.asks
		}
		t.asks = strings.Join(asks, " and ")
		return t, true
	case "gt", "gte", "lt", "lte":
		v, ok := p.literal(raw, "a number, text or a date")
		if ok && v.kind == boolean {
			p.wrong("must be a number, text or a date", "")
			ok = false
		}
		if at, isTime := parseMoment(v.text); v.kind == text && isTime {
			v.kind, v.at = moment, at
		}
		t.values = []literal{v}
		t.asks = comparisonWords[op] + " " + v.String()
		return t, ok
	}
	p.wrong("unknown operator", operatorHint(op))
	return t, false
}

var comparisonWords = map[string]string{"gt": "above", "gte": "at least", "lt": "below", "lte": "at most"}

// otherNames are what operators are called elsewhere.
var otherNames = map[string]string{
	">": "gt", ">=": "gte", "ge": "gte", "min": "gte", "from": "gte", "<": "lt", "<=": "lte", "le": "lte", "max": "lte",
	"!=": "not", "ne": "not", "neq": "not", "nin": "not", "null": "exists", "present": "exists",
}

func operatorHint(op string) string {
	known := "known here: " + strings.Join(operators, ", ")
	lower := strings.ToLower(op)
	switch near := otherNames[lower]; {
	case slices.Contains([]string{"eq", "=", "==", "is", "in", "any", "equals"}, lower):
		return "equality has no operator: set the path to the value, or to a list of values"
	case near != "":
		return fmt.Sprintf("did you mean %q?", near)
	}
	if near := nearest(lower, operators); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return known
}

// literal reads a single value; wanted says in words what may stand here.
func (p *whereParser) literal(raw any, wanted string) (literal, bool) {
	switch v := raw.(type) {
	case string:
		return literal{kind: text, text: v}, true
	case bool:
		return literal{kind: boolean, yes: v}, true
	case int64:
		return numberLiteral(strconv.FormatInt(v, 10)), true
	case int:
		return numberLiteral(strconv.Itoa(v)), true
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			p.wrong("is no number that an event can hold", "")
			return literal{}, false
		}
		return numberLiteral(strconv.FormatFloat(v, 'g', -1, 64)), true
	case time.Time:
		return literal{kind: moment, at: v.UTC()}, true
	case interface { // TOML's dates without a zone
		AsTime(zone *time.Location) time.Time
	}:
		return literal{kind: moment, at: v.AsTime(time.UTC)}, true
	case map[string]any:
		p.wrong("must be "+wanted+", is a table", "")
	case []any:
		p.wrong("must be "+wanted+", is a list", "")
	default:
		p.wrong("must be "+wanted, "a time of day has no date to compare with")
	}
	return literal{}, false
}

func numberLiteral(s string) literal {
	d, _ := parseDecimal([]byte(s))
	return literal{kind: number, text: s, num: d}
}

// nearest is the name that is at most one slip away: two letters swapped, one other, more or less.
// Of several it is one of the same length.
func nearest(name string, known []string) string {
	best := ""
	for _, k := range known {
		if name == k {
			return k
		}
		if oneSlip(name, k) && (best == "" || len(best) != len(name) && len(k) == len(name)) {
			best = k
		}
	}
	return best
}

func oneSlip(a, b string) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(b) && a[i] == b[i] {
		i++
	}
	switch {
	case len(a) == len(b)+1:
		return a[i+1:] == b[i:]
	case len(a) != len(b):
		return false
	case i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]:
		return true
	default:
		return i == len(a) || a[i+1:] == b[i+1:]
	}
}
