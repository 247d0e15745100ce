package web

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// address is a URL as the URL Standard sees it. That of net/url is another one: it takes for the
// host what a browser takes for the path, and the other way round.
type address struct {
	scheme             string
	username, password string
	host               string // as it is written; an IPv6 address has its brackets
	hasHost            bool
	port               int // -1 for none, or the scheme's own
	path               []string
	opaque             string // the path of mailto:a@b.example and its like
	isOpaque           bool
	query, fragment    *string
}

// specials are the schemes whose URLs have a host, with their ports.
var specials = map[string]int{"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21, "file": -1}

func special(scheme string) bool {
	_, ok := specials[scheme]
	return ok
}

func (a *address) special() bool { return special(a.scheme) }

func (a *address) href() string { return a.text(true) }

func (a *address) text(fragment bool) string {
	var b strings.Builder
	b.WriteString(a.scheme + ":")
	if a.hasHost {
		b.WriteString("//" + a.userinfo() + a.hostport())
	} else if !a.isOpaque && len(a.path) > 1 && a.path[0] == "" {
		b.WriteString("/.") // or the path would be read as a host
	}
	b.WriteString(a.pathname())
	if a.query != nil {
		b.WriteString("?" + *a.query)
	}
	if fragment && a.fragment != nil {
		b.WriteString("#" + *a.fragment)
	}
	return b.String()
}

func (a *address) userinfo() string {
	switch {
	case a.username == "" && a.password == "":
		return ""
	case a.password == "":
		return a.username + "@"
	}
	return a.username + ":" + a.password + "@"
}

func (a *address) hostport() string {
	if a.port < 0 {
		return a.host
	}
	return a.host + ":" + strconv.Itoa(a.port)
}

func (a *address) pathname() string {
	if a.isOpaque {
		return a.opaque
	}
	if len(a.path) == 0 {
		return ""
	}
	return "/" + strings.Join(a.path, "/")
}

// origin is "null" for what has none: nothing here compares origins of such URLs.
func (a *address) origin() string {
	if a.special() && a.scheme != "file" {
		return a.scheme + "://" + a.hostport()
	}
	return "null"
}

// parts are what the class URL shows, in its order.
func (a *address) parts() []string {
	port := ""
	if a.port >= 0 {
		port = strconv.Itoa(a.port)
	}
	return []string{
		a.href(), a.scheme + ":", a.username, a.password, a.hostport(), a.host, port, a.pathname(),
		marked("?", a.query), marked("#", a.fragment), a.origin(),
	}
}

func marked(mark string, s *string) string {
	if s == nil || *s == "" {
		return ""
	}
	return mark + *s
}

// shorten takes the last segment off the path; the drive of a file's path stays.
func (a *address) shorten() {
	if len(a.path) == 0 || a.scheme == "file" && len(a.path) == 1 && isDrive(a.path[0]) && a.path[0][1] == ':' {
		return
	}
	a.path = a.path[:len(a.path)-1]
}

func (a *address) clone() *address {
	b := *a
	b.path = slices.Clone(a.path)
	return &b
}

// setPort takes decimal digits.
func (a *address) setPort(digits string) error {
	if digits == "" {
		return nil
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return errPort
	}
	if a.port = int(n); specials[a.scheme] == a.port && a.special() {
		a.port = -1
	}
	return nil
}

var (
	errRelative = errors.New("it is not absolute, so it must begin with a scheme such as https://, or needs a base")
	errNoHost   = errors.New("it has no host")
	errHost     = errors.New("its host is not one")
	errPort     = errors.New("its port is not a number from 0 to 65535")
	errAddress  = errors.New("its host is a broken IP address")
)

// What is percent-encoded in the parts of a URL, beside controls and all that is not ASCII.
const (
	inFragment     = " \"<>`"
	inQuery        = " \"#<>"
	inSpecialQuery = inQuery + "'"
	inPath         = inQuery + "?^`{}"
	inUserinfo     = inPath + "/:;=@[\\]|"
)

func percentEncode(s, set string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > 0x1F && c < 0x7F && strings.IndexByte(set, c) < 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// percentDecode leaves a % that is not followed by two digits as it is.
func percentDecode(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if escaped(s[i:]) {
			n, _ := strconv.ParseUint(s[i+1:i+3], 16, 8)
			b = append(b, byte(n))
			i += 2
		} else {
			b = append(b, s[i])
		}
	}
	return string(b)
}

// escaped reports whether s begins with % and two hexadecimal digits.
func escaped(s string) bool {
	return len(s) >= 3 && s[0] == '%' && isHex(s[1]) && isHex(s[2])
}

func isHex(c byte) bool   { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// isDrive reports whether s is a drive of Windows, such as C: or C|.
func isDrive(s string) bool {
	return len(s) == 2 && isAlpha(s[0]) && (s[1] == ':' || s[1] == '|')
}
