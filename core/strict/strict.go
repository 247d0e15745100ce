// Package strict fills Go values from a tree of decoded TOML or JSON, and says in words for people what
// does not fit: values of another type, keys that nobody knows, and what the validate tags ask for. It
// goes on after a mistake, so that all are told at once. It knows neither where the tree comes from nor
// how mistakes are shown.
package strict

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-playground/validator/v10"
)

// Decoder fills values. It is strict: an unknown key, or a value of another type, is a mistake.
//
// mapstructure could fill the values, but it leaves out unknown keys of a table that has a value
// of the wrong type, and puts values, so secrets too, into its errors.
type Decoder struct {
	Tag   string // of structs, which has the names of their fields
	Rules *validator.Validate
	Words func(f validator.FieldError) string // of rules of the caller's own; empty for any other; may be nil

	// Bad are the keys whose value has a mistake; a second one would only be its echo.
	Bad map[string]bool
	// Wrong is told of each mistake, and adds its key to Bad.
	Wrong func(key, msg, hint string)
	// Written reports whether a key was given.
	Written func(key string) bool
	// Refused says that text can't be read. The error may repeat the text.
	Refused func(key, text string, t reflect.Type, err error) string

	// These may be nil. Convert makes something else of a text that does not fit, Own takes a value that it
	// reads itself, and Hint is what to do about an unknown key, when more is known than the keys of its table.
	Convert func(key, text string, kind reflect.Kind) any
	Own     func(key string, in any, into reflect.Value) bool
	Hint    func(table reflect.Type, name string) string
}

// Table fills a struct, whose fields keep their values where the table is silent. The keys
// elsewhere are known too, but read by others.
func (d *Decoder) Table(key string, in map[string]any, into reflect.Value, elsewhere ...string) {
	fields := Fields(into.Type(), d.Tag)
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if slices.Contains(elsewhere, name) {
			continue
		}
		if at, known := d.field(fields, name); known {
			d.Value(Join(key, name), in[name], into.FieldByIndex(at))
			continue
		}
		var hint string
		if d.Hint != nil {
			hint = d.Hint(into.Type(), name)
		}
		if hint == "" {
			hint = Suggest(name, slices.Concat(elsewhere, slices.Collect(maps.Keys(fields))))
		}
		d.Wrong(Join(key, name), "unknown key", hint)
	}
}

// field is the place of a field. JSON's are found in upper and lower case, as encoding/json does.
func (d *Decoder) field(fields map[string][]int, name string) (at []int, known bool) {
	if at, known = fields[name]; known || d.Tag != jsonTag {
		return at, known
	}
	for _, other := range slices.Sorted(maps.Keys(fields)) {
		if strings.EqualFold(other, name) {
			return fields[other], true
		}
	}
	return nil, false
}

// Value fills a value.
func (d *Decoder) Value(key string, in any, into reflect.Value) {
	if d.Bad[key] {
		return
	}
	if into.Kind() == reflect.Pointer {
		d.pointer(key, in, into)
		return
	}
	if d.Own != nil && d.Own(key, in, into) {
		return
	}
	if text, ok := in.(string); ok {
		if set, err := setText(into, text); err != nil {
			d.Wrong(key, d.Refused(key, text, into.Type(), err), "")
			return
		} else if set {
			return
		}
		if d.Convert != nil {
			in = d.Convert(key, text, into.Kind())
		}
	}
	if n, ok := whole(in); ok && into.Type() == durationType {
		d.Wrong(key, "must be text with a unit", fmt.Sprintf("did you mean \"%ss\"?", n))
		return
	}
	d.plainValue(key, in, into)
}

// whole is the text of a whole number.
func whole(v any) (string, bool) {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10), true
	case json.Number:
		return v.String(), Found(v) == "a number"
	}
	return "", false
}

// pointer fills a copy, because the default may be shared with others.
func (d *Decoder) pointer(key string, in any, into reflect.Value) {
	own := reflect.New(into.Type().Elem())
	if !into.IsNil() {
		own.Elem().Set(into.Elem())
	}
	d.Value(key, in, own.Elem())
	into.Set(own)
}

func (d *Decoder) plainValue(key string, in any, into reflect.Value) {
	switch v := in.(type) {
	case []any:
		if into.Kind() == reflect.Slice {
			d.list(key, v, into)
			return
		}
	case map[string]any:
		if into.Kind() == reflect.Map {
			d.mapping(key, v, into)
			return
		}
		if into.Kind() == reflect.Struct && !IsText(into.Type()) {
			d.Table(key, v, into)
			return
		}
	}
	if into.Kind() == reflect.Interface && into.NumMethod() == 0 {
		into.Set(reflect.ValueOf(clone(in)))
		return
	}
	switch agree, fits := setScalar(into, in); {
	case !agree:
		d.Wrong(key, fmt.Sprintf("must be %s, is %s", Wanted(into.Type()), Found(in)), "")
	case !fits:
		d.Wrong(key, "is out of range", "")
	}
}

// setScalar reports whether the value is of the field's type, and whether a number fits into it.
func setScalar(into reflect.Value, in any) (agree, fits bool) {
	switch v := in.(type) {
	case string:
		if agree = into.Kind() == reflect.String && into.Type() != numberType; agree {
			into.SetString(v)
		}
	case bool:
		if agree = into.Kind() == reflect.Bool; agree {
			into.SetBool(v)
		}
	case float64:
		if agree = into.CanFloat(); agree {
			into.SetFloat(v)
		}
	case int64:
		return isNumber(into.Kind()), setNumber(into, v)
	case json.Number:
		return setDigits(into, v)
	}
	return agree, true
}

func isNumber(k reflect.Kind) bool { return k >= reflect.Int && k <= reflect.Float64 }

// setNumber answers false for a number that does not fit.
func setNumber(into reflect.Value, n int64) bool {
	switch {
	case into.CanInt() && !into.OverflowInt(n):
		into.SetInt(n)
	case into.CanUint() && n >= 0 && !into.OverflowUint(uint64(n)):
		into.SetUint(uint64(n))
	case into.CanFloat():
		into.SetFloat(float64(n))
	default:
		return false
	}
	return true
}

// setDigits is setScalar for a number of which nothing was lost yet.
func setDigits(into reflect.Value, v json.Number) (agree, fits bool) {
	text := v.String()
	switch {
	case into.Type() == numberType:
		into.SetString(text)
		return true, true
	case into.CanFloat():
		f, err := strconv.ParseFloat(text, into.Type().Bits())
		into.SetFloat(f)
		return true, err == nil
	case Found(v) != "a number":
		return false, true
	case into.CanInt():
		n, err := strconv.ParseInt(text, 10, into.Type().Bits())
		into.SetInt(n)
		return true, err == nil
	case into.CanUint():
		n, err := strconv.ParseUint(text, 10, into.Type().Bits())
		into.SetUint(n)
		return true, err == nil
	}
	return false, true
}

func (d *Decoder) list(key string, in []any, into reflect.Value) {
	list := reflect.MakeSlice(into.Type(), len(in), len(in))
	for i, v := range in {
		d.Value(Index(key, i), v, list.Index(i))
	}
	into.Set(list)
}

// mapping adds to the entries that are the default.
func (d *Decoder) mapping(key string, in map[string]any, into reflect.Value) {
	m := reflect.MakeMapWithSize(into.Type(), into.Len()+len(in))
	for name, v := range into.Seq2() {
		m.SetMapIndex(name, v)
	}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		elem := reflect.New(into.Type().Elem()).Elem()
		d.Value(Join(key, name), in[name], elem)
		m.SetMapIndex(reflect.ValueOf(name).Convert(into.Type().Key()), elem)
	}
	into.Set(m)
}

// clone keeps what is filled from changing the tree that the next decoding reads.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, elem := range v {
			m[name] = clone(elem)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, elem := range v {
			list[i] = clone(elem)
		}
		return list
	default:
		return v
	}
}

// Fields maps the names of a struct's fields to their places. A struct that stands in it without a name
// has its fields there.
func Fields(t reflect.Type, tag string) map[string][]int {
	fields := make(map[string][]int, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		if flat(f, tag) {
			for name, at := range Fields(f.Type, tag) {
				if _, nearer := fields[name]; !nearer {
					fields[name] = append([]int{i}, at...)
				}
			}
		} else if name := Name(f, tag); name != "" && f.IsExported() {
			fields[name] = f.Index
		}
	}
	return fields
}

func flat(f reflect.StructField, tag string) bool {
	return f.Anonymous && f.Type.Kind() == reflect.Struct && f.Tag.Get(tag) == "" && !IsText(f.Type)
}

// jsonTag has fields that are known without one.
const jsonTag = "json"

// Name is the name of a field in its tag, empty for none. Without one it is JSON's.
func Name(f reflect.StructField, tag string) string {
	name, _, _ := strings.Cut(f.Tag.Get(tag), ",")
	switch {
	case name == "-":
		return ""
	case name == "" && tag == jsonTag && f.IsExported():
		return f.Name
	}
	return name
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Join puts a key into its table. A key that has to be quoted in TOML is quoted here.
func Join(table, key string) string {
	if !bareKey.MatchString(key) {
		key = fmt.Sprintf("%q", key)
	}
	if table == "" {
		return key
	}
	return table + "." + key
}

// Index is the key of an entry of a list.
func Index(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i) }
