package simulate

import (
	"strings"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// addressParts are in the order of Pipedrive's examples; type stands among them.
var addressParts = strings.Fields("country formatted_address locality sublocality subpremise route street_number " +
	"admin_area_level_1 admin_area_level_2 postal_code")

// customValue is what the record holds for a custom field: in custom_fields, or beside the other keys, as the
// API's version 1 has it.
func customValue(rec Record, key string) any {
	if fields, ok := rec["custom_fields"].(map[string]any); ok {
		if v, ok := fields[key]; ok {
			return v
		}
	}
	return rec[key]
}

// typed are all custom fields of the account for the object, each as the object that a webhook of version 2
// carries; null for one that is not set.
func typed(rec Record, fields []shape.Field) object {
	out := object{}
	for _, f := range fields {
		if f.Custom {
			out = append(out, member{f.Key, typedValue(f.Type, customValue(rec, f.Key))})
		}
	}
	return out
}

func typedValue(kind string, v any) any {
	if v == nil {
		return nil
	}
	parts, _ := v.(map[string]any)
	switch kind {
	case "people", "org", "user", "enum":
		return object{{"type", kind}, {"id", v}}
	case "set":
		return object{{"type", kind}, {"values", setValues(v)}}
	case "monetary":
		if parts != nil {
			return object{{"type", kind}, {"value", parts["value"]}, {"currency", parts["currency"]}}
		}
	case "time":
		if parts != nil {
			return object{{"type", kind}, {"value", parts["value"]}, {"timezone_id", parts["timezone_id"]}}
		}
	case "daterange":
		return object{{"type", kind}, {"from", parts["value"]}, {"until", parts["until"]}}
	case "timerange":
		return object{{"type", kind}, {"from", parts["value"]}, {"until", parts["until"]}, {"timezone_id", parts["timezone_id"]}}
	case "address":
		return typedAddress(v, parts)
	}
	return object{{"type", kind}, {"value", v}}
}

func setValues(v any) []any {
	ids, _ := v.([]any)
	out := make([]any, len(ids))
	for i, id := range ids {
		out[i] = object{{"id", id}}
	}
	return out
}

// typedAddress has every part; one that is not known is empty text, as in the guide's example.
func typedAddress(v any, parts map[string]any) object {
	out := object{}
	for i, key := range addressParts {
		if i == 4 {
			out = append(out, member{"type", "address"})
		}
		out = append(out, member{key, orEmpty(parts[key])})
	}
	if parts != nil {
		v = parts["value"]
	}
	return append(out, member{"value", v})
}

func orEmpty(v any) any {
	if v == nil {
		return ""
	}
	return v
}

// flat are the same custom fields as version 1 has them: beside the others, in several keys where they have
// several parts, and ids of options as text.
func flat(rec Record, fields []shape.Field) object {
	var out object
	for _, f := range fields {
		if f.Custom {
			out = append(out, flatValue(f.Key, f.Type, customValue(rec, f.Key))...)
		}
	}
	return out
}

func flatValue(key, kind string, v any) object {
	parts, split := v.(map[string]any)
	whole := v
	if split {
		whole = parts["value"]
	}
	o := object{{key, whole}}
	switch kind {
	case "enum":
		o[0].value = textOrNil(v)
	case "set":
		o[0].value = joined(v)
	case "monetary":
		o = append(o, member{key + "_currency", parts["currency"]})
	case "daterange":
		o = append(o, member{key + "_until", parts["until"]})
	case "time":
		o = append(o, member{key + "_timezone_id", parts["timezone_id"]})
	case "timerange":
		o = append(o, member{key + "_until", parts["until"]}, member{key + "_timezone_id", parts["timezone_id"]})
	case "address":
		for _, part := range addressParts {
			o = append(o, member{key + "_" + part, parts[part]})
		}
	}
	return o
}

// joined is a list of ids as version 1 writes it, "1,2"; nil for none.
func joined(v any) any {
	ids, _ := v.([]any)
	if len(ids) == 0 {
		return nil
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = plainText(id)
	}
	return strings.Join(texts, ",")
}

func textOrNil(v any) any {
	if v == nil {
		return nil
	}
	return plainText(v)
}

// plainText is a value without the quotes that JSON gives to text.
func plainText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return string(appendJSON(nil, v))
}
