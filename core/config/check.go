package config

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-playground/validator/v10"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/strict"
)

var (
	pathPattern = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)
	dotSegment  = regexp.MustCompile(`/\.\.?(/|$)`)
	hostPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$`)

	rules = newRules()
)

// newRules is the one validator.
func newRules() *validator.Validate {
	v := strict.NewRules("koanf")
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

func (d *decoder) check(key string, v any) { d.strict().Check(key, v) }

func (d *decoder) reported(key string) bool {
	for ; key != ""; key = parent(key) {
		if d.bad[key] {
			return true
		}
	}
	return false
}

const isRequired = strict.Required

// ruleWords says in words what the rules ask for that only this file knows.
func ruleWords(f validator.FieldError) string {
	switch f.Tag() {
	case "address":
		return "must be HOST:PORT, such as 127.0.0.1:8080"
	case "name":
		return "must be lower-case letters, digits, - and _, beginning with a letter or digit, at most 64"
	case "path":
		return "must begin with /, not end with /, hold only letters, digits and -._~, and not end with /health, which answers beside each pipeline"
	case "len", "hexadecimal":
		return "must be a SHA-256: 64 hexadecimal digits"
	}
	return ""
}
