package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/strict"
)

// KeyDoc describes one key to whoever writes or checks its documentation.
type KeyDoc struct {
	Key     string
	Type    string // in words, such as "a whole number"
	Default string // as in TOML; "required" when there is none, "[redacted]" for a secret
	Rules   string // the validate tag
}

// Keys lists every key of the file but those of the stages, such as server.listen.
func Keys() []string { return namesOf(Reference()) }

// StageKeys lists the keys of a stage's Config.
func StageKeys(conf any) []string { return namesOf(Describe(conf)) }

// Reference describes every key of the file but those of the stages.
func Reference() []KeyDoc {
	p, l := defaults(), ListenerDefaults()
	docs := describe("", reflect.ValueOf(p))
	docs = append(docs, describe(pipelineKey, reflect.ValueOf(PipelineDefaults()))...)
	return append(docs, describe(listenerKey, reflect.ValueOf(l))...)
}

// Describe describes the keys of a stage's Config, or of a pointer to it. What the Config holds is
// taken for the defaults.
func Describe(conf any) []KeyDoc { return describe("", reflect.Indirect(reflect.ValueOf(conf))) }

func keysOf(table string, t reflect.Type) []string {
	return namesOf(describe(table, reflect.New(t).Elem()))
}

func namesOf(docs []KeyDoc) []string {
	names := make([]string, len(docs))
	for i, doc := range docs {
		names[i] = doc.Key
	}
	return names
}

func describe(table string, v reflect.Value) []KeyDoc {
	var docs []KeyDoc
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := strict.Name(field, tag)
		if name == "" {
			continue
		}
		key, inner := join(table, name), v.Field(i)
		if inner.Kind() == reflect.Pointer {
			if inner.IsNil() {
				inner = reflect.New(field.Type.Elem())
			}
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && len(strict.Fields(inner.Type(), tag)) > 0 {
			docs = append(docs, describe(key, inner)...)
			continue
		}
		rules := field.Tag.Get("validate")
		doc := KeyDoc{Key: key, Type: strict.Wanted(inner.Type()), Default: defaultText(inner), Rules: rules}
		if first, _, _ := strings.Cut(rules, ","); first == "required" && inner.IsZero() {
			doc.Default = "required"
		}
		docs = append(docs, doc)
	}
	return docs
}

func defaultText(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return strconv.Quote(strict.DurationText(x))
	case Size:
		return strconv.Quote(x.String())
	case core.Secret:
		if x != "" {
			return x.String()
		}
	case core.Where:
		return "{}"
	case netip.Addr, netip.Prefix, core.Pattern:
		if v.IsZero() {
			return `""`
		}
		return strconv.Quote(fmt.Sprint(x))
	}
	switch v.Kind() {
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Map:
		if v.Len() == 0 {
			return "{}"
		}
	case reflect.Slice:
		elems := make([]string, v.Len())
		for i := range elems {
			elems[i] = defaultText(v.Index(i))
		}
		return "[" + strings.Join(elems, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}
