package shape

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// number is a number, also one that was written as text.
func number(v gjson.Result) any {
	if v.Type == gjson.String && isNumber(v.Str) {
		return json.Number(v.Str)
	}
	return reference(v)
}

// isNumber reports whether a text is a number as JSON writes one.
func isNumber(s string) bool {
	if s == "" || len(s) > 64 || (s[0] < '0' || s[0] > '9') && s[0] != '-' {
		return false
	}
	return gjson.Valid(s)
}

// truth is whether something is so.
func truth(v gjson.Result) any {
	if v.Type == gjson.Number && (v.Raw == "0" || v.Raw == "1") {
		return v.Raw == "1"
	}
	return plain(v)
}

// reference is the id of a record, of which version 1 shows an object in its place: {"value": 5, "name": …}.
func reference(v gjson.Result) any {
	if v.IsObject() {
		for _, key := range [...]string{"value", "id"} {
			if id := v.Get(key); id.Type == gjson.Number || id.Type == gjson.String {
				return plain(id)
			}
		}
	}
	return plain(v)
}

// instant is a time as RFC 3339 in UTC; what is no time is as it came. Version 1 has no zone and means
// UTC, and once wrote a time of zeros, or nothing, for none.
func instant(v gjson.Result) any {
	if v.Type != gjson.String {
		return plain(v)
	}
	s := v.Str
	switch {
	case s == "" || strings.HasPrefix(s, "0000-00-00"):
		return nil
	case len(s) == len(time.DateTime) && s[10] == ' ':
		if t, err := time.Parse(time.DateTime, s); err == nil {
			return t.Format(time.RFC3339)
		}
	case len(s) > len(time.DateTime) && s[10] == 'T' && s[len(s)-1] != 'Z':
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
	}
	return s
}

// timeOf reads a time of the normal form.
func timeOf(v any) time.Time {
	s, _ := v.(string)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() < 1970 {
		return time.Time{}
	}
	return t.UTC()
}

// clockText is a time of day or a length of time; nothing is written as no text at all.
func clockText(v gjson.Result) any {
	if v.IsObject() {
		v = v.Get("value")
	}
	if v.Type == gjson.String && v.Str == "" {
		return nil
	}
	return plain(v)
}

// idList is a list, made of one id or of text with commas where it has to be.
func idList(v gjson.Result) any {
	switch v.Type {
	case gjson.Number:
		return []any{plain(v)}
	case gjson.String:
		return splitIDs(v.Str)
	}
	return plain(v)
}

func splitIDs(s string) any {
	if s == "" {
		return nil
	}
	list := []any{}
	for part := range strings.SplitSeq(s, ",") {
		list = append(list, scalarText(strings.TrimSpace(part)))
	}
	return list
}

// scalarText is a number for digits.
func scalarText(s string) any {
	if isNumber(s) {
		return json.Number(s)
	}
	return s
}

// contacts leaves out the one without a value that stands for none.
func contacts(v gjson.Result) any {
	if !v.IsArray() {
		return plain(v)
	}
	list := []any{}
	v.ForEach(func(_, one gjson.Result) bool {
		if value := one.Get("value"); !one.IsObject() || value.Type != gjson.String || value.Str != "" {
			list = append(list, plain(one))
		}
		return true
	})
	return list
}

// address is an object with the text as its value.
func address(v gjson.Result) any {
	switch {
	case v.Type == gjson.String && v.Str == "":
		return nil
	case v.Type == gjson.String:
		return map[string]any{"value": v.Str}
	case v.IsObject():
		return bareValue("address", v)
	}
	return plain(v)
}
