package egress

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// Whoever writes the allow-list may write addresses into it. What they lead to is refused all the
// same, however it is spelled.
func TestAnAddressThatIsNotOnTheInternetIsRefusedHoweverItIsSpelled(t *testing.T) {
	spellings := []string{
		"127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7F.1", "0177.0.0.1", "017700000001", "0x7f.0x0.0x0.0x1",
		"127.0.0.1%2e", "%31%32%37.0.0.1", "127。0。0。1", "①②⑦.⓪.⓪.①", "１２７.０.０.１", "127.255.255.254", "0", "0.0.0.0", "0.1.2.3", "00.0.0.0",
		"[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]",
		"[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[fe80::1]", "[fe80::1%25lo]",
		"[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]", "[3fff::1]", "[100::1]", "[4000::1]", "[5f00::1]",
		"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "169.254.169.254", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376",
		"100.64.0.1", "100.127.255.255", "100.100.100.200", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255",
		"198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	}
	for _, spelling := range spellings {
		c := newClient(t, Options{})
		host, _, err := splitPort(spelling)
		if err == nil {
			if canonical, err := canonicalHost(host); err == nil { // as if it were allowed
				c.rules = []rule{{host: canonical, port: "80"}}
			}
		}
		_, code := ask(t, c, &Request{URL: "http://" + spelling + "/"})
		if code != "EPRIVATE" && code != "EURL" {
			t.Errorf("%s: got %q", spelling, code)
		}
		if a, err := netip.ParseAddr(strings.Trim(spelling, "[]")); err == nil && a.Zone() == "" && code != "EPRIVATE" {
			t.Errorf("%s: got %q for an address", a, code)
		}
	}
	t.Logf("%d spellings", len(spellings))
}

func TestAddressesOfTheInternetAndOfAllowedNetworksAreTaken(t *testing.T) {
	for _, good := range []string{"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.1", "223.255.255.255",
		"2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "2001:4860:4860::8888"} {
		if err := checkAddress(netip.MustParseAddr(good), nil); err != nil {
			t.Error(err)
		}
	}
	allowed := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}
	for address, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "fd00::1": true, "fc00::1": false} {
		if err := checkAddress(netip.MustParseAddr(address), allowed); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestAHostIsAllowedByItsNameInWhateverSpelling(t *testing.T) {
	c := newClient(t, Options{AllowHosts: []string{
		"Chat.Example.com", "*.pipedrive.com", "local.test:8080", "bücher.example", "10.1.2.3:3000", "[2001:db8::1]:8443", "xn--fa-hia.example.", "under_score.example",
	}})
	for address, want := range map[string]string{
		"https://chat.example.com/":             "chat.example.com",
		"http://chat.example.com/":              "chat.example.com",
		"HTTPS://CHAT.example.COM.:443/":        "chat.example.com",
		"https://ⓒhat.example.com":              "chat.example.com",
		"https://chat。example．com":              "chat.example.com",
		"https://chat.example.com:0443":         "chat.example.com",
		"https://chat.example.com:8443/":        "",
		"http://chat.example.com:443/":          "",
		"https://chat.example.com.evil.example": "",
		"https://evilchat.example.com":          "",
		"https://chat.example.com%00.evil":      "",
		"https://chat.example.com\\@evil/":      "",
		"https://evil/@chat.example.com":        "",
		"https://api.pipedrive.com":             "api.pipedrive.com",
		"https://a.b.pipedrive.com":             "a.b.pipedrive.com",
		"https://pipedrive.com":                 "",
		"https://.pipedrive.com":                "",
		"https://evilpipedrive.com":             "",
		"http://local.test:8080":                "local.test:8080",
		"https://local.test:8080":               "local.test:8080",
		"http://local.test":                     "",
		"https://BÜCHER.example":                "xn--bcher-kva.example",
		"https://xn--bcher-kva.example":         "xn--bcher-kva.example",
		"https://bu\u0308cher.example":          "xn--bcher-kva.example",
		"https://faß.example":                   "xn--fa-hia.example",
		"http://10.1.2.3:3000":                  "10.1.2.3:3000",
		"http://[::ffff:10.1.2.3]:3000":         "10.1.2.3:3000",
		"http://[2001:DB8:0::1]:8443":           "[2001:db8::1]:8443",
		"http://under_score.example":            "under_score.example",
		"http://xn--a.example":                  "",
		"http://-a.example":                     "",
		"http://a..example":                     "",
		"http://" + strings.Repeat("a.", 127):   "",
	} {
		got := ""
		if u, err := url.Parse(address); err == nil {
			if u, _, err := c.target(u); err == nil {
				got = u.Host
			}
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
}

func TestARefusedHostIsNamedWithTheLineThatAllowsIt(t *testing.T) {
	c := newClient(t, Options{})
	u, _ := url.Parse("https://API.example.com:8443/?token=" + secret)
	_, _, err := c.target(u)
	const want = `the host api.example.com:8443 is not allowed: add it to allow_hosts of [scripts], or of the listener, stage or source, as in allow_hosts = ["api.example.com:8443"]`
	if codeOf(t, err) != "EHOST" || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestAnEntryOfTheListThatIsNoHostIsRefused(t *testing.T) {
	for _, bad := range []string{"", "*", "*.", "*.*", "*.10.0.0.1", "a.*.example", "https://a.example", "a.example/path", "a b", "a.example:0", "a.example:x", "a.example:70000", "[::1", "[10.0.0.1]", "fe80::1%eth0", "0x7f.1", "user@a.example"} {
		if err := CheckHost(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := New(Options{AllowHosts: []string{"a.example", "*"}}); err == nil {
		t.Error("a client was made")
	}
}

func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"https://a.example/", "http://x.b.example:80", "https://b.example", "http://[::1]:80/", "http://127.1", "http://a.example\\@evil", "http://①.example", "https://a.example:443#"} {
		f.Add(seed)
	}
	c, err := New(Options{AllowHosts: []string{"a.example", "*.b.example", "10.0.0.1:8080"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.Parse(text)
		if err != nil {
			return
		}
		to, at, err := c.target(u)
		if err != nil {
			return
		}
		if at.host != "a.example" && at.host != "10.0.0.1" && (!strings.HasSuffix(at.host, ".b.example") || strings.HasPrefix(at.host, ".")) {
			t.Fatalf("%q leads to %s", text, at.host)
		}
		again, err := url.Parse(to.String())
		if err != nil || again.Host != to.Host || again.User != nil || again.Scheme != at.scheme {
			t.Fatalf("%q is written as %q, which leads to %v (%v)", text, to, again, err)
		}
		if _, same, err := c.target(again); err != nil || same != at {
			t.Fatalf("%q: %v, then %v (%v)", text, at, same, err)
		}
	})
}
