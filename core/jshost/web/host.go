package web

import (
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// maxHost is longer than any name that DNS knows.
const maxHost = 255

// names turns a name into what DNS is asked for, as the URL Standard wants it.
var names = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false),
	idna.CheckJoiners(true), idna.BidiRule(), idna.VerifyDNSLength(false))

// parseHost reads a host: a name, an IPv4 address in any of its notations, or an IPv6 address in
// brackets. That of a URL that is not special is kept as it is. Names have only letters, digits,
// dots, hyphens and underscores, which is less than browsers take: every HTTP client reads such
// names in the same way.
func parseHost(s string, special bool) (string, error) {
	if strings.HasPrefix(s, "[") {
		return parseIPv6(s)
	}
	if !special {
		if strings.ContainsAny(s, "\x00\t\n\r #/:<>?@[\\]^|") {
			return "", errHost
		}
		return percentEncode(s, ""), nil
	}
	if len(s) > 4*maxHost { // mapping takes its time
		return "", errHost
	}
	decoded, _, _ := decodeUTF8([]byte(percentDecode(s)), false)
	name, err := names.ToASCII(decoded)
	if err != nil || name == "" || len(name) > maxHost || !plainName(name) {
		return "", errHost
	}
	if endsInNumber(name) {
		return parseIPv4(name)
	}
	return name, nil
}

func plainName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isDigit(c) && (c < 'a' || c > 'z') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// endsInNumber tells an IPv4 address from a name by its last label.
func endsInNumber(name string) bool {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	last := labels[len(labels)-1]
	if last != "" && strings.Trim(last, "0123456789") == "" {
		return true
	}
	_, err := ipv4Number(last)
	return err == nil
}

// parseIPv4 reads 127.0.0.1, 127.1, 0x7f.1, 017700000001 and 2130706433 as the same address.
func parseIPv4(name string) (string, error) {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	if len(labels) > 4 {
		return "", errAddress
	}
	var address uint64
	for i, label := range labels {
		n, err := ipv4Number(label)
		if err != nil {
			return "", errAddress
		}
		most, shift := uint64(255), 8*(3-i)
		if i == len(labels)-1 { // it fills the bytes that are left
			most, shift = 1<<(8*(5-len(labels)))-1, 0
		}
		if n > most {
			return "", errAddress
		}
		address |= n << shift
	}
	return netip.AddrFrom4([4]byte{byte(address >> 24), byte(address >> 16), byte(address >> 8), byte(address)}).String(), nil
}

func ipv4Number(s string) (uint64, error) {
	switch {
	case s == "":
		return 0, errAddress
	case strings.HasPrefix(s, "0x"):
		if s = s[2:]; s == "" {
			return 0, nil
		}
		return parseDigits(s, 16)
	case len(s) > 1 && s[0] == '0':
		return parseDigits(s[1:], 8)
	}
	return parseDigits(s, 10)
}

// parseDigits takes no sign and no underscores. A number that is too large is an address's mistake,
// not another kind of host.
func parseDigits(s string, base int) (uint64, error) {
	for i := range len(s) {
		if !isHex(s[i]) || base <= 10 && (!isDigit(s[i]) || s[i] >= '0'+byte(base)) {
			return 0, errAddress
		}
	}
	n, err := strconv.ParseUint(s, base, 64)
	if err != nil {
		return 1 << 40, nil
	}
	return n, nil
}

func parseIPv6(s string) (string, error) {
	inside, ok := strings.CutSuffix(s[1:], "]")
	if !ok || strings.Contains(inside, "%") { // a zone means something on one machine only
		return "", errAddress
	}
	ip, err := netip.ParseAddr(inside)
	if err != nil || !ip.Is6() {
		return "", errAddress
	}
	if ip.Is4In6() { // netip would write the end as IPv4
		b := ip.As16()
		return "[::ffff:" + strconv.FormatUint(uint64(b[12])<<8|uint64(b[13]), 16) + ":" +
			strconv.FormatUint(uint64(b[14])<<8|uint64(b[15]), 16) + "]", nil
	}
	return "[" + ip.String() + "]", nil
}
