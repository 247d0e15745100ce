package mirror

import (
	"encoding/json"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

var errNoObject = errors.New("it is no JSON object")

// decode is what a row's data says. Numbers stay as they are written. It is on the way of every event, and
// several times faster than a decoder that does not know what it decodes into.
func decode(data []byte) (map[string]any, error) {
	if !gjson.ValidBytes(data) {
		return nil, errNoObject
	}
	values, ok := decoded(gjson.ParseBytes(data)).(map[string]any)
	if !ok {
		return nil, errNoObject
	}
	return values, nil
}

func decoded(v gjson.Result) any {
	switch {
	case v.Type == gjson.String:
		return v.Str
	case v.Type == gjson.Number:
		return json.Number(v.Raw)
	case v.IsBool():
		return v.Bool()
	case v.IsObject():
		all := map[string]any{}
		v.ForEach(func(key, value gjson.Result) bool {
			all[key.Str] = decoded(value)
			return true
		})
		return all
	case v.IsArray():
		all := []any{}
		v.ForEach(func(_, value gjson.Result) bool {
			all = append(all, decoded(value))
			return true
		})
		return all
	}
	return nil
}

// encode is a value as JSON, with the keys in order, and without what PostgreSQL's JSON can't hold.
func encode(v any) []byte { return appendJSON(make([]byte, 0, 512), v) }

func appendJSON(out []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(out, "null"...)
	case string:
		return appendText(out, v)
	case json.Number:
		if v == "" { // as encoding/json writes it
			return append(out, '0')
		}
		return append(out, v...)
	case bool:
		if v {
			return append(out, "true"...)
		}
		return append(out, "false"...)
	case []any:
		out = append(out, '[')
		for i := range v {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendJSON(out, v[i])
		}
		return append(out, ']')
	case map[string]any:
		return appendObject(out, v)
	}
	other, err := json.Marshal(v)
	if err != nil { // what was decoded from JSON can be encoded
		return append(out, "null"...)
	}
	return append(out, other...)
}

func appendObject(out []byte, values map[string]any) []byte {
	var few [64]string
	keys := few[:0]
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	out = append(out, '{')
	for i, key := range keys {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendText(out, key), ':')
		out = appendJSON(out, values[key])
	}
	return append(out, '}')
}

// appendText writes a text as JSON: a NUL, and what is no UTF-8, become U+FFFD.
func appendText(out []byte, s string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		out = append(out, s[from:i]...)
		switch {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c == 0 || c >= utf8.RuneSelf:
			out = append(out, "\uFFFD"...)
		case c == '\n':
			out = append(out, `\n`...)
		case c == '\t':
			out = append(out, `\t`...)
		case c == '\r':
			out = append(out, `\r`...)
		default:
			out = append(out, `\u00`...)
			out = append(out, hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(out, s[from:]...), '"')
}
