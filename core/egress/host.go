package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// rule is an entry of the allow-list.
type rule struct {
	host   string // canonical; of a wildcard what stands behind the *
	port   string // "" for the scheme's own
	suffix bool
}

func (r *rule) match(host, port, scheme string) bool {
	if r.port != port && (r.port != "" || port != defaultPorts[scheme]) {
		return false
	}
	if r.suffix {
		return len(host) > len(r.host) && strings.HasSuffix(host, r.host)
	}
	return host == r.host
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// CheckHost reports what is wrong with an entry of the allow-list: "chat.example.com",
// "*.example.com" for every host below that one, "10.0.0.5", each with a :PORT where it is not the scheme's own.
func CheckHost(entry string) error {
	_, err := parseRule(entry)
	return err
}

func parseRule(entry string) (rule, error) {
	bad := func(why string) (rule, error) {
		return rule{}, fmt.Errorf("%q is not a host such as \"chat.example.com\", \"*.example.com\" or \"10.0.0.5:8080\": %s", entry, why)
	}
	switch {
	case strings.Contains(entry, "/"):
		return bad("it is written without https:// and without a path")
	case entry == "*":
		return bad("it would be every host; name those that are meant")
	}
	var r rule
	text, below := strings.CutPrefix(entry, "*.")
	host, port, err := splitPort(text)
	if err != nil {
		return bad(err.Error())
	}
	if r.host, err = canonicalHost(host); err != nil {
		return bad(err.Error())
	}
	r.port = port
	if !below {
		return r, nil
	}
	if _, err := netip.ParseAddr(r.host); err == nil {
		return bad("there is nothing below an address")
	}
	r.host, r.suffix = "."+r.host, true
	return r, nil
}

// splitPort takes a port off, if there is one, and the brackets off an IPv6 address.
func splitPort(text string) (host, port string, err error) {
	if _, err := netip.ParseAddr(text); err == nil {
		return text, "", nil // IPv6 without brackets
	}
	host = text
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, ']') {
		host, port = text[:i], text[i+1:]
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return "", "", errors.New("a port is a number from 1 to 65535")
		}
		port = strconv.FormatUint(n, 10) // 0443 is 443
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host, ok = strings.CutSuffix(inner, "]")
		if a, err := netip.ParseAddr(host); !ok || err != nil || !a.Is6() {
			return "", "", errors.New("brackets are for an IPv6 address")
		}
	}
	return host, port, nil
}

// names turns a name into the form that is looked up: lower case, IDNA's mapping and Punycode.
var names = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false))

// canonicalHost is the one spelling of a host. An address has one too, and what some resolvers would
// take for an address, such as 0x7f.1, is refused.
func canonicalHost(host string) (string, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return canonicalAddr(a)
	}
	ascii, err := names.ToASCII(host)
	if err != nil {
		return "", errors.New("it is not a host name")
	}
	ascii = strings.ToLower(strings.TrimSuffix(ascii, "."))
	if a, err := netip.ParseAddr(ascii); err == nil { // its digits were written in another script
		return canonicalAddr(a)
	}
	if len(ascii) > 253 {
		return "", errors.New("it is longer than a host name can be")
	}
	var last string
	for last = range strings.SplitSeq(ascii, ".") {
		if !isLabel(last) {
			return "", errors.New("it is not a host name")
		}
	}
	if _, err := strconv.ParseUint(strings.TrimPrefix(last, "0x"), 16, 64); last[0] >= '0' && last[0] <= '9' && (err == nil || last == "0x") {
		return "", errors.New("it looks like an address, but is none")
	}
	return ascii, nil
}

func canonicalAddr(a netip.Addr) (string, error) {
	if a.Zone() != "" {
		return "", errors.New("an address with a zone is not taken")
	}
	return a.Unmap().String(), nil
}

func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// place is where a request goes.
type place struct{ scheme, host, port string }

func (p place) String() string {
	host := p.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if p.port == defaultPorts[p.scheme] {
		return host
	}
	return host + ":" + p.port
}

// target reads a URL and gives its host the one spelling. The error repeats nothing of it: a secret
// may stand anywhere.
func (c *Client) target(u *url.URL) (*url.URL, place, error) {
	p := place{scheme: u.Scheme}
	if defaultPorts[p.scheme] == "" {
		return nil, p, errorf("EURL", "the URL does not begin with https:// or http://")
	}
	if u.User != nil {
		return nil, p, errorf("EURL", "the URL holds a user name or password: send an Authorization header instead")
	}
	if u.Host == "" || u.Opaque != "" {
		return nil, p, errorf("EURL", "the URL names no host")
	}
	host, port, err := splitPort(u.Host)
	if err == nil {
		p.host, err = canonicalHost(host)
	}
	if err != nil {
		return nil, p, errorf("EURL", "the host of the URL is not taken: %v", err)
	}
	if p.port = port; port == "" {
		p.port = defaultPorts[p.scheme]
	}
	own := *u
	own.Host, own.Fragment, own.RawFragment = p.String(), "", ""
	for i := range c.rules {
		if c.rules[i].match(p.host, p.port, p.scheme) {
			return &own, p, nil
		}
	}
	return nil, p, errorf("EHOST", "the host %s is not allowed: add it to allow_hosts of [scripts], or of the listener, stage or source, as in allow_hosts = [%q]", p, p.String())
}
