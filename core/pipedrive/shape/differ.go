package shape

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Differ lists what both records carry and mean differently, custom fields as custom_fields.KEY, in order.
// Times are compared as instants and numbers by value, also with one that is written as text; null, an empty text and an empty
// list mean the same. What Pipedrive derives from other records is left out, and so is when the record was changed: it moves
// when something changes that neither carries.
func Differ(local, remote Record) []string {
	var keys []string
	for key, is := range remote.Values {
		was, carried := local.Values[key]
		switch {
		case !carried || derived(remote.Object, key):
		case key == customFields:
			keys = append(keys, differFields(was, is)...)
		case !same(was, is):
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func differFields(was, is any) (keys []string) {
	before, _ := was.(map[string]any)
	after, _ := is.(map[string]any)
	for key, v := range after {
		if old, carried := before[key]; carried && !same(old, v) {
			keys = append(keys, customFields+"."+key)
		}
	}
	return keys
}

// derived reports whether a key is about other records, or about when and how this one is shown.
func derived(object, key string) bool {
	switch key {
	case "update_time", "last_login", "cc_email", "first_char", "org_name", "person_name", "owner_name", "deal_title", "lead_title",
		"weighted_value", "rotten_time", "active", "label", "edit_name", "is_you", "next_activity", "last_activity", "person_hidden", "org_hidden", "company_id":
		return true
	case "lang": // a number in the API and a word in webhooks
		return object == "user"
	}
	for _, start := range [...]string{"next_activity_", "last_activity_", "formatted_", "weighted_", "last_incoming_", "last_outgoing_"} {
		if strings.HasPrefix(key, start) {
			return true
		}
	}
	return strings.HasSuffix(key, "_count")
}

// same reports whether two values of the normal form mean the same.
func same(a, b any) bool {
	if empty(a) || empty(b) {
		return empty(a) && empty(b)
	}
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			return sameParts(x, y)
		}
		return sameValue(x, b)
	case []any:
		return sameLists(x, b)
	}
	switch y := b.(type) {
	case map[string]any:
		return sameValue(y, a)
	case []any:
		return sameLists(y, a)
	}
	if x, ok := a.(bool); ok {
		y, ok := b.(bool)
		return ok && x == y
	}
	x, okX := scalarString(a)
	y, okY := scalarString(b)
	return okX && okY && (x == y || !(isText(a) && isText(b)) && sameNumbers(x, y) || sameInstants(x, y) || sameClocks(x, y))
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// sameParts compares the parts that both have.
func sameParts(a, b map[string]any) bool {
	for key, was := range a {
		if is, carried := b[key]; carried && !same(was, is) {
			return false
		}
	}
	return true
}

// sameValue compares something that has parts with a value alone, as one of which the type was not known is.
func sameValue(parts map[string]any, alone any) bool {
	value, ok := parts["value"]
	return ok && same(value, alone)
}

func isText(v any) bool {
	_, ok := v.(string)
	return ok
}

// sameLists compares ids and texts in any order, as they are sets; what else a list holds in its order.
func sameLists(a []any, b any) bool {
	list, ok := b.([]any)
	if text, isText := b.(string); isText {
		list, ok = splitIDs(text).([]any)
	}
	if !ok || len(a) != len(list) {
		return false
	}
	before, sortable := sortedTexts(a)
	after, too := sortedTexts(list)
	if sortable && too {
		return slices.Equal(before, after)
	}
	return slices.EqualFunc(a, list, same)
}

func sortedTexts(list []any) (texts []string, ok bool) {
	for _, v := range list {
		s, scalar := scalarString(v)
		if !scalar {
			return nil, false
		}
		texts = append(texts, s)
	}
	slices.Sort(texts)
	return texts, true
}

func scalarString(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return string(v), true
	case bool, nil, []any, map[string]any:
		return "", false
	}
	text, err := json.Marshal(v) // a number that somebody else made
	return string(text), err == nil
}

func sameInstants(a, b string) bool {
	if len(a) < len(time.DateTime) || len(b) < len(time.DateTime) {
		return false
	}
	x, y := timeOf(a), timeOf(b)
	return !x.IsZero() && x.Equal(y)
}

// sameClocks takes 10:00 and 10:00:00 for one time.
func sameClocks(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return len(a) == len("15:04") && a[2] == ':' && b == a+":00"
}

// sameNumbers compares two numbers by their digits, so that none is lost.
func sameNumbers(a, b string) bool {
	if !isNumber(a) || !isNumber(b) {
		return false
	}
	return digitsOf(a) == digitsOf(b)
}

// digits are a number without the zeros that mean nothing: 0.digits times ten to the power of shift.
type digits struct {
	negative bool
	text     string
	shift    int
}

func digitsOf(s string) digits {
	s, negative := strings.CutPrefix(s, "-")
	mantissa, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	before, after, _ := strings.Cut(mantissa, ".")
	shift, _ := json.Number(strings.TrimPrefix(exponent, "+")).Int64()
	all := before + after
	significant := strings.TrimLeft(all, "0")
	d := digits{negative, strings.TrimRight(significant, "0"), int(shift) + len(before) - (len(all) - len(significant))}
	if d.text == "" {
		return digits{}
	}
	return d
}

// Before is what of the record is another in the one that came after it, custom fields each for itself: a
// webhook of version 2 reports that as previous, one of version 1 all there was. What the later one does
// not carry is left out.
func (r *Record) Before(after Record) Record {
	was := *r
	was.Values = make(map[string]any)
	for key, v := range r.Values {
		now, carried := after.Values[key]
		fields, isFields := v.(map[string]any)
		nowFields, areFields := now.(map[string]any)
		switch {
		case !carried:
		case key == customFields && isFields && areFields:
			if changed := otherIn(fields, nowFields); len(changed) > 0 {
				was.Values[key] = changed
			}
		case !reflect.DeepEqual(v, now):
			was.Values[key] = v
		}
	}
	return was
}

func otherIn(was, is map[string]any) map[string]any {
	changed := map[string]any{}
	for key, v := range was {
		if now, carried := is[key]; carried && !reflect.DeepEqual(v, now) {
			changed[key] = v
		}
	}
	return changed
}
