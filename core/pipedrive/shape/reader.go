package shape

import (
	"encoding/json"
	"strings"

	"github.com/tidwall/gjson"
)

// reader makes the values of a record, key by key.
type reader struct {
	form   *form
	object string
	fields *Fields
	values map[string]any
	flat   map[string]map[string]gjson.Result // version 1: a custom field's value under "", its parts by their names
	parts  map[string]gjson.Result            // of the address, from beside it
}

func (rd *reader) take(key string, v gjson.Result) {
	r, ok := rd.form.in[key]
	if !ok {
		r, ok = common[key]
	}
	switch {
	case ok && r.kind == typed:
		rd.custom(v)
	case ok && r.kind == place:
		rd.values[r.to] = address(v)
	case ok:
		rd.put(key, r.to, rd.value(r.kind, v))
	case rd.flatKey(key, v), rd.part(key, v):
	default:
		rd.put(key, key, usual(key, v))
	}
}

// put keeps what the record says under the normal form's own name when it says it under another too.
func (rd *reader) put(key, to string, v any) {
	if _, known := rd.values[to]; known && key != to {
		return
	}
	rd.values[to] = v
}

func (rd *reader) value(k kind, v gjson.Result) any {
	switch k {
	case whole:
		if rd.form.textID && v.Type == gjson.String {
			return v.Str
		}
		return number(v)
	case moment:
		return instant(v)
	case clock:
		return clockText(v)
	case flag:
		return truth(v)
	case inverse:
		if yes, ok := truth(v).(bool); ok {
			return !yes
		}
		return plain(v)
	case ids:
		return idList(v)
	case ways:
		return contacts(v)
	default:
		return reference(v)
	}
}

// usual tells by the end of a name what a value is.
func usual(key string, v gjson.Result) any {
	switch {
	case v.Type == gjson.String && strings.HasSuffix(key, "_time"):
		return instant(v)
	case v.IsObject() && strings.HasSuffix(key, "_id"):
		return reference(v)
	case v.Type == gjson.Number && strings.HasSuffix(key, "_flag"):
		return truth(v)
	}
	return plain(v)
}

// keyDigits is how long the key of a custom field is.
const keyDigits = 40

// flatKey takes a custom field of version 1, which stands among the others.
func (rd *reader) flatKey(key string, v gjson.Result) bool {
	if !hashed(key) {
		return false
	}
	hash, part := key[:keyDigits], strings.TrimPrefix(key[keyDigits:], "_")
	if rd.flat == nil {
		rd.flat = map[string]map[string]gjson.Result{}
	}
	if rd.flat[hash] == nil {
		rd.flat[hash] = map[string]gjson.Result{}
	}
	rd.flat[hash][part] = v
	return true
}

// hashed reports whether a key is that of a custom field, or of a part of one.
func hashed(key string) bool {
	if len(key) < keyDigits || len(key) > keyDigits && key[keyDigits] != '_' {
		return false
	}
	for i := range keyDigits {
		if c := key[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// part takes a part of the address, such as address_route.
func (rd *reader) part(key string, v gjson.Result) bool {
	if rd.form.address == "" {
		return false
	}
	name, ok := strings.CutPrefix(key, rd.form.address+"_")
	if !ok {
		return false
	}
	if rd.parts == nil {
		rd.parts = map[string]gjson.Result{}
	}
	rd.parts[name] = v
	return true
}

// gather puts together what version 1 has in parts.
func (rd *reader) gather() {
	if at, ok := rd.values[rd.form.address].(map[string]any); ok {
		for name, v := range rd.parts {
			if _, known := at[name]; !known {
				at[name] = plain(v)
			}
		}
	}
	if rd.flat == nil {
		return
	}
	custom, ok := rd.values[customFields].(map[string]any)
	if !ok {
		custom = make(map[string]any, len(rd.flat))
		rd.values[customFields] = custom
	}
	for hash, parts := range rd.flat {
		if _, known := custom[hash]; !known {
			field, _ := rd.fields.ByKey(rd.object, hash)
			if v, carried := joined(field.Type, parts); carried {
				custom[hash] = v
			}
		}
	}
}

// custom reads the custom fields of version 2, typed as webhooks have them or bare as the API does.
func (rd *reader) custom(v gjson.Result) {
	if !v.IsObject() {
		rd.values[customFields] = plain(v)
		return
	}
	custom := make(map[string]any, 16)
	v.ForEach(func(key, value gjson.Result) bool {
		field, _ := rd.fields.ByKey(rd.object, key.Str)
		switch value.Type {
		case gjson.Null:
			custom[key.Str] = nil
		case gjson.JSON:
			custom[key.Str] = bareValue(field.Type, value)
		default:
			custom[key.Str] = scalarOf(field.Type, value)
		}
		return true
	})
	rd.values[customFields] = custom
}

// plain is any JSON value, its numbers as they are written.
func plain(v gjson.Result) any {
	switch {
	case v.Type == gjson.Null:
		return nil
	case v.Type == gjson.String:
		return v.Str
	case v.Type == gjson.Number:
		return json.Number(v.Raw)
	case v.Type != gjson.JSON:
		return v.Bool()
	case v.IsArray():
		list := []any{}
		v.ForEach(func(_, elem gjson.Result) bool {
			list = append(list, plain(elem))
			return true
		})
		return list
	}
	object := map[string]any{}
	v.ForEach(func(key, value gjson.Result) bool {
		object[key.Str] = plain(value)
		return true
	})
	return object
}
