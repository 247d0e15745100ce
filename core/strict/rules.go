package strict

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"

	"github.com/pipehook/pipehook/core"
)

// NewRules is a validator for structs whose fields have their names in the tag. It is safe for
// concurrent use and caches what it learns of types.
func NewRules(tag string) *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		if flat(f, tag) {
			return flattened
		}
		return Name(f, tag)
	})
	return v
}

// mapKey is how the validator writes what the rest of us write with a dot; an entry of a list stays.
var mapKey = regexp.MustCompile(`\[[^\[\]]*[^0-9\[\]][^\[\]]*\]`)

// flattened stands in a namespace for a struct whose fields are those of the one around it.
const flattened = "-flat-"

// Check holds a struct, to which v points, against its validate tags. Values that could not be decoded
// have been told of; what their zero value would break is not told again.
func (d *Decoder) Check(key string, v any) {
	failures, ok := errors.AsType[validator.ValidationErrors](d.Rules.Struct(v))
	if !ok {
		return
	}
	for _, f := range failures {
		at := strings.ReplaceAll(f.Namespace(), flattened+".", "")
		at = strings.TrimPrefix(at, reflect.Indirect(reflect.ValueOf(v)).Type().Name()+".")
		at = mapKey.ReplaceAllStringFunc(at, func(name string) string { return "." + Join("", name[1:len(name)-1]) })
		if key != "" {
			at = key + "." + at
		}
		if d.reported(at) {
			continue
		}
		msg := d.ruleText(f)
		if msg == Required && d.Written(at) {
			msg = "must not be empty"
		}
		d.Wrong(at, msg, "")
	}
}

func (d *Decoder) reported(key string) bool {
	for key != "" {
		if d.Bad[key] {
			return true
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return false
}

// Required is what is said of a key that is not there.
const Required = "is required"

func (d *Decoder) ruleText(f validator.FieldError) string {
	if d.Words != nil {
		if words := d.Words(f); words != "" {
			return words
		}
	}
	return ruleText(f)
}

// kinds are the rules that ask for a form.
var kinds = map[string]string{
	"url": "a URL", "http_url": "a URL", "uri": "a URI", "email": "an e-mail address", "hostname": "a host's name", "fqdn": "a host's full name",
	"hostname_port": "HOST:PORT, such as 127.0.0.1:8080", "ip": "an IP address", "cidr": "a network such as \"203.0.113.0/24\"",
	"uuid": "a UUID", "hexadecimal": "hexadecimal digits", "base64": "base64", "number": "a number", "numeric": "a number",
	"alpha": "letters only", "alphanum": "letters and digits only", "lowercase": "lower case", "uppercase": "upper case",
	"file": "a file that is there", "dir": "a folder that is there", "json": "JSON", "timezone": "a time zone such as \"Europe/Berlin\"",
}

// ruleText says in words what a rule asks for. It never shows the value.
func ruleText(f validator.FieldError) string {
	must, limit := "must be ", limitText(f)
	if k := f.Kind(); k == reflect.String || k == reflect.Slice || k == reflect.Map {
		must = "must have "
	}
	switch f.Tag() {
	case "required":
		return Required
	case "required_with":
		return "is required together with " + strings.ToLower(f.Param())
	case "required_without":
		return "is required without " + strings.ToLower(f.Param())
	case "gt":
		return must + "above " + limit
	case "gte", "min":
		return must + "at least " + limit
	case "lt":
		return must + "below " + limit
	case "lte", "max":
		return must + "at most " + limit
	case "gtefield":
		return "must not be below " + strings.ToLower(f.Param())
	case "oneof":
		return "must be one of " + strings.Join(strings.Fields(f.Param()), ", ")
	case "unique":
		return "must not name one twice"
	case "eq":
		if f.Kind() == reflect.String {
			return "must be " + f.Param()
		}
		return must + "exactly " + limit
	case "ne":
		return "must not be " + f.Param()
	case "len":
		return "must have exactly " + limit
	case "startswith":
		return "must begin with " + f.Param()
	case "endswith":
		return "must end with " + f.Param()
	}
	if what, ok := kinds[f.Tag()]; ok {
		return "must be " + what
	}
	return fmt.Sprintf("breaks the rule %s", strings.TrimSuffix(f.Tag()+"="+f.Param(), "="))
}

// limitText is a rule's number as the user would write it.
func limitText(f validator.FieldError) string {
	param := f.Param()
	switch {
	case f.Type() == durationType:
		if d, err := time.ParseDuration(param); err == nil {
			return DurationText(d)
		}
		return param
	case f.Type() == sizeType:
		if n, err := strconv.ParseInt(param, 10, 64); err == nil {
			return core.Size(n).String()
		}
		return param
	case f.Kind() == reflect.String:
		return counted(param, "character")
	case f.Kind() == reflect.Slice, f.Kind() == reflect.Map:
		return counted(param, "entry")
	}
	return param
}

func counted(n, what string) string {
	if n == "1" {
		return "1 " + what
	}
	if stem, ok := strings.CutSuffix(what, "y"); ok {
		return n + " " + stem + "ies"
	}
	return n + " " + what + "s"
}
