package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"

	"github.com/pipehook/pipehook/core"
)

var (
	pathPattern = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)
	dotSegment  = regexp.MustCompile(`/\.\.?(/|$)`)
	hostPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$`)

	rules = newRules()
)

// newRules is the one validator: it is safe for concurrent use and caches what it learns of types.
func newRules() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(tomlName)
	for tag, check := range map[string]func(string) bool{
		"name": core.IsName, "path": isPath, "address": isAddress,
	} {
		if err := v.RegisterValidation(tag, func(fl validator.FieldLevel) bool { return check(fl.Field().String()) }); err != nil {
			panic(err) // a tag that can't be registered is a mistake in this file
		}
	}
	return v
}

func isPath(s string) bool {
	return pathPattern.MatchString(s) && !dotSegment.MatchString(s) && !strings.HasSuffix(s, "/health")
}

// isAddress is what validator's hostname_port is not: it takes IPv6 and port 0, which means any.
func isAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return true
	}
	return hostPattern.MatchString(host)
}

// check holds a struct against its validate tags. Values that could not be decoded have been
// reported; what their zero value would break is not reported again.
func (d *decoder) check(key string, v any) {
	failures, ok := errors.AsType[validator.ValidationErrors](rules.Struct(v))
	if !ok {
		return
	}
	for _, f := range failures {
		at := strings.TrimPrefix(f.Namespace(), reflect.Indirect(reflect.ValueOf(v)).Type().Name()+".")
		if key != "" {
			at = key + "." + at
		}
		if d.reported(at) {
			continue
		}
		msg := ruleText(f)
		if _, written := d.doc.places[at]; written && msg == isRequired {
			msg = "must not be empty"
		}
		d.wrong(at, msg, "")
	}
}

func (d *decoder) reported(key string) bool {
	for ; key != ""; key = parent(key) {
		if d.bad[key] {
			return true
		}
	}
	return false
}

const isRequired = "is required"

// ruleText says in words what a rule asks for. It never shows the value.
func ruleText(f validator.FieldError) string {
	must, limit := "must be ", limitText(f)
	if k := f.Kind(); k == reflect.String || k == reflect.Slice || k == reflect.Map {
		must = "must have "
	}
	switch f.Tag() {
	case "required":
		return isRequired
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
	case "address":
		return "must be HOST:PORT, such as 127.0.0.1:8080"
	case "name":
		return "must be lower-case letters, digits, - and _, beginning with a letter or digit, at most 64"
	case "path":
		return "must begin with /, not end with /, hold only letters, digits and -._~, and not end with /health, which answers beside each pipeline"
	case "len", "hexadecimal":
		return "must be a SHA-256: 64 hexadecimal digits"
	case "url", "http_url":
		return "must be a URL"
	default:
		return fmt.Sprintf("breaks the rule %s", strings.TrimSuffix(f.Tag()+"="+f.Param(), "="))
	}
}

// limitText is a rule's number as the user would write it.
func limitText(f validator.FieldError) string {
	param := f.Param()
	switch {
	case f.Type() == durationType:
		if d, err := time.ParseDuration(param); err == nil {
			return durationText(d)
		}
		return param
	case f.Type() == sizeType:
		if n, err := strconv.ParseInt(param, 10, 64); err == nil {
			return Size(n).String()
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
