package simulate

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// object is a JSON object whose keys keep their order, as Pipedrive's bodies do.
type object []member

type member struct {
	key   string
	value any
}

func (o object) find(key string) (any, bool) {
	for _, m := range o {
		if m.key == key {
			return m.value, true
		}
	}
	return nil, false
}

// appendJSON writes a value compact, and no letter escaped that JSON does not ask for: so do Pipedrive's.
func appendJSON(to []byte, value any) []byte {
	switch v := value.(type) {
	case nil:
		return append(to, "null"...)
	case bool:
		return strconv.AppendBool(to, v)
	case int:
		return strconv.AppendInt(to, int64(v), 10)
	case int64:
		return strconv.AppendInt(to, v, 10)
	case string:
		return appendText(to, v)
	case json.RawMessage:
		return append(to, v...)
	case object:
		return appendObject(to, v)
	case map[string]any:
		return appendObject(to, sorted(v))
	case []any:
		return appendList(to, v)
	case []string:
		return appendList(to, v)
	case []int64:
		return appendList(to, v)
	default:
		return appendOther(to, v)
	}
}

func sorted(values map[string]any) object {
	o := make(object, 0, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		o = append(o, member{key, values[key]})
	}
	return o
}

func appendObject(to []byte, o object) []byte {
	to = append(to, '{')
	for i, m := range o {
		if i > 0 {
			to = append(to, ',')
		}
		to = append(appendText(to, m.key), ':')
		to = appendJSON(to, m.value)
	}
	return append(to, '}')
}

func appendList[T any](to []byte, list []T) []byte {
	to = append(to, '[')
	for i, v := range list {
		if i > 0 {
			to = append(to, ',')
		}
		to = appendJSON(to, v)
	}
	return append(to, ']')
}

func appendText(to []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			return appendOther(to, s)
		}
	}
	if !utf8.ValidString(s) {
		return appendOther(to, s)
	}
	return append(append(append(to, '"'), s...), '"')
}

func appendOther(to []byte, value any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil { // a record holds what came as JSON
		return append(to, "null"...)
	}
	return append(to, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}
