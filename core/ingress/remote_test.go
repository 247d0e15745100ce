package ingress

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

var proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}

func lines(header string, values ...string) http.Header { return http.Header{header: values} }

func xff(values ...string) http.Header { return lines("X-Forwarded-For", values...) }

func std(values ...string) http.Header { return lines("Forwarded", values...) }

func TestTheClientIsWhomTrustedProxiesVouchFor(t *testing.T) {
	const unknown = ""
	const inside = "10.0.0.1:1234"
	tests := []struct {
		name   string
		peer   string
		header http.Header
		want   string
	}{
		{"a peer", "192.0.2.1:80", nil, "192.0.2.1"},
		{"an IPv6 peer", "[2001:470::1]:80", nil, "2001:470::1"},
		{"a peer that is mapped to IPv6", "[::ffff:192.0.2.1]:80", nil, "192.0.2.1"},
		{"a peer on the link", "[fe80::1%eth0]:80", nil, "fe80::1"},
		{"a peer that is no address", "@", nil, unknown},
		{"a peer that is not trusted", "192.0.2.1:80", xff("203.0.113.9"), "192.0.2.1"},
		{"a peer that is not trusted, Forwarded", "192.0.2.1:80", std("for=203.0.113.9"), "192.0.2.1"},
		{"a proxy that names nobody", inside, nil, "10.0.0.1"},
		{"a proxy", inside, xff("203.0.113.9"), "203.0.113.9"},
		{"a proxy that is mapped to IPv6", "[::ffff:10.0.0.1]:80", xff("203.0.113.9"), "203.0.113.9"},
		{"an IPv6 proxy", "[2001:db8::1]:80", xff("203.0.113.9"), "203.0.113.9"},
		{"a chain of proxies", inside, xff("203.0.113.9, 10.0.0.2,2001:db8::7"), "203.0.113.9"},
		{"proxies only", inside, xff("10.0.0.3, 10.0.0.2"), "10.0.0.3"},
		{"a forged address to the left", inside, xff("198.51.100.1, 203.0.113.9"), "203.0.113.9"},
		{"a forged proxy to the left", inside, xff("198.51.100.1, 10.0.0.9, 203.0.113.9"), "203.0.113.9"},
		{"rubbish to the left", inside, xff("<script>, 203.0.113.9"), "203.0.113.9"},
		{"two lines are one list", inside, xff("198.51.100.1", "203.0.113.9, 10.0.0.2"), "203.0.113.9"},
		{"a forged line before the proxy's", inside, xff("10.0.0.1", "203.0.113.9"), "203.0.113.9"},
		{"with a port", inside, xff("203.0.113.9:4711"), "203.0.113.9"},
		{"IPv6", inside, xff("2001:470::9"), "2001:470::9"},
		{"IPv6 in brackets", inside, xff("[2001:470::9]"), "2001:470::9"},
		{"IPv6 in brackets with a port", inside, xff("[2001:470::9]:4711"), "2001:470::9"},
		{"IPv4 mapped to IPv6", inside, xff("::ffff:203.0.113.9"), "203.0.113.9"},
		{"a proxy mapped to IPv6 in the list", inside, xff("203.0.113.9, ::ffff:10.0.0.2"), "203.0.113.9"},
		{"spaces and tabs", inside, xff(" \t203.0.113.9\t , 10.0.0.2 "), "203.0.113.9"},
		{"IPv4 in brackets", inside, xff("[203.0.113.9]"), unknown},
		{"half a bracket", inside, xff("[2001:470::9"), unknown},
		{"the other half", inside, xff("2001:470::9]"), unknown},
		{"a port that is none", inside, xff("203.0.113.9:99999"), unknown},
		{"a zone", inside, xff("fe80::1%eth0"), unknown},
		{"a zone and a port", inside, xff("[fe80::1%eth0]:80"), unknown},
		{"leading zeros", inside, xff("203.0.113.009"), unknown},
		{"a short address", inside, xff("203.113"), unknown},
		{"a number", inside, xff("3405803785"), unknown},
		{"a name", inside, xff("localhost"), unknown},
		{"an empty line", inside, xff(""), unknown},
		{"an empty hop at the end", inside, xff("203.0.113.9,"), unknown},
		{"an empty hop between proxies", inside, xff("203.0.113.9,,10.0.0.2"), unknown},
		{"rubbish at the end", inside, xff("203.0.113.9, x"), unknown},
		{"16 hops", inside, xff("203.0.113.9" + strings.Repeat(",10.0.0.2", 15)), "203.0.113.9"},
		{"17 hops", inside, xff("203.0.113.9" + strings.Repeat(",10.0.0.2", 16)), unknown},
		{"1,000 hops", inside, xff(strings.Repeat("10.0.0.2,", 1000)), unknown},
		{"both headers", inside, http.Header{"X-Forwarded-For": {"203.0.113.9"}, "Forwarded": {"for=203.0.113.9"}}, unknown},
		{"other headers are not read", inside, lines("X-Real-Ip", "203.0.113.9"), "10.0.0.1"},
		{"Forwarded", inside, std("for=203.0.113.9"), "203.0.113.9"},
		{"Forwarded with more", inside, std("by=10.0.0.1;For=203.0.113.9;proto=https;host=a"), "203.0.113.9"},
		{"Forwarded, quoted IPv6 with a port", inside, std(`for="[2001:470::9]:4711"`), "2001:470::9"},
		{"Forwarded, a chain", inside, std("for=198.51.100.1, for=203.0.113.9", "for=10.0.0.2"), "203.0.113.9"},
		{"Forwarded, a hop in a quoted host", inside, std(`for=203.0.113.9;host="a,for=198.51.100.1"`), "203.0.113.9"},
		{"Forwarded, a hop in a quoted host with quotes", inside, std(`for=203.0.113.9;host="a\",for=198.51.100.1;x=\""`), "203.0.113.9"},
		{"Forwarded, a quote that does not end", inside, std(`for="203.0.113.9`), unknown},
		{"Forwarded, a quote that ends in a backslash", inside, std(`for=203.0.113.9;host="\`), unknown},
		{"Forwarded, a quote opened to the left", inside, std(`host="x, for=203.0.113.9`), unknown},
		{"Forwarded, for= twice", inside, std("for=203.0.113.9;for=198.51.100.1"), unknown},
		{"Forwarded, hidden", inside, std("for=_hidden"), unknown},
		{"Forwarded, unknown", inside, std("for=unknown"), unknown},
		{"Forwarded without for=", inside, std("proto=https"), unknown},
		{"Forwarded, an element without for= after one with it", inside, std("for=203.0.113.9, proto=https"), unknown},
		{"Forwarded, an empty element at the end", inside, std("for=203.0.113.9,"), unknown},
		{"Forwarded, IPv6 that is not quoted", inside, std("for=[2001:470::9]"), "2001:470::9"},
		{"Forwarded, no pairs", inside, std("203.0.113.9"), unknown},
		{"Forwarded, text after a value", inside, std(`for="203.0.113.9"x`), unknown},
		{"Forwarded, empty", inside, std(""), unknown},
		{"Forwarded, 17 hops", inside, std("for=203.0.113.9" + strings.Repeat(",for=10.0.0.2", 16)), unknown},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := netip.Addr{}
			if test.want != "" {
				want = netip.MustParseAddr(test.want)
			}
			if got := clientAddr(&http.Request{RemoteAddr: test.peer, Header: test.header}, proxies); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// Whatever the client sends, it either is seen as the proxy saw it or not known.
func FuzzForwardedFor(f *testing.F) {
	for _, seed := range []string{"", "10.0.0.1", "198.51.100.1, 10.0.0.2", `for="`, `for=198.51.100.1;host="`, "a\"b\\,for=198.51.100.1", "\\", "for=1.1.1.1,,"} {
		f.Add(seed)
	}
	real := netip.MustParseAddr("203.0.113.9")
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	f.Fuzz(func(t *testing.T, sent string) {
		seen := func(peer string, h http.Header) netip.Addr {
			return clientAddr(&http.Request{RemoteAddr: peer, Header: h}, proxies)
		}
		for _, h := range []http.Header{
			xff(sent + ", 203.0.113.9"), xff(sent, "203.0.113.9"), std(sent + ", for=203.0.113.9"), std(sent, "for=203.0.113.9"),
		} {
			if got := seen("10.0.0.1:1", h); got != real && got.IsValid() {
				t.Errorf("%v: seen as %v", h, got)
			}
		}
		if h := std(`for=203.0.113.9;host="` + escape.Replace(sent) + `"`); seen("10.0.0.1:1", h) != real {
			t.Errorf("%v: seen as %v", h, seen("10.0.0.1:1", h))
		}
		for _, h := range []http.Header{xff(sent), std(sent), std("for=" + sent)} {
			if got := seen("203.0.113.9:1", h); got != real {
				t.Errorf("%v: without a proxy seen as %v", h, got)
			}
			seen("10.0.0.1:1", h)
		}
	})
}
