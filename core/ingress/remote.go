package ingress

import (
	"net/http"
	"net/netip"
	"strings"
)

// maxHops bounds the work that a header can cause.
const maxHops = 16

// clientAddr is the address the request came from. A forwarding header is believed only as far as
// trusted proxies wrote it: from the right, the first hop that is no trusted proxy. When a hop
// can't be read the address is not known, and the zero Addr is in no allow list.
func clientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap().WithZone("")
	if len(trusted) == 0 || !within(trusted, addr) {
		return addr
	}
	hops, ok := forwarded(r.Header)
	if !ok {
		return netip.Addr{}
	}
	for i := len(hops) - 1; i >= 0; i-- {
		hop, ok := parseHop(hops[i])
		if !ok {
			return netip.Addr{}
		}
		if addr = hop; !within(trusted, addr) {
			break
		}
	}
	return addr
}

func within(nets []netip.Prefix, addr netip.Addr) bool {
	for _, n := range nets {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// forwarded lists the hops of X-Forwarded-For, or of Forwarded when there is none. False means
// that both are given, or that there are too many hops: then nobody can say which is true.
func forwarded(h http.Header) (hops []string, ok bool) {
	xff, std := h.Values("X-Forwarded-For"), h.Values("Forwarded")
	if len(xff) > 0 && len(std) > 0 {
		return nil, false
	}
	lines := xff
	if len(std) > 0 {
		lines = std
	}
	for _, line := range lines {
		for hop := range strings.SplitSeq(line, ",") {
			if len(std) > 0 {
				hop = forParam(hop)
			}
			if hops = append(hops, strings.TrimSpace(hop)); len(hops) > maxHops {
				return nil, false
			}
		}
	}
	return hops, true
}

// forParam is the for= of an element of a Forwarded header (RFC 7239).
func forParam(element string) string {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(name, "for") {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// parseHop reads an address with or without a port; one with a zone is refused, as it means
// nothing on another machine.
func parseHop(hop string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(hop, "["), "]"))
	if err != nil {
		withPort, err := netip.ParseAddrPort(hop)
		if err != nil {
			return netip.Addr{}, false
		}
		addr = withPort.Addr()
	}
	if addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}
