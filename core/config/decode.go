package config

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// decoder fills Go values from a decoded TOML tree and notes every mistake instead of stopping at
// the first. It is strict: an unknown key, or a value of another type, is a mistake. Only what is
// set above the file is converted, since an environment knows nothing but text.
//
// mapstructure could fill the values, but it leaves out unknown keys of a table that has a value
// of the wrong type, and puts values, so secrets too, into its errors.
type decoder struct {
	doc      *document
	mistakes Mistakes
	bad      map[string]bool // keys whose value has a mistake; a second one would only be its echo
}

func newDecoder(doc *document) decoder { return decoder{doc: doc, bad: map[string]bool{}} }

func (d *decoder) wrong(key, msg, hint string) {
	d.mistakes = append(d.mistakes, d.doc.mistake(key, msg, hint))
	d.bad[key] = true
}

// table fills a struct, whose fields keep their values where the table is silent. The keys
// elsewhere are known too, but read by others.
func (d *decoder) table(key string, in map[string]any, into reflect.Value, elsewhere ...string) {
	fields := fieldsOf(into.Type())
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if slices.Contains(elsewhere, name) {
			continue
		}
		at := join(key, name)
		i, known := fields[name]
		if !known {
			if _, general := fieldsOf(reflect.TypeFor[Scripts]())[name]; general && into.Type() == reflect.TypeFor[Listener]() {
				d.wrong(at, "unknown key", name+" holds for all scripts: it stands in [scripts]")
				continue
			}
			d.wrong(at, "unknown key", Suggest(name, slices.Concat(elsewhere, slices.Collect(maps.Keys(fields)))))
			continue
		}
		d.value(at, in[name], into.Field(i))
	}
}

func (d *decoder) value(key string, in any, into reflect.Value) {
	if d.bad[key] {
		return
	}
	if into.Kind() == reflect.Pointer {
		d.pointer(key, in, into)
		return
	}
	if into.Type() == whereType {
		d.where(key, in, into)
		return
	}
	if text, ok := in.(string); ok {
		if set, err := setText(into, text); err != nil {
			d.wrongText(key, err, into.Type())
			return
		} else if set {
			return
		}
		if _, above := d.doc.origins[key]; above {
			in = fromText(text, into.Kind())
		}
	}
	if n, ok := in.(int64); ok && into.Type() == durationType {
		d.wrong(key, "must be text with a unit", fmt.Sprintf("did you mean \"%ds\"?", n))
		return
	}
	d.plainValue(key, in, into)
}

// wrongText repeats the text only when it stands in the file.
func (d *decoder) wrongText(key string, err error, t reflect.Type) {
	msg := "must be " + wanted(t)
	if d.doc.shows(key) {
		msg = err.Error()
	}
	d.wrong(key, msg, "")
}

// pointer fills a copy, because the default may be shared with others.
func (d *decoder) pointer(key string, in any, into reflect.Value) {
	own := reflect.New(into.Type().Elem())
	if !into.IsNil() {
		own.Elem().Set(into.Elem())
	}
	d.value(key, in, own.Elem())
	into.Set(own)
}

func (d *decoder) plainValue(key string, in any, into reflect.Value) {
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
		if into.Kind() == reflect.Struct && !isText(into.Type()) {
			d.table(key, v, into)
			return
		}
	}
	if into.Kind() == reflect.Interface && into.NumMethod() == 0 {
		into.Set(reflect.ValueOf(clone(in)))
		return
	}
	switch agree, fits := setScalar(into, in); {
	case !agree:
		d.wrong(key, fmt.Sprintf("must be %s, is %s", wanted(into.Type()), found(in)), "")
	case !fits:
		d.wrong(key, "is out of range", "")
	}
}

// setScalar reports whether the value is of the field's type, and whether a number fits into it.
func setScalar(into reflect.Value, in any) (agree, fits bool) {
	switch v := in.(type) {
	case string:
		if agree = into.Kind() == reflect.String; agree {
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

func (d *decoder) list(key string, in []any, into reflect.Value) {
	list := reflect.MakeSlice(into.Type(), len(in), len(in))
	for i, v := range in {
		d.value(index(key, i), v, list.Index(i))
	}
	into.Set(list)
}

// mapping adds to the entries that are the default.
func (d *decoder) mapping(key string, in map[string]any, into reflect.Value) {
	m := reflect.MakeMapWithSize(into.Type(), into.Len()+len(in))
	for name, v := range into.Seq2() {
		m.SetMapIndex(name, v)
	}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		elem := reflect.New(into.Type().Elem()).Elem()
		d.value(join(key, name), in[name], elem)
		m.SetMapIndex(reflect.ValueOf(name).Convert(into.Type().Key()), elem)
	}
	into.Set(m)
}

// fromText reads what the environment or a flag says; a list is separated by commas. Text that
// can't be converted stays text, which is then of the wrong type.
func fromText(text string, kind reflect.Kind) any {
	switch {
	case kind == reflect.Bool:
		if b, err := strconv.ParseBool(text); err == nil {
			return b
		}
	case isNumber(kind):
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return f
		}
	case kind == reflect.Slice:
		list := []any{}
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		return list
	}
	return text
}

// clone keeps a Config from changing the tree that the next decoding reads.
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

// setText reads text into a value that is written as text without being a string. It answers
// false for every other type.
func setText(into reflect.Value, text string) (bool, error) {
	v, ok, err := textValue(into.Type(), text)
	if err != nil {
		return false, err
	}
	if ok {
		into.Set(reflect.ValueOf(v))
		return true, nil
	}
	if !isText(into.Type()) {
		return false, nil
	}
	own := reflect.New(into.Type())
	if u, ok := own.Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return false, err
		}
	}
	into.Set(own.Elem())
	return true, nil
}

func isText(t reflect.Type) bool {
	return t == prefixType || t == patternType || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// fieldsOf maps a struct's TOML names to its fields.
func fieldsOf(t reflect.Type) map[string]int {
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		if name := tomlName(t.Field(i)); name != "" {
			fields[name] = i
		}
	}
	return fields
}

func tomlName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("koanf"), ",")
	if name == "-" {
		return ""
	}
	return name
}
