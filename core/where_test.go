package core_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pipehook/pipehook/core"
)

// table is what a TOML parser makes of an inline table.
type table = map[string]any

type values = []any

func where(t testing.TB, raw table) core.Where {
	t.Helper()
	w, err := core.ParseWhere(raw)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestAWhereHoldsWhenTheEventIsAsAsked(t *testing.T) {
	day := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name, current string
		asked         any // of current.a
		want          bool
	}{
		{"the same text", `{"a":"won"}`, "won", true},
		{"another text", `{"a":"open"}`, "won", false},
		{"a text in other letters", `{"a":"Won"}`, "won", false},
		{"an empty text", `{"a":""}`, "", true},
		{"a text written with escapes", `{"a":"\u0077on\n\"\\"}`, "won\n\"\\", true},
		{"a text beyond ASCII", `{"a":"Zürich 🎉"}`, "Zürich 🎉", true},
		{"a text beyond ASCII, escaped", `{"a":"Z\u00fcrich \ud83c\udf89"}`, "Zürich 🎉", true},
		{"a number", `{"a":5}`, int64(5), true},
		{"a number is no text of its digits", `{"a":5}`, "5", false},
		{"a text is no number", `{"a":"5"}`, int64(5), false},
		{"a whole number written as a fraction", `{"a":1.0}`, int64(1), true},
		{"a number with an exponent", `{"a":12.5e2}`, int64(1250), true},
		{"a fraction as it is written", `{"a":0.1}`, 0.1, true},
		{"a fraction that only a float takes for the same", `{"a":0.1000000000000000055}`, 0.1, false},
		{"a whole number beyond a float", `{"a":9007199254740993}`, int64(9007199254740993), true},
		{"its neighbour", `{"a":9007199254740992}`, int64(9007199254740993), false},
		{"a number beyond 64 bits", `{"a":9223372036854775808}`, int64(9223372036854775807), false},
		{"zero with a sign", `{"a":-0.00e5}`, int64(0), true},
		{"a number that differs by its sign", `{"a":-5}`, int64(5), false},
		{"true", `{"a":true}`, true, true},
		{"false is not true", `{"a":false}`, true, false},
		{"true is no text", `{"a":true}`, "true", false},
		{"null is no text", `{"a":null}`, "null", false},
		{"an object is no value", `{"a":{}}`, "", false},
		{"any of a list", `{"a":2}`, values{int64(1), int64(2)}, true},
		{"none of a list", `{"a":3}`, values{int64(1), int64(2)}, false},
		{"any of a mixed list", `{"a":"x"}`, values{int64(1), "x", true}, true},
		{"nothing is in an empty list", `{"a":2}`, values{}, false},
		{"missing equals nothing", `{}`, "won", false},

		{"at least, at the limit", `{"a":1000}`, table{"gte": int64(1000)}, true},
		{"above, at the limit", `{"a":1000}`, table{"gt": int64(1000)}, false},
		{"below, at the limit", `{"a":1000.0}`, table{"lt": int64(1000)}, false},
		{"at most, at the limit", `{"a":1e3}`, table{"lte": int64(1000)}, true},
		{"within two limits", `{"a":4999.99}`, table{"gte": int64(1000), "lt": int64(5000)}, true},
		{"beyond one of two limits", `{"a":5000}`, table{"gte": int64(1000), "lt": int64(5000)}, false},
		{"negative numbers are below", `{"a":-2}`, table{"lt": int64(-1)}, true},
		{"small fractions", `{"a":0.05}`, table{"lt": 0.1}, true},
		{"big numbers keep every digit", `{"a":9007199254740993}`, table{"gt": int64(9007199254740992)}, true},
		{"a huge exponent costs nothing", `{"a":1e999999999999999999999}`, table{"gt": int64(5)}, true},
		{"a tiny one neither", `{"a":-1e-999999999999999999999}`, table{"lt": int64(0), "gt": -5e-324}, true},
		{"a text is not above a number", `{"a":"9"}`, table{"gt": int64(5)}, false},
		{"a number is not above a text", `{"a":9}`, table{"gt": "5"}, false},
		{"true has no order", `{"a":true}`, table{"gt": int64(0)}, false},
		{"null has no order", `{"a":null}`, table{"lt": int64(5)}, false},
		{"missing has no order", `{}`, table{"lt": int64(5)}, false},
		{"texts by their bytes", `{"a":"b"}`, table{"gt": "a", "lt": "ba"}, true},
		{"capitals come before small letters", `{"a":"Z"}`, table{"lt": "a"}, true},

		{"a date is its first instant", `{"a":"2026-01-31T00:00:00Z"}`, day, true},
		{"a later time of the day is not the date", `{"a":"2026-01-31T00:00:01Z"}`, day, false},
		{"a time in another zone", `{"a":"2026-01-31T02:00:00+02:00"}`, day, true},
		{"a time without a zone is UTC", `{"a":"2026-01-31 00:00:00"}`, day, true},
		{"a date as text", `{"a":"2026-01-31"}`, day, true},
		{"dates in order", `{"a":"2026-02-01"}`, table{"gt": day}, true},
		{"a date in quotes is a date to a comparison", `{"a":"2026-01-31T01:30:00+02:00"}`, table{"lt": "2026-01-31"}, true},
		{"bytes would say otherwise", `{"a":"2026-01-31T23:30:00-02:00"}`, table{"gte": "2026-02-01T00:00:00Z"}, true},
		{"a fraction of a second", `{"a":"2026-01-31T00:00:00.250Z"}`, table{"gt": day, "lt": "2026-01-31T00:00:00.3Z"}, true},
		{"a text that is no time has no order among times", `{"a":"soon"}`, table{"gt": day}, false},
		{"a day that does not exist neither", `{"a":"2026-02-30"}`, table{"gt": day}, false},
		{"an hour of one digit neither", `{"a":"2026-02-01T9:00:00Z"}`, table{"gt": day}, false},
		{"a number is no time", `{"a":1769817600}`, table{"gte": day}, false},
		{"a date in quotes is a text to equality", `{"a":"2026-01-31T00:00:00Z"}`, "2026-01-31", false},

		{"exists", `{"a":0}`, table{"exists": true}, true},
		{"null does not exist", `{"a":null}`, table{"exists": true}, false},
		{"missing does not exist", `{}`, table{"exists": true}, false},
		{"null is as good as missing", `{"a":null}`, table{"exists": false}, true},
		{"an empty object exists", `{"a":{}}`, table{"exists": false}, false},

		{"not a value", `{"a":"open"}`, table{"not": "lost"}, true},
		{"not the value", `{"a":"lost"}`, table{"not": "lost"}, false},
		{"missing is not the value", `{}`, table{"not": "lost"}, true},
		{"null is not the value", `{"a":null}`, table{"not": "lost"}, true},
		{"none of a list, turned round", `{"a":3}`, table{"not": values{int64(1), int64(2)}}, true},
		{"not within limits", `{"a":5000}`, table{"not": table{"gte": int64(1000), "lt": int64(5000)}}, true},
		{"not outside of limits", `{"a":1000}`, table{"not": table{"gte": int64(1000), "lt": int64(5000)}}, false},
		{"a value and not another", `{"a":7}`, table{"gt": int64(5), "not": values{int64(6), int64(7)}}, false},

		{"the last of two equal keys", `{"a":1,"a":2}`, int64(2), true},
		{"an escaped key", `{"\u0061":1}`, int64(1), true},
		{"white space around everything", " {\n\"a\"\t:\r 1 } ", int64(1), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := where(t, table{"current.a": test.asked})
			got, why := w.Decide(&core.Event{Current: raw(test.current)})
			if got != test.want {
				t.Errorf("got %v, want %v (%s)", got, test.want, why)
			}
			if ok, _ := slow(table{"current.a": test.asked}, &core.Event{Current: raw(test.current)}); ok != test.want {
				t.Errorf("the reference says %v", ok)
			}
		})
	}
}

func TestAPathReachesIn(t *testing.T) {
	deep := strings.Repeat("[", 5000) + "7" + strings.Repeat("]", 5000)
	tests := []struct {
		name, path, current string
		want                bool
	}{
		{"an object in an object", "current.org.name", `{"org":{"name":7}}`, true},
		{"a text has nothing in it", "current.org.name", `{"org":"name"}`, false},
		{"an element of an array", "current.l.1", `{"l":[5,7]}`, true},
		{"an array in an array", "current.l.1.0", `{"l":[[1],[7,8]]}`, true},
		{"an object in an array", "current.l.2.v", `{"l":[{},"]",{"v":7}]}`, true},
		{"beyond the end of an array", "current.l.2", `{"l":[5,7]}`, false},
		{"an empty array", "current.l.0", `{"l":[ ]}`, false},
		{"an index with a zero before it", "current.l.01", `{"l":[5,7]}`, false},
		{"an index with a sign", "current.l.-1", `{"l":[5,7]}`, false},
		{"an index without end", "current.l.99999999999999999999", `{"l":[7]}`, false},
		{"digits are a key in an object", "current.l.01", `{"l":{"01":7}}`, true},
		{"an array at the top", "current.0.v", `[{"v":7}]`, true},
		{"a key with dots wins", "current.a.b", `{"a":{"b":1},"a.b":7}`, true},
		{"the last of two equal objects", "current.a.b", `{"a":{"b":7},"a":{}}`, false},
		{"a key with spaces and quotes", `current.a "b`, `{"a \"b":7}`, true},
		{"a deep value", "current.d" + strings.Repeat(".0", 5000), `{"d":` + deep + `}`, true},
		{"no document", "current.a", ``, false},
		{"another root", "previous.a", `{"a":7}`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ev := &core.Event{Current: raw(test.current)}
			if got, why := where(t, table{test.path: int64(7)}).Decide(ev); got != test.want {
				t.Errorf("got %v, want %v (%.200s)", got, test.want, why)
			}
		})
	}
}

func TestAWhereSaysWhatDecided(t *testing.T) {
	ev := &core.Event{
		Current:  raw(`{"status":"open","value":500,"list":[1, {"a":"\u0007"}],"n":null,"long":"` + strings.Repeat("ü", 100) + `"}`),
		Previous: raw(`{"status":"new"}`), Meta: raw(`{"user_id":"5"}`),
	}
	tests := []struct {
		name string
		raw  table
		ok   bool
		want string
	}{
		{"nothing is asked", nil, true, ""},
		{"another value", table{"current.status": "won"}, false, `where: current.status is "open", not "won"`},
		{"the first in the order of paths", table{"previous.status": "x", "meta.user_id": "5", "current.status": "open"}, false, `where: previous.status is "new", not "x"`},
		{"all hold", table{"previous.status": "new", "current.value": table{"lt": int64(1000)}}, true, `where: current.value is 500, previous.status is "new"`},
		{"a list", table{"current.value": values{int64(1), 2.5, "x"}}, false, `where: current.value is 500, not 1 or 2.5 or "x"`},
		{"an empty list", table{"current.value": values{}}, false, `where: current.value is 500, not one of an empty list`},
		{"a comparison", table{"current.value": table{"gte": int64(1000)}}, false, `where: current.value is 500, not at least 1000`},
		{"a date", table{"current.status": table{"lt": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}, false, `where: current.status is "open", not below 2026-01-02T03:04:05Z`},
		{"missing", table{"previous.value": int64(5)}, false, `where: previous.value is missing, not 5`},
		{"null", table{"current.n": true}, false, `where: current.n is null, not true`},
		{"must exist", table{"current.n": table{"exists": true}}, false, `where: current.n is null, not present`},
		{"must not exist", table{"current.status": table{"exists": false}}, false, `where: current.status is "open", not missing or null`},
		{"not", table{"current.status": table{"not": values{"open", "won"}}}, false, `where: current.status is "open", must not be "open" or "won"`},
		{"not within", table{"current.value": table{"not": table{"gt": int64(1), "lt": int64(900)}}}, false, `where: current.value is 500, must not be above 1 and below 900`},
		{"a list on one line", table{"current.list": int64(1)}, false, `where: current.list is [1, {"a":"\u0007"}], not 1`},
		{"a long value at the end of a letter", table{"current.long": "x"}, false, `where: current.long is "` + strings.Repeat("ü", 38) + `…, not "x"`},
		{"a long literal", table{"current.status": strings.Repeat("x", 200)}, false, `where: current.status is "open", not "` + strings.Repeat("x", 76) + `…`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if ok, why := where(t, test.raw).Decide(ev); ok != test.ok || why != test.want {
				t.Errorf("got  %v %s\nwant %v %s", ok, why, test.ok, test.want)
			}
		})
	}
}

func TestWhatIsWrongWithAWhereIsSaidAtOnce(t *testing.T) {
	_, err := core.ParseWhere(table{
		"current.a": table{"gtee": int64(1), "not": table{"not": true}}, "status": "won", "current.b": values{true, values{}},
	})
	want := strings.Join([]string{
		`where."current.a"."gtee": unknown operator; did you mean "gte"?`,
		`where."current.a"."not"."not": not inside not; leave both out`,
		`where."current.b"[1]: must be text, a number, true or false, or a date, is a list`,
		`where."status": a path begins with current, previous, fields, previousFields, meta or labels, or is origin; did you mean "current.status"?`,
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if m, ok := errors.AsType[*core.WhereMistake](err); !ok || !slices.Equal(m.At, values{"current.a", "gtee"}) {
		t.Errorf("first mistake %+v", m)
	}
}

func TestAnUnknownOperatorIsAnsweredWithTheNearest(t *testing.T) {
	for op, want := range map[string]string{
		"gtee": "gte", "GTE": "gte", "get": "gte", "exist": "exists", "exits": "exists", "nto": "not", "lts": "lt", ">=": "gte", "min": "gte",
		"!=": "not", "null": "exists", "eq": "equality has no operator", "in": "equality has no operator", "matches": "known here: exists, gt, gte, lt, lte, not",
	} {
		if _, err := core.ParseWhere(table{"current.a": table{op: int64(1)}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", op, err, want)
		}
	}
}

func patterns(t testing.TB, texts ...string) []core.Pattern {
	t.Helper()
	made := make([]core.Pattern, len(texts))
	for i, text := range texts {
		var err error
		if made[i], err = core.ParsePattern(text); err != nil {
			t.Fatal(err)
		}
	}
	return made
}

func TestAWhereThatCanNeverHoldIsFound(t *testing.T) {
	const added, deleted = "what was added has no previous values", "what was deleted has no current values, its last ones are in previous"
	day := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name  string
		raw   table
		match []core.Pattern
		want  []string
	}{
		{"nothing is asked", nil, patterns(t, "added.deal"), nil},
		{"previous of what is added", table{"previous.a": "x"}, patterns(t, "added.deal", "create.person"), []string{"previous.a: " + added}},
		{"one pattern with a previous is enough", table{"previous.a": "x"}, patterns(t, "added.deal", "updated.deal"), nil},
		{"a star may be an update", table{"previous.a": "x"}, patterns(t, "*.deal"), nil},
		{"a sender's own word may have a previous", table{"previous.a": "x"}, patterns(t, "activated.deal"), nil},
		{"no previous is asked for", table{"previous.a": table{"exists": false}}, patterns(t, "added.deal"), nil},
		{"not holds for what is missing", table{"previous.a": table{"not": "x"}}, patterns(t, "added.deal"), nil},
		{"current of what is deleted", table{"current.a": table{"gt": int64(1)}}, patterns(t, "deleted.*"), []string{"current.a: " + deleted}},
		{"each pattern has its own reason", table{"current.a": true, "previous.b": true}, patterns(t, "added.deal", "deleted.deal"), []string{"current.a: " + deleted, "previous.b: " + added}},
		{"meta is always there", table{"meta.a": true}, patterns(t, "added.deal", "deleted.deal"), nil},
		{"an empty list", table{"current.a": values{}}, nil, []string{"current.a: the list is empty"}},
		{"not one of an empty list", table{"current.a": table{"not": values{}}}, nil, nil},
		{"limits that leave nothing", table{"current.a": table{"gte": int64(5), "lt": int64(3)}}, nil, []string{"current.a: no value meets its gte and lt at once"}},
		{"limits that leave one value", table{"current.a": table{"gte": int64(5), "lte": int64(5)}}, nil, nil},
		{"and that one is left out", table{"current.a": table{"gte": int64(5), "lte": 5.0, "not": values{int64(5)}}}, nil, []string{"current.a: no value meets its gte, lte and not at once"}},
		{"limits that touch", table{"current.a": table{"gt": int64(5), "lte": int64(5)}}, nil, []string{"current.a: no value meets its gt and lte at once"}},
		{"there are fractions between whole numbers", table{"current.a": table{"gt": int64(5), "lt": int64(6)}}, nil, nil},
		{"and between the nearest floats", table{"current.a": table{"gt": 0.0, "lt": 5e-324}}, nil, nil},
		{"above the largest float", table{"current.a": table{"gt": 1.7976931348623157e308}}, nil, nil},
		{"a number and a text", table{"current.a": table{"gt": int64(5), "lt": "z"}}, nil, []string{"current.a: no value meets its gt and lt at once"}},
		{"missing and above", table{"current.a": table{"exists": false, "gt": int64(5)}}, nil, []string{"current.a: no value meets its exists and gt at once"}},
		{"present and not present", table{"current.a": table{"exists": true, "not": table{"exists": true}}}, nil, []string{"current.a: no value meets its exists and not at once"}},
		{"present and neither", table{"current.a": table{"exists": true, "not": values{true, false}}}, nil, nil},
		{"texts that leave nothing", table{"current.a": table{"gt": "b", "lt": "a"}}, nil, []string{"current.a: no value meets its gt and lt at once"}},
		{"texts that leave something", table{"current.a": table{"gt": "a", "lt": "aa"}}, nil, nil},
		{"below the empty text", table{"current.a": table{"lt": ""}}, nil, []string{"current.a: no value meets its lt"}},
		{"times that leave nothing", table{"current.a": table{"gt": day, "lt": "2026-01-30"}}, nil, []string{"current.a: no value meets its gt and lt at once"}},
		{"times that leave something", table{"current.a": table{"gte": day, "lt": "2026-02-01"}}, nil, nil},
		{"times and other texts are left alone", table{"current.a": table{"gte": day, "lt": "3"}}, nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := where(t, test.raw).Impossible(test.match); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestChangedNeedsARecordThatWasAndIs(t *testing.T) {
	fields := []string{"stage_id"}
	for match, never := range map[string]bool{
		"added.deal": true, "deleted.deal": true, "added.*,delete.deal": true,
		"": false, "updated.deal": false, "merged.deal": false, "*.deal": false, "added.deal,updated.deal": false, "own.deal": false,
	} {
		if got := core.ImpossibleChanged(patterns(t, strings.FieldsFunc(match, func(r rune) bool { return r == ',' })...), fields); never != (got != "") {
			t.Errorf("%s: %q", match, got)
		}
	}
	if got := core.ImpossibleChanged(patterns(t, "added.deal"), nil); got != "" {
		t.Errorf("no fields: %q", got)
	}
}

func TestWhatIsNoJSONHasNoValues(t *testing.T) {
	w := where(t, table{"current.a.0": int64(1), "current.b": table{"not": "x"}})
	whole := `{"b":[1,{"c":"\"]"}],"a":[1.5e3,"\\",null]} `
	for end := range len(whole) {
		for _, tail := range []string{"", "\\", "\"", "]", "}", ",", ":", "\x00"} {
			text := slices.Clip([]byte(whole[:end] + tail))
			w.Decide(&core.Event{Current: text})
			(&core.Event{Current: text, Previous: text}).Changed("a")
		}
	}
}

// FuzzWhere holds Decide against one that decodes everything.
func FuzzWhere(f *testing.F) {
	asks := []string{`"won"`, `5`, `9007199254740993`, `0.1`, `[1,"x",true]`, `[]`, `{"gte":1000,"lt":5000}`, `{"gt":"a"}`, `{"lt":"2026-01-31"}`, `{"exists":true}`,
		`{"exists":false,"not":{"gt":5}}`, `{"not":["a","b"]}`, `{"not":{"exists":true,"lte":7}}`}
	docs := []string{`{"a":"won","b":[{"c":5}],"a.b":1}`, `{"a":{"b":{"c":[1,2,[3]]}},"a":5e3}`, `{"\u0061":"\ud83c\udf89"}`, `[["x"]]`, `{"a":"2026-01-30T23:59:59.5+02:00"}`, `{"a`, `{"a":[1,"\`}
	for _, ask := range asks {
		for _, doc := range docs {
			f.Add(doc, "a.b.0", ask)
			f.Add(doc, "a", ask)
		}
	}
	f.Fuzz(func(t *testing.T, doc, path, ask string) {
		raw, ok := fromJSON(ask)
		if !ok || !utf8.ValidString(path) {
			return
		}
		asked := table{"current." + path: raw}
		w, err := core.ParseWhere(asked)
		if err != nil {
			return
		}
		ev := &core.Event{Current: slices.Clip([]byte(doc))}
		got, why := w.Decide(ev)
		if !strings.HasPrefix(why, "where: ") || !utf8.ValidString(why) || len(why) > len(path)+300 {
			t.Errorf("why %q", why)
		}
		if got && w.Impossible(nil) != nil {
			t.Errorf("%s holds for %s, which is said to be impossible", ask, doc)
		}
		want, valid := slow(asked, ev)
		if valid && got != want {
			t.Errorf("%s of %s is %v, want %v of %s", path, ask, got, want, doc)
		}
	})
}

// fromJSON makes of a JSON text what a TOML parser makes of the same table.
func fromJSON(s string) (any, bool) {
	var x any
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	if dec.Decode(&x) != nil {
		return nil, false
	}
	return asTOML(x), true
}

func asTOML(x any) any {
	switch x := x.(type) {
	case json.Number:
		if n, err := x.Int64(); err == nil {
			return n
		}
		n, _ := x.Float64()
		return n
	case values:
		for i := range x {
			x[i] = asTOML(x[i])
		}
	case table:
		for k := range x {
			x[k] = asTOML(x[k])
		}
	}
	return x
}

// slow decides one rule on a decoded document. It knows nothing of documents that are no JSON, or
// whose text a parser would mend.
func slow(asked table, ev *core.Event) (ok, valid bool) {
	if len(ev.Current) > 0 && !json.Valid(ev.Current) || !utf8.Valid(ev.Current) {
		return false, false
	}
	var doc any
	dec := json.NewDecoder(bytes.NewReader(ev.Current))
	dec.UseNumber()
	here := dec.Decode(&doc) == nil
	for path, ask := range asked {
		var v any
		if here {
			v = slowReach(doc, strings.TrimPrefix(path, "current."))
		}
		return slowDemand(v, ask), true
	}
	return true, true
}

// slowReach answers nil for missing and null alike, which no rule tells apart.
func slowReach(doc any, path string) any {
	for {
		if v, ok := slowMember(doc, path); ok {
			return v
		}
		head, rest, nested := strings.Cut(path, ".")
		v, ok := slowMember(doc, head)
		if !nested || !ok {
			return nil
		}
		doc, path = v, rest
	}
}

func slowMember(doc any, step string) (any, bool) {
	switch d := doc.(type) {
	case table:
		v, ok := d[step]
		return v, ok
	case values:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(d) && strconv.Itoa(i) == step {
			return d[i], true
		}
	}
	return nil, false
}

func slowDemand(v, ask any) bool {
	switch ask := ask.(type) {
	case table:
		for op, x := range ask {
			if !slowTest(v, op, x) {
				return false
			}
		}
		return true
	case values:
		return slices.ContainsFunc(ask, func(x any) bool { return slowDemand(v, x) })
	case time.Time:
		order, ok := slowCompare(v, ask)
		return ok && order == 0
	case int64, float64:
		order, ok := slowCompare(v, ask)
		return ok && order == 0
	}
	switch v.(type) {
	case string, bool:
		return v == ask
	}
	return false
}

func slowTest(v any, op string, x any) bool {
	switch op {
	case "exists":
		return (v != nil) == x.(bool)
	case "not":
		return !slowDemand(v, x)
	}
	if s, isText := x.(string); isText {
		if at, ok := slowTime(s); ok {
			x = at
		}
	}
	order, ok := slowCompare(v, x)
	return ok && map[string]bool{"gt": order > 0, "gte": order >= 0, "lt": order < 0, "lte": order <= 0}[op]
}

func slowCompare(v, x any) (int, bool) {
	switch x := x.(type) {
	case string:
		s, ok := v.(string)
		return strings.Compare(s, x), ok
	case time.Time:
		s, _ := v.(string)
		at, ok := slowTime(s)
		return at.Compare(x), ok
	case int64:
		return slowNumber(v, strconv.FormatInt(x, 10))
	case float64:
		return slowNumber(v, strconv.FormatFloat(x, 'g', -1, 64))
	}
	return 0, false
}

func slowNumber(v any, x string) (int, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	text := n.String()
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		// Beyond every float, and more digits than memory has: what the mantissa is decides.
		digits := strings.TrimLeft(text[i+1:], "+-0")
		if e, err := strconv.Atoi(digits); digits != "" && (err != nil || e > 5000+len(text)) {
			mantissa, _ := new(big.Rat).SetString(text[:i])
			limit, _ := new(big.Rat).SetString(x)
			if text[i+1] == '-' {
				if limit.Sign() != 0 {
					return -limit.Sign(), true
				}
				return mantissa.Sign(), true
			}
			if mantissa.Sign() != 0 {
				return mantissa.Sign(), true
			}
			return -limit.Sign(), true
		}
	}
	a, _ := new(big.Rat).SetString(text)
	b, _ := new(big.Rat).SetString(x)
	return a.Cmp(b), true
}

func slowTime(s string) (time.Time, bool) {
	for form, size := range map[string]int{time.DateOnly: 10, time.RFC3339: 19, "2006-01-02 15:04:05Z07:00": 19, "2006-01-02T15:04:05": 19, time.DateTime: 19} {
		if len(s) < size || size == 19 && (s[13] != ':' || s[16] != ':' || strings.Contains(s, ",")) || len(s) > 64 {
			continue
		}
		if at, err := time.Parse(form, s); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

func BenchmarkDecide(b *testing.B) {
	ev := &core.Event{Current: raw(`{"id":8,"title":"Annual licence, 40 seats","custom_fields":{"3d0fa3429dfa2d3dec265b4fc5dc8258ab66cdf3":null},"status":"open","value":12000,"org_id":null}`), Previous: raw(`{"status":"won"}`)}
	w := where(b, table{"current.value": table{"gte": int64(1000)}, "current.status": "won"})
	b.ReportAllocs()
	for b.Loop() {
		w.Decide(ev)
	}
}
