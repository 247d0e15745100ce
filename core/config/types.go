package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Size is a number of bytes.
type Size = core.Size

// durationText is a duration as a user would write it: 30d, not 720h0m0s.
func durationText(d time.Duration) string {
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

var (
	durationType = reflect.TypeFor[time.Duration]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	patternType  = reflect.TypeFor[core.Pattern]()
	sizeType     = reflect.TypeFor[Size]()
	whereType    = reflect.TypeFor[core.Where]()
)

// textValue reads text into the types that are written as text but are not strings. ok is false
// for every other type.
func textValue(t reflect.Type, text string) (v any, ok bool, err error) {
	switch t {
	case durationType:
		v, err = core.ParseDuration(text)
	case prefixType:
		v, err = parsePrefix(text)
	case patternType:
		v, err = core.ParsePattern(text)
	case sizeType:
		var s Size
		err = s.UnmarshalText([]byte(text))
		v = s
	default:
		return nil, false, nil
	}
	return v, true, err
}
