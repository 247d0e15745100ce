package web

import "strings"

// parseAddress reads a URL as browsers do, by the basic URL parser of the URL Standard. base may be nil.
func parseAddress(input string, base *address) (*address, error) {
	input = strings.TrimFunc(input, func(r rune) bool { return r <= ' ' })
	input = withoutBreaks(input)
	a := &address{port: -1}
	scheme, rest, ok := cutScheme(input)
	if !ok {
		return a, a.relative(input, base)
	}
	a.scheme = scheme
	switch {
	case scheme == "file":
		if base != nil && base.scheme != "file" {
			base = nil
		}
		return a, a.file(rest, base)
	case a.special():
		if base != nil && base.scheme == scheme && !strings.HasPrefix(rest, "//") {
			return a, a.relative(rest, base)
		}
		return a, a.authority(strings.TrimLeft(rest, "/\\"))
	case strings.HasPrefix(rest, "//"):
		return a, a.authority(rest[2:])
	case strings.HasPrefix(rest, "/"):
		a.segments(rest[1:])
		return a, nil
	}
	a.opaquePath(rest)
	return a, nil
}

// withoutBreaks leaves out what browsers do not see anywhere in a URL.
func withoutBreaks(s string) string {
	return strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
}

func cutScheme(s string) (scheme, rest string, ok bool) {
	before, after, ok := strings.Cut(s, ":")
	if !ok || !validScheme(before) {
		return "", "", false
	}
	return strings.ToLower(before), after, true
}

func validScheme(s string) bool {
	if s == "" || !isAlpha(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlpha(c) && !isDigit(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// relative reads what has no scheme of its own.
func (a *address) relative(s string, base *address) error {
	switch {
	case base == nil:
		return errRelative
	case base.isOpaque:
		if !strings.HasPrefix(s, "#") {
			return errRelative
		}
		*a = *base.clone()
		a.setFragment(s)
		return nil
	case base.scheme == "file":
		a.scheme = "file"
		return a.file(s, base)
	}
	a.scheme = base.scheme
	if a.slash(s, 0) {
		if a.slash(s, 1) {
			if a.special() {
				return a.authority(strings.TrimLeft(s, "/\\"))
			}
			return a.authority(s[2:])
		}
		a.sameHost(base)
		a.segments(s[1:])
		return nil
	}
	a.sameHost(base)
	a.below(s, base)
	return nil
}

// slash reports whether s has at i what separates the segments of a path.
func (a *address) slash(s string, i int) bool {
	return len(s) > i && (s[i] == '/' || s[i] == '\\' && a.special())
}

func (a *address) sameHost(base *address) {
	a.username, a.password, a.host, a.hasHost, a.port = base.username, base.password, base.host, base.hasHost, base.port
}

// below reads what is relative to the path of base.
func (a *address) below(s string, base *address) {
	a.path, a.query = base.clone().path, base.query
	switch {
	case s == "":
	case s[0] == '?' || s[0] == '#':
		a.afterPath(s)
	default:
		a.query = nil
		a.shorten()
		a.segments(s)
	}
}

// authority reads what follows the // of a URL: user, host, port and the rest.
func (a *address) authority(s string) error {
	ends := "/?#"
	if a.special() {
		ends += "\\"
	}
	all, rest := s, ""
	if i := strings.IndexAny(s, ends); i >= 0 {
		all, rest = s[:i], s[i:]
	}
	if at := strings.LastIndexByte(all, '@'); at >= 0 {
		user, password, _ := strings.Cut(all[:at], ":")
		a.username, a.password = percentEncode(user, inUserinfo), percentEncode(password, inUserinfo)
		if all = all[at+1:]; all == "" {
			return errNoHost
		}
	}
	name, port, hasPort := cutPort(all)
	if name == "" && (hasPort || a.special()) {
		return errNoHost
	}
	if err := a.setHost(name); err != nil {
		return err
	}
	if strings.Trim(port, "0123456789") != "" {
		return errPort
	}
	if err := a.setPort(port); err != nil {
		return err
	}
	a.afterAuthority(rest)
	return nil
}

// cutPort splits at the first colon that is not inside of brackets.
func cutPort(s string) (host, port string, ok bool) {
	inside := false
	for i := range len(s) {
		switch s[i] {
		case '[':
			inside = true
		case ']':
			inside = false
		case ':':
			if !inside {
				return s[:i], s[i+1:], true
			}
		}
	}
	return s, "", false
}

func (a *address) setHost(name string) (err error) {
	if a.host, err = parseHost(name, a.special()); err != nil {
		return err
	}
	a.hasHost = true
	return nil
}

// afterAuthority reads the path and what follows; s is empty or begins with what ended the host.
func (a *address) afterAuthority(s string) {
	switch {
	case a.slash(s, 0):
		a.segments(s[1:])
	case a.special():
		a.segments(s)
	default:
		a.afterPath(s)
	}
}

// file reads what follows file:, which may lean on another file.
func (a *address) file(s string, base *address) error {
	a.hasHost = true
	if a.slash(s, 0) {
		if a.slash(s, 1) {
			return a.fileHost(s[2:])
		}
		if base != nil {
			a.host = base.host
			if !startsWithDrive(s[1:]) && len(base.path) > 0 && isDrive(base.path[0]) && base.path[0][1] == ':' {
				a.path = []string{base.path[0]}
			}
		}
		a.segments(s[1:])
		return nil
	}
	if base == nil {
		a.segments(s)
		return nil
	}
	a.host = base.host
	if startsWithDrive(s) {
		a.segments(s)
		return nil
	}
	a.below(s, base)
	return nil
}

func (a *address) fileHost(s string) error {
	name, rest := s, ""
	if i := strings.IndexAny(s, "/\\?#"); i >= 0 {
		name, rest = s[:i], s[i:]
	}
	if isDrive(name) {
		a.segments(s)
		return nil
	}
	if err := a.setFileHost(name); err != nil {
		return err
	}
	a.afterAuthority(rest)
	return nil
}

func (a *address) setFileHost(name string) error {
	if name == "" {
		a.host = ""
		return nil
	}
	if err := a.setHost(name); err != nil {
		return err
	}
	if a.host == "localhost" {
		a.host = ""
	}
	return nil
}

func startsWithDrive(s string) bool {
	return len(s) >= 2 && isDrive(s[:2]) && (len(s) == 2 || strings.IndexByte("/\\?#", s[2]) >= 0)
}

// segments reads a path, without the slash that it begins with, and what follows it.
func (a *address) segments(s string) {
	path, rest := s, ""
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		path, rest = s[:i], s[i:]
	}
	a.addPath(path)
	a.afterPath(rest)
}

func (a *address) addPath(path string) {
	for more := true; more; {
		segment := path
		i := strings.IndexByte(path, '/')
		if a.special() {
			i = strings.IndexAny(path, "/\\")
		}
		if more = i >= 0; more {
			segment, path = path[:i], path[i+1:]
		}
		switch dots := strings.ReplaceAll(strings.ToLower(segment), "%2e", "."); {
		case dots == "..":
			a.shorten()
			fallthrough
		case dots == ".":
			if !more {
				a.path = append(a.path, "")
			}
		default:
			if a.scheme == "file" && len(a.path) == 0 && isDrive(segment) {
				segment = segment[:1] + ":"
			}
			a.path = append(a.path, percentEncode(segment, inPath))
		}
	}
}

// opaquePath reads the path of a URL that has no host and no segments.
func (a *address) opaquePath(s string) {
	a.isOpaque, a.opaque = true, s
	rest := ""
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		a.opaque, rest = s[:i], s[i:]
		if cut, ok := strings.CutSuffix(a.opaque, " "); ok {
			a.opaque = cut + "%20"
		}
	}
	a.opaque = percentEncode(a.opaque, "")
	a.afterPath(rest)
}

// afterPath reads a query and a fragment, each with its mark.
func (a *address) afterPath(s string) {
	if rest, ok := strings.CutPrefix(s, "?"); ok {
		query := rest
		s = ""
		if i := strings.IndexByte(rest, '#'); i >= 0 {
			query, s = rest[:i], rest[i:]
		}
		a.setQuery(query)
	}
	if s != "" {
		a.setFragment(s)
	}
}

func (a *address) setQuery(s string) {
	set := inQuery
	if a.special() {
		set = inSpecialQuery
	}
	s = percentEncode(s, set)
	a.query = &s
}

func (a *address) setFragment(s string) {
	s = percentEncode(strings.TrimPrefix(s, "#"), inFragment)
	a.fragment = &s
}
