package mirror

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// at is the value at a place in a record. Of a list on the way it is its primary one, or the first.
func at(values map[string]any, place string) any {
	var v any = values
	for key := range strings.SplitSeq(place, ".") {
		if all, ok := v.([]any); ok {
			v = primary(all)
		}
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[key]
	}
	return v
}

func primary(all []any) any {
	for _, v := range all {
		if object, ok := v.(map[string]any); ok && object["primary"] == true {
			return v
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// sqlValue is what a column takes for a value: nil for one that does not fit it, which then stands in data alone.
func sqlValue(k kind, v any) any {
	if v == nil {
		return nil
	}
	switch k {
	case number:
		if n, err := strconv.ParseInt(plain(v), 10, 64); err == nil {
			return n
		}
	case decimal:
		if s := plain(v); validDecimal(s) {
			return s
		}
	case text:
		return plain(v)
	case flag:
		switch plain(v) {
		case "true", "1":
			return true
		case "false", "0":
			return false
		}
	case date:
		if day, err := time.Parse(time.DateOnly, plain(v)); err == nil && day.Year() > 0 {
			return day.Format(time.DateOnly)
		}
	case moment:
		if t := parseTime(plain(v)); !t.IsZero() {
			return seconds(t)
		}
	case list:
		return string(encode(v))
	}
	return nil
}

// validDecimal reports whether both databases take the text as a number, of a size that money and the like have.
func validDecimal(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && f > -1e100 && f < 1e100 && strings.Trim(s, "0123456789+-.eE") == ""
}

// plain is a value as text. PostgreSQL takes no NUL.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(strings.ToValidUTF8(v, "\uFFFD"), "\x00", "\uFFFD")
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	default:
		return string(encode(v))
	}
}

// same reports whether two values mean the same. PostgreSQL keeps the value of a number and not how it was written.
func same(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for key, v := range a {
			other, there := b[key]
			if !there || !same(v, other) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !same(a[i], b[i]) {
				return false
			}
		}
		return true
	case json.Number:
		b, ok := b.(json.Number)
		return ok && (a == b || sameNumber(a.String(), b.String()))
	case string: // perhaps one of them has been in the database
		b, ok := b.(string)
		return ok && (a == b || plain(a) == plain(b))
	default:
		return a == b
	}
}

func sameNumber(a, b string) bool {
	if len(a) > 64 || len(b) > 64 || strings.ContainsAny(a+b, "eE") { // an exponent may be huge
		x, errA := strconv.ParseFloat(a, 64)
		y, errB := strconv.ParseFloat(b, 64)
		return errA == nil && errB == nil && x == y
	}
	x, okA := new(big.Rat).SetString(a)
	y, okB := new(big.Rat).SetString(b)
	return okA && okB && x.Cmp(y) == 0
}

func parseTime(s string) time.Time {
	for _, layout := range []string{time.RFC3339, time.DateTime} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 0 && t.Year() < 9999 {
			return t.UTC()
		}
	}
	return time.Time{}
}

// seconds and millis write a time so that on SQLite the texts have the order of the times. The zero time is NULL.
func seconds(t time.Time) any { return written(t, "2006-01-02T15:04:05Z") }
func millis(t time.Time) any  { return written(t, "2006-01-02T15:04:05.000Z") }

func written(t time.Time, layout string) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(layout)
}
