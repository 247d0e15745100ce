package shape

import (
	"encoding/json"

	"github.com/tidwall/gjson"
)

// Named is the by-name view of a webhook's custom_fields: for each field that is known its value under its
// name. An option is its label, and its id when it has none; several are a list. Money, ranges, times and
// addresses are objects without a type, all else is its value alone; null stays null. It is nil when there
// is nothing to show.
func (f *Fields) Named(object string, custom json.RawMessage) json.RawMessage {
	view, _ := f.View(object, custom)
	return view
}

// View is Named, and the keys of the fields that are not known.
func (f *Fields) View(object string, custom json.RawMessage) (view json.RawMessage, unknown []string) {
	if f == nil || len(custom) <= len("{}") {
		return nil, nil
	}
	doc := gjson.ParseBytes(custom)
	if !doc.IsObject() {
		return nil, nil
	}
	b := append(make([]byte, 0, len(custom)), '{')
	doc.ForEach(func(key, v gjson.Result) bool {
		field, ok := f.ByKey(object, key.Str)
		if !ok {
			unknown = append(unknown, key.Str)
			return true
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(appendText(b, field.Name), ':')
		b = field.appendShown(b, v)
		return true
	})
	if len(b) == 1 {
		return nil, unknown
	}
	return append(b, '}'), unknown
}

// appendShown appends a value of a webhook as the view shows it.
func (field *Field) appendShown(b []byte, v gjson.Result) []byte {
	if !v.IsObject() {
		return append(b, v.Raw...)
	}
	if values := v.Get("values"); values.IsArray() {
		b = append(b, '[')
		first := true
		values.ForEach(func(_, option gjson.Result) bool {
			if !first {
				b = append(b, ',')
			}
			first = false
			id := option.Get("id")
			if !id.Exists() {
				id = option
			}
			b = field.appendOption(b, id)
			return true
		})
		return append(b, ']')
	}
	if id := v.Get("id"); id.Exists() {
		return field.appendOption(b, id)
	}
	if value := v.Get("value"); value.Exists() && !composite(v.Get("type").Str) && alone(v) {
		return append(b, value.Raw...)
	}
	return appendUntyped(b, v)
}

func (field *Field) appendOption(b []byte, id gjson.Result) []byte {
	if label, ok := field.label(id.Raw); ok {
		return appendText(b, label)
	}
	return append(b, id.Raw...)
}

// alone reports whether an object has one key beside its type.
func alone(v gjson.Result) bool {
	n := 0
	v.ForEach(func(key, _ gjson.Result) bool {
		if key.Str != "type" {
			n++
		}
		return n < 2
	})
	return n == 1
}

func appendUntyped(b []byte, v gjson.Result) []byte {
	b = append(b, '{')
	first := true
	v.ForEach(func(key, part gjson.Result) bool {
		if key.Str == "type" {
			return true
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(append(b, key.Raw...), ':'), part.Raw...)
		return true
	})
	return append(b, '}')
}
