package egress

import (
	"fmt"
	"net/netip"
)

// special are the networks that are not the Internet, or lead somewhere else than they say. The
// standard library's IsPrivate and IsGlobalUnicast know a part of them.
var special = []struct {
	network netip.Prefix
	what    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "means this host"},
	{netip.MustParsePrefix("10.0.0.0/8"), "is private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "is a carrier's own"},
	{netip.MustParsePrefix("127.0.0.0/8"), "is this machine"},
	{netip.MustParsePrefix("169.254.0.0/16"), "is link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "is private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "is reserved for protocols"},
	{netip.MustParsePrefix("192.0.2.0/24"), "is for documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "was a 6to4 relay"},
	{netip.MustParsePrefix("192.168.0.0/16"), "is private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "is for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "is for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "is for documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "is multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "is reserved"},
	{netip.MustParsePrefix("::/128"), "means this host"},
	{netip.MustParsePrefix("::1/128"), "is this machine"},
	{netip.MustParsePrefix("64:ff9b::/96"), "stands for an IPv4 address (NAT64)"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "stands for an IPv4 address (NAT64)"},
	{netip.MustParsePrefix("2001::/32"), "stands for an IPv4 address (Teredo)"},
	{netip.MustParsePrefix("2001::/23"), "is reserved for protocols"},
	{netip.MustParsePrefix("2001:db8::/32"), "is for documentation"},
	{netip.MustParsePrefix("2002::/16"), "stands for an IPv4 address (6to4)"},
	{netip.MustParsePrefix("3fff::/20"), "is for documentation"},
	{netip.MustParsePrefix("fc00::/7"), "is private"},
	{netip.MustParsePrefix("fe80::/10"), "is link-local"},
	{netip.MustParsePrefix("fec0::/10"), "is private"},
	{netip.MustParsePrefix("ff00::/8"), "is multicast"},
}

// global is all of IPv6 that is given to anybody.
var global = netip.MustParsePrefix("2000::/3")

// addressError is why an address is not connected to.
type addressError struct {
	addr netip.Addr
	what string
}

func (e *addressError) Error() string { return fmt.Sprintf("%s %s", e.addr, e.what) }

// checkAddress refuses what is not on the Internet and is not among the networks allowed.
func checkAddress(addr netip.Addr, allowed []netip.Prefix) error {
	addr = addr.Unmap().WithZone("") // no network contains an address with a zone
	for _, network := range allowed {
		if network.Contains(addr) {
			return nil
		}
	}
	for _, s := range special {
		if s.network.Contains(addr) {
			return &addressError{addr, s.what}
		}
	}
	if !addr.IsValid() || addr.Is6() && !global.Contains(addr) {
		return &addressError{addr, "is not on the Internet"}
	}
	return nil
}
