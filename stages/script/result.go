package script

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jsonscan"
)

// keys are what a stage may return.
var keys = []string{"labels", "action", "object", "objectId", "current", "previous"}

// decode reads what a script returned. An error names the key and never the value.
func decode(value []byte) (core.Amendment, error) {
	var a core.Amendment
	value = bytes.TrimSpace(value)
	if len(value) == 0 || string(value) == "null" {
		return a, nil
	}
	if jsonscan.Depth(value, jsonscan.MaxDepth) > jsonscan.MaxDepth {
		return a, fmt.Errorf("it is nested deeper than %d", jsonscan.MaxDepth)
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(value, &given); err != nil {
		return a, fmt.Errorf("it must return nothing or an object, and returned %s", jsonscan.What(value))
	}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if err := part(&a, key, given[key]); err != nil {
			return core.Amendment{}, err
		}
	}
	return a, nil
}

func part(a *core.Amendment, key string, v json.RawMessage) (err error) {
	switch key {
	case "labels":
		a.Labels, err = labels(v)
	case "action":
		a.Action, err = text(key, v)
	case "object":
		a.Object, err = text(key, v)
	case "objectId":
		a.ObjectID, err = id(v)
	case "current":
		a.Current = v
	case "previous":
		a.Previous = v
	default:
		return fmt.Errorf("unknown key %q: a stage may return %s", clip(key), strings.Join(keys, ", "))
	}
	return err
}

func labels(v json.RawMessage) (map[string]string, error) {
	var given map[string]json.RawMessage
	if jsonscan.What(v) != "an object" || json.Unmarshal(v, &given) != nil {
		return nil, fmt.Errorf("labels: must be an object, is %s", jsonscan.What(v))
	}
	all := make(map[string]string, len(given))
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if string(given[key]) == "null" { // takes the label away
			all[key] = ""
			continue
		}
		value, err := text("labels."+clip(key), given[key])
		if err != nil {
			return nil, err
		}
		all[key] = *value
	}
	return all, nil
}

func text(key string, v json.RawMessage) (*string, error) {
	var s string
	if jsonscan.What(v) != "text" || json.Unmarshal(v, &s) != nil {
		return nil, fmt.Errorf("%s: must be text, is %s", key, jsonscan.What(v))
	}
	return &s, nil
}

// id takes a number too, as long as JavaScript has not rounded it.
func id(v json.RawMessage) (*string, error) {
	switch jsonscan.What(v) {
	case "null":
		return new(string), nil
	case "a number":
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil || n >= 1<<53 || n <= -1<<53 {
			return nil, fmt.Errorf("objectId: is a number that JavaScript may have rounded: return it as text")
		}
		s := strconv.FormatInt(n, 10)
		return &s, nil
	default:
		return text("objectId", v)
	}
}

func clip(s string) string {
	const most = 64
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
