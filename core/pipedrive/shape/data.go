package shape

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Data is the record as a webhook of version 2 carries it as its data: with its names, and with typed
// custom fields. It holds all that the record carries, also what a webhook leaves out. The definitions
// that the record was read with say the types; what they do not know is told by its value where there is
// only one, and else stands as {"value": …}.
func (r *Record) Data() json.RawMessage { return r.DataWith(r.fields) }

// DataWith is Data by other definitions.
func (r *Record) DataWith(f *Fields) json.RawMessage {
	form := formOf(r.Object)
	out := make(map[string]any, len(r.Values)+1)
	for key, v := range r.Values {
		to := key
		if o, ok := form.out[key]; ok {
			to, v = o.to, written(o.kind, v)
		}
		switch key {
		case customFields:
			v = typedFields(r.Object, v, f)
		case "visible_to":
			v = written(whole, v)
		case "label_ids":
			if r.Object == "person" || r.Object == "organization" {
				out["label"] = firstOf(v)
			}
		}
		out[to] = v
	}
	return appendValue(make([]byte, 0, 1024), out)
}

// written is a value as webhooks write it.
func written(k kind, v any) any {
	switch k {
	case whole:
		if n, ok := v.(json.Number); ok {
			return string(n)
		}
	case inverse:
		if yes, ok := v.(bool); ok {
			return !yes
		}
	case moment:
		if t := timeOf(v); !t.IsZero() {
			return t.Format(time.DateTime)
		}
	case clock:
		if _, ok := v.(string); ok {
			return map[string]any{"timezone_id": nil, "value": v}
		}
	}
	return v
}

func firstOf(v any) any {
	if list, _ := v.([]any); len(list) > 0 {
		return list[0]
	}
	return nil
}

func typedFields(object string, v any, f *Fields) any {
	custom, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := make(map[string]any, len(custom))
	for key, value := range custom {
		if value != nil {
			field, _ := f.ByKey(object, key)
			value = typedValue(field.Type, value)
		}
		out[key] = value
	}
	return out
}

// typedValue is a custom field's value as a webhook has it.
func typedValue(fieldType string, v any) any {
	if fits := typeOf(v); fits != "" && fits != fieldType && (fieldType == "" || !composite(fieldType)) {
		fieldType = fits
	}
	switch v := v.(type) {
	case map[string]any:
		return typedParts(fieldType, v)
	case []any:
		if fieldType != "set" {
			return map[string]any{"value": v}
		}
		options := make([]any, len(v))
		for i, id := range v {
			options[i] = map[string]any{"id": id}
		}
		return map[string]any{"type": "set", "values": options}
	}
	_, numeric := v.(json.Number)
	switch fieldType {
	case "":
		return map[string]any{"value": v}
	case "enum", "user", "people", "org":
		if numeric {
			return map[string]any{"type": fieldType, "id": v}
		}
		return map[string]any{"value": v}
	case "set":
		return map[string]any{"value": v}
	}
	return map[string]any{"type": fieldType, "value": v}
}

func typedParts(fieldType string, v map[string]any) any {
	out := maps.Clone(v)
	if fieldType != "" {
		out["type"] = fieldType
	}
	if fieldType == "timerange" || fieldType == "daterange" {
		out["from"] = out["value"]
		delete(out, "value")
	}
	if fieldType == "address" {
		for name, part := range out {
			if part == nil { // so in the guide's example; version 1 has null
				out[name] = ""
			}
		}
	}
	return out
}

// appendValue writes JSON with sorted keys, numbers as they are.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case json.Number:
		if isNumber(string(v)) || json.Valid([]byte(v)) {
			return append(b, v...)
		}
		return append(b, "null"...)
	case string:
		return appendText(b, v)
	case []any:
		b = append(b, '[')
		for i, elem := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, elem)
		}
		return append(b, ']')
	case map[string]any:
		b = append(b, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, key), ':')
			b = appendValue(b, v[key])
		}
		return append(b, '}')
	}
	text, err := json.Marshal(v)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, text...)
}

func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			text, _ := json.Marshal(s) // any text can be marshalled
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
