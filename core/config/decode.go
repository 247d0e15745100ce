package config

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/pipehook/pipehook/core/strict"
)

// decoder notes every mistake instead of stopping at the first. Only what is set above the file is
// converted, since an environment knows nothing but text.
type decoder struct {
	doc      *document
	mistakes Mistakes
	bad      map[string]bool // keys whose value has a mistake; a second one would only be its echo
}

func newDecoder(doc *document) decoder { return decoder{doc: doc, bad: map[string]bool{}} }

func (d *decoder) wrong(key, msg, hint string) {
	d.mistakes = append(d.mistakes, d.doc.mistake(key, msg, hint))
	d.bad[key] = true
}

func (d *decoder) strict() *strict.Decoder {
	return &strict.Decoder{
		Tag: tag, Rules: rules, Words: ruleWords, Bad: d.bad, Wrong: d.wrong,
		Written: func(key string) bool { _, ok := d.doc.places[key]; return ok },
		Refused: d.refused, Convert: d.convert, Own: d.own, Hint: hint,
	}
}

// table fills a struct, whose fields keep their values where the table is silent. The keys
// elsewhere are known too, but read by others.
func (d *decoder) table(key string, in map[string]any, into reflect.Value, elsewhere ...string) {
	d.strict().Table(key, in, into, elsewhere...)
}

func (d *decoder) value(key string, in any, into reflect.Value) { d.strict().Value(key, in, into) }

// refused repeats the text only when it stands in the file.
func (d *decoder) refused(key, _ string, t reflect.Type, err error) string {
	if d.doc.shows(key) {
		return err.Error()
	}
	return "must be " + strict.Wanted(t)
}

func (d *decoder) convert(key, text string, kind reflect.Kind) any {
	if _, above := d.doc.origins[key]; above {
		return fromText(text, kind)
	}
	return text
}

// own reads what is no field.
func (d *decoder) own(key string, in any, into reflect.Value) bool {
	if into.Type() != whereType {
		return false
	}
	d.where(key, in, into)
	return true
}

// hint is about a key that stands in the wrong table.
func hint(table reflect.Type, name string) string {
	if _, general := strict.Fields(reflect.TypeFor[Scripts](), tag)[name]; general && table == reflect.TypeFor[Listener]() {
		return name + " holds for all scripts: it stands in [scripts]"
	}
	return ""
}

// fromText reads what the environment or a flag says; a list is separated by commas. Text that
// can't be converted stays text, which is then of the wrong type.
func fromText(text string, kind reflect.Kind) any {
	switch {
	case kind == reflect.Bool:
		if b, err := strconv.ParseBool(text); err == nil {
			return b
		}
	case kind >= reflect.Int && kind <= reflect.Float64:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return f
		}
	case kind == reflect.Slice:
		list := []any{}
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		return list
	}
	return text
}

const tag = "koanf"
