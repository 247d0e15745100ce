package strict

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// AnyText is what Wanted says of a type that has a form of its own, which only the type knows.
const AnyText = "text in the form that this key takes"

// Wanted says in words what a type is written as.
func Wanted(t reflect.Type) string {
	if words, ok := written[t]; ok {
		return words
	}
	if IsText(t) {
		return AnyText
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Pointer:
		return Wanted(t.Elem())
	case reflect.Interface:
		return "any value"
	}
	if isNumber(t.Kind()) {
		return "a whole number"
	}
	return "a table"
}

// Found says in words what a value is.
func Found(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return "text"
	case bool:
		return "true or false"
	case int64:
		return "a number"
	case float64:
		return "a fraction"
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "a fraction"
		}
		return "a number"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	default:
		return "a date or time"
	}
}

// Suggest names the known key that the unknown one was probably meant to be, or all of them.
func Suggest(name string, known []string) string {
	known = sorted(known)
	best, distance := "", 3
	for _, k := range known {
		// Short names are all near each other: one in three letters may differ.
		if d := editDistance(strings.ToLower(name), k); d < distance && d <= max(1, len(k)/3) && d < len(k) {
			best, distance = k, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	case len(known) == 0:
		return "this table has no keys"
	default:
		return "known here: " + strings.Join(known, ", ")
	}
}

// editDistance counts insertions, deletions, replacements and swaps of neighbours.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}
