package core

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What an event may be labelled with.
const (
	mostLabels     = 64
	mostLabelKey   = 64
	mostLabelValue = 256
)

// What an Amendment may say.
const (
	mostWord     = 64
	mostObjectID = 256
)

// LabelsText is the event's labels as JSON, for ParseLabels; empty when there are none.
func (ev *Event) LabelsText() string {
	if len(ev.Labels) == 0 {
		return ""
	}
	text, err := json.Marshal(ev.Labels)
	if err != nil { // strings always encode
		return ""
	}
	return string(text)
}

// ParseLabels reads what LabelsText made. Of anything else it makes no labels.
func ParseLabels(text string) map[string]string {
	var labels map[string]string
	if text == "" || json.Unmarshal([]byte(text), &labels) != nil || len(labels) == 0 {
		return nil
	}
	return labels
}

// mergeLabels is a new map, for events share theirs with copies of them.
func mergeLabels(had, more map[string]string) (map[string]string, error) {
	if len(more) == 0 {
		return had, nil
	}
	all := make(map[string]string, len(had)+len(more))
	maps.Copy(all, had)
	for _, key := range slices.Sorted(maps.Keys(more)) {
		value := more[key]
		if err := checkLabel(key, value); err != nil {
			return nil, err
		}
		if all[key] = value; value == "" {
			delete(all, key)
		}
	}
	if len(all) > mostLabels {
		return nil, &Error{Kind: Invalid, Msg: fmt.Sprintf("labels: there would be %d, and an event has at most %d", len(all), mostLabels)}
	}
	return all, nil
}

func checkLabel(key, value string) error {
	switch {
	case key == "" || len(key) > mostLabelKey || strings.ContainsFunc(key, notInLabel):
		return &Error{Kind: Invalid, Msg: fmt.Sprintf("labels: %q can't be a key: take 1 to %d of a-z, 0-9, dot, - and _", clipped(key, mostLabelKey), mostLabelKey)}
	case len(value) > mostLabelValue:
		return &Error{Kind: Invalid, Msg: fmt.Sprintf("labels.%s: the value has %d bytes, and may have %d", key, len(value), mostLabelValue)}
	case !writable(value):
		return &Error{Kind: Invalid, Msg: fmt.Sprintf("labels.%s: the value holds a control character", key)}
	}
	return nil
}

func notInLabel(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
}

// check refuses what no pattern could choose and what can't be kept as it is.
func (a *Amendment) check() error {
	for _, w := range []struct {
		name, not string
		is        *string
	}{{"action", "*.", a.Action}, {"object", "*", a.Object}} {
		if w.is != nil {
			if err := CheckWord(w.name, *w.is, w.not); err != nil {
				return err
			}
		}
	}
	if a.ObjectID != nil && (len(*a.ObjectID) > mostObjectID || !writable(*a.ObjectID)) {
		return &Error{Kind: Invalid, Msg: fmt.Sprintf("objectId: must be text of at most %d bytes without control characters", mostObjectID)}
	}
	for name, doc := range map[string]json.RawMessage{"current": a.Current, "previous": a.Previous} {
		if doc != nil && !json.Valid(doc) {
			return &Error{Kind: Invalid, Msg: name + ": is not JSON"}
		}
	}
	return nil
}

// CheckWord refuses what can't be an action or an object: not is what the word must not hold besides
// spaces.
func CheckWord(name, word, not string) error {
	bad := strings.ContainsAny(word, not) || strings.ContainsFunc(word, unicode.IsSpace) || !writable(word)
	if word == "" || len(word) > mostWord || bad {
		return &Error{Kind: Invalid, Msg: fmt.Sprintf("%s: %q can't be one: take 1 to %d bytes without spaces and without any of %s", name, clipped(word, mostWord), mostWord, strings.Join(strings.Split(not, ""), " "))}
	}
	return nil
}

// writable keeps texts fit for both databases and for a terminal.
func writable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
