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
// that both are given, that there are too many hops, or that the header is torn: then nobody can
// say which part a proxy wrote.
func forwarded(h http.Header) (hops []string, ok bool) {
	xff, std := h["X-Forwarded-For"], h["Forwarded"]
	if len(xff) > 0 && len(std) > 0 {
		return nil, false
	}
	for _, line := range xff {
		for hop := range strings.SplitSeq(line, ",") {
			if hops = append(hops, strings.Trim(hop, " \t")); len(hops) > maxHops {
				return nil, false
			}
		}
	}
	for _, line := range std {
		if hops, ok = appendForwarded(hops, line); !ok {
			return nil, false
		}
	}
	return hops, true
}

// appendForwarded appends the for= of every element in a line of a Forwarded header (RFC 7239),
// empty where an element has none. A value may be quoted and then hold commas and semicolons: host=
// repeats what the client sent, so a line that is merely split at commas lets him add an element.
func appendForwarded(hops []string, line string) (_ []string, ok bool) {
	hop, seen := "", false
	for rest := line; ; {
		name, value, after, ok := forwardedPair(rest)
		if !ok {
			return nil, false
		}
		if strings.EqualFold(name, "for") {
			if seen {
				return nil, false
			}
			hop, seen = value, true
		}
		if after == "" || after[0] == ',' {
			if hops = append(hops, hop); len(hops) > maxHops {
				return nil, false
			}
			hop, seen = "", false
		}
		if after == "" {
			return hops, true
		}
		rest = after[1:]
	}
}

// forwardedPair reads name=value from the beginning of s. What is after it is empty or begins with
// a comma or a semicolon. Nothing at all is a pair too, as the grammar lets elements be empty.
func forwardedPair(s string) (name, value, after string, ok bool) {
	s = strings.TrimLeft(s, " \t")
	end := strings.IndexAny(s, `=,;"`)
	if end < 0 || s[end] != '=' {
		return "", "", s, s == "" || s[0] == ',' || s[0] == ';'
	}
	name, s = s[:end], s[end+1:]
	if quoted, isQuoted := strings.CutPrefix(s, `"`); isQuoted {
		end = strings.IndexAny(quoted, `"\`)
		for end >= 0 && quoted[end] == '\\' { // an escaped character; an address has none, but host= may
			next := strings.IndexAny(quoted[min(end+2, len(quoted)):], `"\`)
			if next < 0 {
				return "", "", "", false
			}
			end += 2 + next
		}
		if end < 0 {
			return "", "", "", false
		}
		value, s = quoted[:end], quoted[end+1:]
	} else {
		if end = strings.IndexAny(s, `,;"= `+"\t"); end < 0 {
			end = len(s)
		}
		value, s = s[:end], s[end:]
	}
	s = strings.TrimLeft(s, " \t")
	return name, value, s, s == "" || s[0] == ',' || s[0] == ';'
}

// parseHop reads an address with or without a port; IPv6 with a port stands in brackets. One with
// a zone is refused, as it means nothing on another machine.
func parseHop(hop string) (netip.Addr, bool) {
	bare := hop
	if inner, ok := strings.CutPrefix(hop, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok && strings.Contains(inner, ":") {
			bare = inner
		}
	}
	addr, err := netip.ParseAddr(bare)
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
