package web

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestURLsAreReadAsBrowsersRead(t *testing.T) {
	for _, tt := range []struct{ name, input, base, href string }{
		{"a host is lower case and has a path", "HTTPS://EXAMPLE.com", "", "https://example.com/"},
		{"the scheme's own port is left out", "https://a.example:443/x", "", "https://a.example/x"},
		{"another port stays", "https://a.example:8443", "", "https://a.example:8443/"},
		{"dots are resolved", "https://a.example/b/../c/./d", "", "https://a.example/c/d"},
		{"encoded dots are resolved too", "https://a.example/b/%2e%2E/c", "", "https://a.example/c"},
		{"spaces around are left out", "  https://a.example/ \n", "", "https://a.example/"},
		{"a user before the host is no host", "https://api.example@evil.example/", "", "https://api.example@evil.example/"},
		{"of many at signs the last one counts", "https://a@b@c.example/", "", "https://a%40b@c.example/"},
		{"backslashes are slashes", `https:\\a.example\b`, "", "https://a.example/b"},
		{"a backslash ends the host", `https://a.example\@evil.example/`, "", "https://a.example/@evil.example/"},
		{"tabs and line ends are not there", "ht\ttps://a.ex\nample/\r", "", "https://a.example/"},
		{"any number of slashes begins a host", "https:////a.example", "", "https://a.example/"},
		{"no slash at all does too", "https:a.example", "", "https://a.example/"},
		{"decimal IPv4", "http://2130706433/", "", "http://127.0.0.1/"},
		{"octal IPv4", "http://0177.0.0.1/", "", "http://127.0.0.1/"},
		{"hexadecimal IPv4", "http://0x7F.1/", "", "http://127.0.0.1/"},
		{"IPv4 with a dot at the end", "http://127.0.0.1./", "", "http://127.0.0.1/"},
		{"IPv4 in full-width digits", "http://１２７.0.0.1/", "", "http://127.0.0.1/"},
		{"percent-encoded IPv4", "http://%31%32%37.0.0.1/", "", "http://127.0.0.1/"},
		{"IPv6 is shortened", "http://[1:0::0:2]:80/", "", "http://[1::2]/"},
		{"IPv4 in IPv6", "http://[::ffff:127.0.0.1]/", "", "http://[::ffff:7f00:1]/"},
		{"umlauts become punycode", "https://bücher.example/ü?ü#ü", "", "https://xn--bcher-kva.example/%C3%BC?%C3%BC#%C3%BC"},
		{"ß is kept apart from ss", "https://faß.example/", "", "https://xn--fa-hia.example/"},
		{"an ideographic full stop is a dot", "https://a。example/", "", "https://a.example/"},
		{"full-width letters are letters", "https://ＡＢ.example/", "", "https://ab.example/"},
		{"a soft hyphen is not there", "https://a\u00adb.example/", "", "https://ab.example/"},
		{"a dot at the end of a name stays", "https://a.example./", "", "https://a.example./"},
		{"an underscore is part of a name", "https://_dmarc.a.example/", "", "https://_dmarc.a.example/"},
		{"relative to a base", "../c?d#e", "https://a.example/x/y/z", "https://a.example/x/c?d#e"},
		{"relative to the scheme of a base", "//b.example/c", "https://a.example/x", "https://b.example/c"},
		{"a query of its own", "?q=1", "https://a.example/x?y", "https://a.example/x?q=1"},
		{"a fragment of its own", "#f", "https://a.example/x?y#z", "https://a.example/x?y#f"},
		{"what has no host", "mailto:a@b.example?subject=x y", "", "mailto:a@b.example?subject=x%20y"},
		{"a database", "postgres://u:p@db.example:5432/x", "", "postgres://u:p@db.example:5432/x"},
		{"a file", "file:///C|/a/../b", "", "file:///C:/b"},
		{"a path that looks like a host", "web+demo:/.//not-a-host/", "", "web+demo:/.//not-a-host/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var base *address
			if tt.base != "" {
				base, _ = parseAddress(tt.base, nil)
			}
			a, err := parseAddress(tt.input, base)
			if err != nil {
				t.Fatal(err)
			}
			if got := a.href(); got != tt.href {
				t.Errorf("%q is %q, want %q", tt.input, got, tt.href)
			}
			if again, err := parseAddress(a.href(), nil); err != nil || again.href() != a.href() {
				t.Errorf("%q is not the same when it is read again: %v", a.href(), err)
			}
		})
	}
}

func TestWhatIsNoURLIsRefused(t *testing.T) {
	for name, input := range map[string]string{
		"nothing":                            "",
		"no scheme":                          "a.example/x",
		"no host":                            "https://",
		"a user and no host":                 "https://user@/x",
		"a port and no host":                 "https://:443/",
		"a port above 65535":                 "https://a.example:65536/",
		"a port with letters":                "https://a.example:4x3/",
		"a signed port":                      "https://a.example:+1/",
		"a space in the host":                "https://a b.example/",
		"an encoded slash in the host":       "https://a%2Fb.example/",
		"an encoded NUL in the host":         "https://a%00.example/",
		"an encoded at sign in the host":     "https://a%40b.example/",
		"a full-width slash in the host":     "https://a／b.example/",
		"a character that maps to a percent": "https://a％41.example/",
		"IPv4 out of range":                  "http://256.0.0.1/",
		"too large a number":                 "http://4294967296/",
		"five parts of IPv4":                 "http://1.2.3.4.5/",
		"a digit that octal does not have":   "http://08.0.0.1/",
		"a name that ends in a number":       "http://a.example.1/",
		"a zone":                             "http://[fe80::1%25eth0]/",
		"IPv4 in brackets":                   "http://[127.0.0.1]/",
		"an open bracket":                    "http://[::1/",
		"something after the bracket":        "http://[::1]x/",
		"punycode of nothing":                "https://xn--/",
		"punycode that is broken":            "https://xn--a-\u00fc.example/",
		"a brace, which Go does not take":    "https://a{b}.example/",
		"a name longer than DNS knows":       "https://" + strings.Repeat("a.", 200) + "example/",
		"a zero-width joiner on its own":     "https://a\u200db.example/",
		"a host of soft hyphens only":        "https://\u00ad/",
	} {
		t.Run(name, func(t *testing.T) {
			if a, err := parseAddress(input, nil); err == nil {
				t.Errorf("%q was read as %q", input, a.href())
			}
		})
	}
}

func TestPartsOfAURLAreSetAsInBrowsers(t *testing.T) {
	for _, tt := range []struct{ name, href, part, value, want string }{
		{"host with a port", "https://a.example/x", "host", "b.example:8080", "https://b.example:8080/x"},
		{"hostname leaves the port", "https://a.example:1/", "hostname", "b.example", "https://b.example:1/"},
		{"hostname takes no port", "https://a.example/", "hostname", "b.example:1", "https://a.example/"},
		{"a host that is none is left out", "https://a.example/", "host", "x y", "https://a.example/"},
		{"host ends at a slash", "https://a.example/", "host", "b.example/c", "https://b.example/"},
		{"an at sign is no way to another host", "https://a.example/", "host", "u@b.example", "https://a.example/"},
		{"port reads digits", "https://a.example/", "port", "80x", "https://a.example:80/"},
		{"the scheme's own port goes", "https://a.example:1/", "port", "443", "https://a.example/"},
		{"protocol to another of its kind", "http://a.example:443/", "protocol", "https", "https://a.example/"},
		{"protocol to another kind is left out", "http://a.example/", "protocol", "foo", "http://a.example/"},
		{"pathname encodes its marks", "https://a.example/", "pathname", "x y?z#", "https://a.example/x%20y%3Fz%23"},
		{"pathname can't reach the host", "https://a.example/x", "pathname", "//b.example", "https://a.example//b.example"},
		{"search", "https://a.example/?x#f", "search", "?a=b c", "https://a.example/?a=b%20c#f"},
		{"no search", "https://a.example/?x#f", "search", "", "https://a.example/#f"},
		{"hash", "https://a.example/", "hash", "a b", "https://a.example/#a%20b"},
		{"username", "https://a.example/", "username", "a@b:c", "https://a%40b%3Ac@a.example/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := parseAddress(tt.href, nil)
			if err != nil {
				t.Fatal(err)
			}
			b := a.clone()
			if !b.set(tt.part, tt.value) {
				b = a
			}
			if got := b.href(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestTheClientIsGivenTheHostThatTheScriptSees(t *testing.T) {
	for _, tt := range []struct{ name, input, want string }{
		{"a fragment stays here", "https://a.example/x?y#z", "https://a.example/x?y"},
		{"a percent that stands for itself", "https://a.example/100%/%zz?5%#", "https://a.example/100%25/%25zz?5%25"},
		{"a backslash", `http://a.example\@evil.example`, "http://a.example/@evil.example"},
		{"IPv6 with a port", "http://[::1]:8080", "http://[::1]:8080/"},
		{"credentials are refused", "https://u:p@a.example", ""},
		{"another scheme is refused", "ftp://a.example/", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := parseAddress(tt.input, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := a.wire(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// What a script sees as the host is what an HTTP client of Go connects to, whatever the text.
func FuzzTheHostIsTheClientsHost(f *testing.F) {
	for _, s := range []string{
		"https://a.example/x", `https://a.example\@b.example`, "http://0x7f.1:80/", "https://u:p@[::1]:8/", "http://a%40b", "ht\ttp:/\\a。example",
		"https://xn--bcher-kva.example./%zz?%#%", "ws://a:1/../..//b", "foo://a%41b/", "file:c:/x", "http://１.2.3.4?", "https:a b", "http://a;b:c@d",
		"http://[::ffff:1.2.3.4]", "http://\u2100.example/", "http://a\u2044b.example",
	} {
		f.Add(s, "host", "b.example:81")
		f.Add("https://a.example/", "host", s)
		f.Add("https://a.example/", "pathname", s)
	}
	f.Fuzz(func(t *testing.T, input, part, value string) {
		if len(input) > maxURL || len(value) > maxURL {
			return
		}
		a, err := parseAddress(input, nil)
		if err != nil {
			return
		}
		sameHost(t, a)
		if a.set(part, value) {
			sameHost(t, a)
		}
	})
}

func sameHost(t *testing.T, a *address) {
	again, err := parseAddress(a.href(), nil)
	if err != nil || again.href() != a.href() || again.host != a.host || again.port != a.port {
		t.Fatalf("%q is not the same when it is read again: %q, %v", a.href(), again.href(), err)
	}
	if !a.special() || a.scheme == "file" {
		return
	}
	if u, err := url.Parse(a.href()); err == nil && (u.Hostname() != strings.Trim(a.host, "[]") || u.Host != a.hostport()) {
		t.Fatalf("%q: the script sees the host %q, net/url %q", a.href(), a.hostport(), u.Host)
	}
	if !strings.HasPrefix(a.scheme, "http") || a.credentials() {
		return
	}
	target, err := a.wire()
	if err != nil {
		t.Fatalf("%q can't be fetched: %v", a.href(), err)
	}
	if u, err := url.Parse(target); err != nil || u.Hostname() != strings.Trim(a.host, "[]") {
		t.Fatalf("%q: the client sees another host: %v, %v", a.href(), u, err)
	}
}

// Bytes that come in two pieces are the text that they are in one.
func FuzzTextDoesNotDependOnHowItsBytesCome(f *testing.F) {
	f.Add([]byte("a\xe2\x82\xac\xf0\x9f\x98"), 2)
	f.Add([]byte("\xed\xa0\x80\xf4\x90\xc0\xaf"), 1)
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		at = max(0, min(at, len(data)))
		whole, _, valid := decodeUTF8(data, false)
		first, left, ok := decodeUTF8(data[:at], true)
		rest, _, also := decodeUTF8(append(left[:len(left):len(left)], data[at:]...), false)
		if first+rest != whole || (ok && also) != valid || valid != utf8.Valid(data) || !utf8.ValidString(whole) {
			t.Errorf("%q is %q, in pieces %q and %q", data, whole, first, rest)
		}
	})
}
