package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// decode reads the config table, strictly.
func decode(config []byte, into any) error {
	if len(bytes.TrimSpace(config)) == 0 {
		config = []byte("{}")
	}
	if into == nil {
		into = &struct{}{}
	}
	dec := json.NewDecoder(bytes.NewReader(config))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return Wrong(wrong.Field, fmt.Sprintf("must be %s, is %s", wanted(wrong.Type.Kind()), found(wrong.Value)))
	}
	// The package has no type for this one.
	if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return Wrong(strings.Trim(key, `"`), "unknown key")
	}
	return Wrong("", err.Error())
}

// wanted says in words what a field takes.
func wanted(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a table"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}

// found says in words what JSON calls a value.
func found(value string) string {
	kind, _, _ := strings.Cut(value, " ") // "number 1.5"
	switch kind {
	case "string":
		return "text"
	case "bool":
		return "true or false"
	case "array":
		return "a list"
	case "object":
		return "a table"
	default:
		return "a " + kind
	}
}
