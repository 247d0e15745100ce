package web

import "strings"

// set changes one part as the class URL does, and reports whether the value was taken. What can't be
// is left as it was.
func (a *address) set(part, value string) bool {
	if part == "username" || part == "password" {
		return a.setUser(part, value) // the only ones that keep tabs and line ends
	}
	value = withoutBreaks(value)
	switch part {
	case "protocol":
		return a.setProtocol(value)
	case "host", "hostname":
		return !a.isOpaque && a.setHostPort(value, part == "host")
	case "port":
		return a.setPortText(value)
	case "pathname":
		if a.isOpaque {
			return false
		}
		a.setPath(value)
	case "search":
		a.query = nil
		if value != "" {
			a.setQuery(strings.TrimPrefix(value, "?"))
		}
	case "hash":
		a.fragment = nil
		if value != "" {
			a.setFragment(value)
		}
	}
	return true
}

func (a *address) credentials() bool { return a.username != "" || a.password != "" }

func (a *address) setProtocol(value string) bool {
	scheme, _, ok := cutScheme(value + ":")
	switch {
	case !ok || a.special() != special(scheme):
		return false
	case scheme == "file" && (a.credentials() || a.port >= 0), a.scheme == "file" && a.host == "":
		return false
	}
	a.scheme = scheme
	if a.special() && a.port == specials[scheme] {
		a.port = -1
	}
	return true
}

func (a *address) setUser(part, value string) bool {
	if a.host == "" || a.scheme == "file" {
		return false
	}
	if value = percentEncode(value, inUserinfo); part == "username" {
		a.username = value
	} else {
		a.password = value
	}
	return true
}

func (a *address) setHostPort(value string, withPort bool) bool {
	ends := "/?#"
	if a.special() {
		ends += "\\"
	}
	if i := strings.IndexAny(value, ends); i >= 0 {
		value = value[:i]
	}
	if a.scheme == "file" {
		return a.setFileHost(value) == nil
	}
	name, port, hasPort := cutPort(value)
	switch {
	case hasPort && (name == "" || !withPort), name == "" && a.special():
		return false
	case name == "" && (a.credentials() || a.port >= 0):
		return false
	}
	if a.setHost(name) != nil {
		return false
	}
	_ = a.setPort(leadingDigits(port)) // a port that is none leaves the one there was
	return true
}

func (a *address) setPortText(value string) bool {
	if a.host == "" || a.scheme == "file" {
		return false
	}
	if value == "" {
		a.port = -1
		return true
	}
	digits := leadingDigits(value)
	return digits != "" && a.setPort(digits) == nil
}

func leadingDigits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}

func (a *address) setPath(value string) {
	a.path = nil
	switch {
	case a.slash(value, 0):
		a.addPath(value[1:])
	case a.special() || value != "":
		a.addPath(value)
	case !a.hasHost:
		a.path = []string{""}
	}
}
