package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-playground/validator/v10"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/strict"
)

// Size is a number of bytes in a Config: "1MiB", "512KiB", "10MB" or a plain number.
type Size = core.Size

const tag = "json"

// decode reads the config table into what Plugin.Config points to, strictly. Its error has all mistakes.
func decode(config []byte, into any) error {
	if into == nil {
		into = &struct{}{}
	}
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("the Config of the plugin must be a pointer to a struct, and is a %T", into)
	}
	table, err := parse(config)
	if err != nil {
		return Wrong("", err.Error())
	}
	d := &decoder{written: map[string]bool{}}
	d.note("", table)
	s := &strict.Decoder{
		Tag: tag, Rules: newRules(), Bad: map[string]bool{}, Refused: refused, Own: d.own,
		Written: func(key string) bool { return d.written[key] },
	}
	s.Wrong = func(key, msg, hint string) {
		if s.Bad[key] = true; hint != "" {
			msg += "; " + hint
		}
		d.mistakes = append(d.mistakes, Wrong(key, msg))
	}
	d.strict = s
	s.Table("", table, v.Elem())
	s.Check("", into)
	return errors.Join(d.mistakes...)
}

// newRules is made once for a process: a plugin is configured once.
func newRules() *validator.Validate { return strict.NewRules(tag) }

// parse keeps all digits of numbers.
func parse(config []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(config)) == 0 {
		return nil, nil
	}
	var table map[string]any
	dec := json.NewDecoder(bytes.NewReader(config))
	dec.UseNumber()
	if err := dec.Decode(&table); err != nil {
		return nil, errors.New("the configuration is no table")
	}
	return table, nil
}

type decoder struct {
	strict   *strict.Decoder
	written  map[string]bool
	mistakes []error
}

// note notes which keys are there.
func (d *decoder) note(key string, v any) {
	d.written[key] = true
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			d.note(strict.Join(key, name), inner)
		}
	case []any:
		for i, inner := range v {
			d.note(strict.Index(key, i), inner)
		}
	}
}

// own reads what has a form of its own in JSON, and leaves alone what is null.
func (d *decoder) own(key string, in any, into reflect.Value) bool {
	if in == nil {
		return true
	}
	if !asJSON(into.Type(), in) {
		return false
	}
	text, err := json.Marshal(in)
	if err == nil {
		err = json.Unmarshal(text, into.Addr().Interface())
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		d.strict.Wrong(key, fmt.Sprintf("must be %s, is %s", strict.Wanted(wrong.Type), strict.Found(in)), "")
	} else if err != nil {
		d.strict.Wrong(key, withoutValue(err, in), "")
	}
	return true
}

var (
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()
	bytesType   = reflect.TypeFor[[]byte]()
)

// asJSON reports whether encoding/json knows better how a value of the type is read.
func asJSON(t reflect.Type, in any) bool {
	_, text := in.(string)
	switch {
	case text && strict.IsText(t):
		return false
	case reflect.PointerTo(t).Implements(unmarshaler):
		return true
	case t == bytesType:
		return text // base64
	case t.Kind() == reflect.Map:
		return t.Key().Kind() != reflect.String || strict.IsText(t.Key())
	default:
		return t.Kind() == reflect.Array
	}
}

// refused says in words of pipehook what is wrong with a text.
func refused(_, text string, t reflect.Type, err error) string {
	if words := strict.Wanted(t); words != strict.AnyText {
		return "must be " + words
	}
	return withoutValue(err, text)
}

// withoutValue is an error as it may be shown: a value may be a secret, and errors like to repeat it.
func withoutValue(err error, value any) string {
	msg := strings.TrimPrefix(err.Error(), "json: ")
	if text, ok := value.(string); ok && text != "" {
		quoted := fmt.Sprintf("%q", text)
		msg = strings.NewReplacer(quoted, "it", text, "it", quoted[1:len(quoted)-1], "it").Replace(msg)
	}
	return msg
}
