package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// decoder fills Go values from a decoded TOML tree and notes every mistake instead of stopping at
// the first. It is strict: an unknown key, or a value of another type, is a mistake.
//
// mapstructure could fill the values, but it leaves out unknown keys of a table that has a value
// of the wrong type, and puts values, so secrets too, into its errors.
type decoder struct {
	doc      *document
	weak     func(key string) bool // the value comes from the environment or a flag: always text
	mistakes Mistakes
}

func (d *decoder) wrong(key, msg, hint string) {
	d.mistakes = append(d.mistakes, d.doc.mistake(key, msg, hint))
}

// table fills a struct, whose fields keep their values where the table is silent.
func (d *decoder) table(key string, in map[string]any, into reflect.Value) {
	fields := fieldsOf(into.Type())
	for _, name := range slices.Sorted(maps.Keys(in)) {
		at := join(key, name)
		i, known := fields[name]
		if !known {
			d.wrong(at, "unknown key", suggest(name, slices.Sorted(maps.Keys(fields))))
			continue
		}
		d.value(at, in[name], into.Field(i))
	}
}

func (d *decoder) value(key string, in any, into reflect.Value) {
	if text, ok := in.(string); ok {
		v, special, err := textValue(into.Type(), text)
		switch {
		case err != nil:
			d.wrong(key, err.Error(), "")
			return
		case special:
			into.Set(reflect.ValueOf(v))
			return
		case d.weak != nil && d.weak(key):
			d.fromText(key, text, into)
			return
		}
	}
	if n, ok := in.(int64); ok && into.Type() == durationType {
		d.wrong(key, "must be text with a unit", fmt.Sprintf("did you mean \"%ds\"?", n))
		return
	}
	d.plainValue(key, in, into)
}

func (d *decoder) plainValue(key string, in any, into reflect.Value) {
	switch into.Kind() {
	case reflect.Pointer:
		if into.IsNil() {
			into.Set(reflect.New(into.Type().Elem()))
		}
		d.value(key, in, into.Elem())
		return
	case reflect.String:
		if s, ok := in.(string); ok {
			into.SetString(s)
			return
		}
	case reflect.Bool:
		if b, ok := in.(bool); ok {
			into.SetBool(b)
			return
		}
	case reflect.Int, reflect.Int64:
		if n, ok := in.(int64); ok && !into.OverflowInt(n) {
			into.SetInt(n)
			return
		}
	case reflect.Slice:
		if list, ok := in.([]any); ok {
			d.list(key, list, into)
			return
		}
	case reflect.Map:
		if m, ok := in.(map[string]any); ok {
			d.mapping(key, m, into)
			return
		}
	case reflect.Struct:
		if m, ok := in.(map[string]any); ok {
			d.table(key, m, into)
			return
		}
	}
	d.wrong(key, fmt.Sprintf("must be %s, is %s", wanted(into.Type()), found(in)), "")
}

func (d *decoder) list(key string, in []any, into reflect.Value) {
	list := reflect.MakeSlice(into.Type(), len(in), len(in))
	for i, v := range in {
		d.value(fmt.Sprintf("%s[%d]", key, i), v, list.Index(i))
	}
	into.Set(list)
}

func (d *decoder) mapping(key string, in map[string]any, into reflect.Value) {
	m := reflect.MakeMapWithSize(into.Type(), len(in))
	for name, v := range in {
		elem := reflect.New(into.Type().Elem()).Elem()
		d.value(join(key, name), v, elem)
		m.SetMapIndex(reflect.ValueOf(name), elem)
	}
	into.Set(m)
}

// fromText reads what the environment or a flag says; a list is separated by commas.
func (d *decoder) fromText(key, text string, into reflect.Value) {
	var v any = text
	switch into.Kind() {
	case reflect.Bool:
		if b, err := strconv.ParseBool(text); err == nil {
			v = b
		}
	case reflect.Int, reflect.Int64:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			v = n
		}
	case reflect.Slice:
		var list []any
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		v = list
	}
	d.plainValue(key, v, into)
}

// fieldsOf maps a struct's TOML names to its fields.
func fieldsOf(t reflect.Type) map[string]int {
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("koanf"); name != "" && name != "-" {
			fields[name] = i
		}
	}
	return fields
}

func wanted(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a duration such as \"5s\""
	case t == sizeType:
		return "a size such as \"1MiB\""
	case t == patternType:
		return "a pattern such as \"updated.deal\""
	case t == prefixType:
		return "an address or network"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	default:
		return "a table"
	}
}

func found(v any) string {
	switch v.(type) {
	case string:
		return "text"
	case bool:
		return "true or false"
	case int64:
		return "a number"
	case float64:
		return "a fraction"
	case []any, []map[string]any:
		return "a list"
	case map[string]any:
		return "a table"
	default:
		return "a date or time"
	}
}

// suggest names the known key that the unknown one was probably meant to be, or all of them.
func suggest(name string, known []string) string {
	best, distance := "", 3
	for _, k := range known {
		if d := editDistance(strings.ToLower(name), k); d < distance && d < len(k) {
			best, distance = k, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	case len(known) == 0:
		return "this table has no keys"
	default:
		return "known here: " + strings.Join(known, ", ")
	}
}

// editDistance counts insertions, deletions, replacements and swaps of neighbours.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
