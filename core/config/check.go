package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/go-playground/validator/v10"
)

var (
	namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	pathPattern = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)

	rules = newRules()
)

// newRules is the one validator: it is safe for concurrent use and caches what it learns of types.
func newRules() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string { return f.Tag.Get("koanf") })
	for tag, check := range map[string]func(string) bool{
		"name": namePattern.MatchString,
		"path": func(s string) bool { return pathPattern.MatchString(s) && !strings.HasSuffix(s, "/health") },
	} {
		if err := v.RegisterValidation(tag, func(fl validator.FieldLevel) bool { return check(fl.Field().String()) }); err != nil {
			panic(err) // a tag that can't be registered is a mistake in this file
		}
	}
	return v
}

// check holds a struct against its validate tags. Values that could not be decoded have been
// reported; what their zero value would break is not reported again.
func (d *decoder) check(key string, v any) {
	failures, ok := errors.AsType[validator.ValidationErrors](rules.Struct(v))
	if !ok {
		return
	}
	for _, f := range failures {
		path := strings.TrimPrefix(f.Namespace(), reflect.Indirect(reflect.ValueOf(v)).Type().Name()+".")
		at := path
		if key != "" {
			at = key + "." + path
		}
		if !slices.ContainsFunc(d.mistakes, func(m Mistake) bool { return m.Key == at || strings.HasPrefix(at, m.Key+"[") }) {
			d.wrong(at, ruleText(f), "")
		}
	}
}

// ruleText says in words what a rule asks for. It never shows the value.
func ruleText(f validator.FieldError) string {
	param := f.Param()
	if f.Type() == durationType && param == "0" {
		param = "0s"
	}
	switch f.Tag() {
	case "required":
		return "is required"
	case "gt":
		return "must be above " + param
	case "gte", "min":
		return "must be at least " + param
	case "lte", "max":
		return "must be at most " + param
	case "gtefield":
		return "must not be below " + strings.ToLower(param)
	case "oneof":
		return "must be one of " + strings.Join(strings.Fields(param), ", ")
	case "hostname_port":
		return "must be HOST:PORT, such as 127.0.0.1:8080"
	case "name":
		return "must be lower-case letters, digits, - and _, beginning with a letter or digit, at most 64"
	case "path":
		return "must begin with /, not end with /, hold only letters, digits and -._~, and not end with /health, which answers beside each pipeline"
	case "url":
		return "must be a URL"
	default:
		return fmt.Sprintf("breaks the rule %s", strings.TrimSuffix(f.Tag()+"="+param, "="))
	}
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
