package strict

import (
	"encoding"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	patternType  = reflect.TypeFor[core.Pattern]()
	sizeType     = reflect.TypeFor[core.Size]()
	numberType   = reflect.TypeFor[json.Number]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// written says in words how types are written that have a form of their own.
var written = map[reflect.Type]string{
	durationType: `a duration such as "5s"`,
	sizeType:     `a size such as "1MiB"`,
	patternType:  `a pattern such as "updated.deal"`,
	prefixType:   `an address or network such as "203.0.113.0/24"`,
	numberType:   "a number",
}

// IsText reports whether a type is written as text without being a string.
func IsText(t reflect.Type) bool {
	return t == prefixType || t == patternType || reflect.PointerTo(t).Implements(textType)
}

// setText reads text into a value that is written as text without being a string. It answers
// false for every other type.
func setText(into reflect.Value, text string) (bool, error) {
	v, ok, err := textValue(into.Type(), text)
	if err != nil {
		return false, err
	}
	if ok {
		into.Set(reflect.ValueOf(v))
		return true, nil
	}
	if !IsText(into.Type()) {
		return false, nil
	}
	own := reflect.New(into.Type())
	if u, ok := own.Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return false, err
		}
	}
	into.Set(own.Elem())
	return true, nil
}

// textValue reads text into the types that are written in pipehook's own way. ok is false for every
// other type.
func textValue(t reflect.Type, text string) (v any, ok bool, err error) {
	switch t {
	case durationType:
		v, err = core.ParseDuration(text)
	case prefixType:
		v, err = parsePrefix(text)
	case patternType:
		v, err = core.ParsePattern(text)
	default:
		return nil, false, nil
	}
	return v, true, err
}

// DurationText is a duration as a user would write it: 30d, not 720h0m0s.
func DurationText(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// parsePrefix takes a network or a single address, which is a network of one. An IPv4 address
// inside IPv6 is that IPv4 address: requests are compared so.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err == nil && p.Addr().Is4In6() {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if err != nil || !p.IsValid() {
		return netip.Prefix{}, fmt.Errorf("%q is not an address or network such as \"203.0.113.7\" or \"2001:db8::/32\"", text)
	}
	return p.Masked(), nil
}
