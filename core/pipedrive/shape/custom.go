package shape

import (
	"encoding/json"

	"github.com/tidwall/gjson"
)

// bareValue is a custom field's value in the normal form, of one that is an object or a list: in a webhook
// all that are set are objects with a type, in the API only those of several parts. Who writes gives one of several parts
// by its value alone, too, which only the field's type tells; the type is empty when it is not known.
func bareValue(fieldType string, v gjson.Result) any {
	if v.IsArray() {
		return idsOf(v)
	}
	var id, value, values gjson.Result
	n := 0
	v.ForEach(func(key, part gjson.Result) bool {
		switch key.Str {
		case "type":
			fieldType = part.Str
			return true
		case "id":
			id = part
		case "value", "from":
			value = part
		case "values":
			values = part
		}
		n++
		return true
	})
	switch {
	case n == 1 && values.Exists():
		return idsOf(values)
	case n == 1 && id.Exists():
		return plain(id)
	case n == 1 && value.Exists() && !composite(fieldType):
		return plain(value)
	case value.Exists() && (value.Type == gjson.Null || value.Type == gjson.String && value.Str == ""):
		return nil
	}
	object := make(map[string]any, n)
	v.ForEach(func(key, part gjson.Result) bool {
		switch key.Str {
		case "type", "timezone_name": // the name follows from the id
		case "from":
			object["value"] = plain(part)
		default:
			object[key.Str] = plain(part)
		}
		return true
	})
	return object
}

// composite reports whether a field's value has parts.
func composite(fieldType string) bool {
	switch fieldType {
	case "monetary", "time", "timerange", "daterange", "address":
		return true
	}
	return false
}

func idsOf(v gjson.Result) any {
	if !v.IsArray() {
		return plain(v)
	}
	list := []any{}
	v.ForEach(func(_, elem gjson.Result) bool {
		if id := elem.Get("id"); elem.IsObject() && id.Exists() {
			elem = id
		}
		list = append(list, plain(elem))
		return true
	})
	return list
}

// scalarOf is a value that is no object. Version 1 writes options as text, which only the field's type
// tells from a text; the type is empty when it is not known.
func scalarOf(fieldType string, v gjson.Result) any {
	if v.Type != gjson.String {
		if fieldType == "set" && v.Type == gjson.Number {
			return []any{plain(v)}
		}
		return plain(v)
	}
	switch fieldType {
	case "enum", "double", "int", "user", "org", "people":
		if v.Str == "" {
			return nil
		}
		return scalarText(v.Str)
	case "set":
		return splitIDs(v.Str)
	case "date":
		if v.Str == "" {
			return nil
		}
	case "monetary", "time", "daterange", "timerange", "address":
		if v.Str == "" {
			return nil
		}
		return map[string]any{"value": v.Str}
	}
	return v.Str
}

// joined puts a custom field of version 1 together of its value and the parts beside it. It is not carried
// when only parts are.
func joined(fieldType string, parts map[string]gjson.Result) (v any, carried bool) {
	value, ok := parts[""]
	if !ok {
		return nil, false
	}
	if value.Type == gjson.Null || value.Type == gjson.String && value.Str == "" && (len(parts) > 1 || composite(fieldType)) {
		return nil, true
	}
	if value.Type == gjson.JSON {
		if value.IsObject() {
			return reference(value), true
		}
		return idsOf(value), true
	}
	if len(parts) == 1 && fieldType != "monetary" && !composite(fieldType) {
		return scalarOf(fieldType, value), true
	}
	object := map[string]any{"value": plain(value)}
	if fieldType == "monetary" {
		object["value"] = number(value)
	}
	for name, part := range parts {
		if name != "" && name != "timezone_name" {
			object[name] = plain(part)
		}
	}
	return object, true
}

// typeOf tells a type by a value in the normal form; empty when it could be several.
func typeOf(v any) string {
	switch v := v.(type) {
	case []any:
		for _, id := range v {
			if _, ok := id.(json.Number); !ok {
				return ""
			}
		}
		return "set"
	case map[string]any:
		return typeOfParts(v)
	}
	return ""
}

func typeOfParts(v map[string]any) string {
	has := func(key string) bool { _, ok := v[key]; return ok }
	from, _ := v["value"].(string)
	switch {
	case has("currency"):
		return "monetary"
	case has("until") && (has("timezone_id") || len(from) > 2 && from[2] == ':'):
		return "timerange"
	case has("until"):
		return "daterange"
	case has("timezone_id"):
		return "time"
	case has("formatted_address") || has("country") || has("locality"):
		return "address"
	}
	return ""
}
