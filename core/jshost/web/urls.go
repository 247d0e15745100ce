package web

import (
	"errors"
	"net/url"
	"strings"

	"github.com/dop251/goja"
)

// maxURL is the longest URL, and maxForm the longest query, in UTF-16 units.
const (
	maxURL  = 64 << 10
	maxForm = MaxBody
)

func (w *World) urlNatives() map[string]func(goja.FunctionCall) goja.Value {
	return map[string]func(goja.FunctionCall) goja.Value{
		// parse(url, base) gives the parts.
		"parse": func(call goja.FunctionCall) goja.Value {
			var base *address
			if from := call.Argument(1); !goja.IsUndefined(from) {
				base = w.address(from, nil)
			}
			return w.strings(w.address(call.Argument(0), base).parts()...)
		},
		// set(href, part, value) gives the parts, or null when the value is not taken.
		"set": func(call goja.FunctionCall) goja.Value {
			if part := call.Argument(1).String(); part != "href" {
				a := w.address(call.Argument(0), nil)
				if !a.set(part, w.text(call.Argument(2), maxURL)) || len(a.href()) > 3*maxURL {
					return goja.Null()
				}
				return w.strings(a.parts()...)
			}
			return w.strings(w.address(call.Argument(2), nil).parts()...)
		},
		"text": func(call goja.FunctionCall) goja.Value { return w.vm.ToValue(w.text(call.Argument(0), maxForm)) },
		// parseForm(text, most) gives names and values by turns.
		"parseForm": func(call goja.FunctionCall) goja.Value {
			text, most := w.text(call.Argument(0), maxForm), int(call.Argument(1).ToInteger())
			if strings.Count(text, "&") > most {
				panic(w.tooMuch("list of parameters", strings.Count(text, "&"), most))
			}
			return w.strings(parseForm(text)...)
		},
		"formEncode": func(call goja.FunctionCall) goja.Value {
			return w.vm.ToValue(formEncode(w.text(call.Argument(0), maxForm)))
		},
	}
}

// address parses a URL or throws. The text is not repeated in the error: it may hold a secret.
func (w *World) address(v goja.Value, base *address) *address {
	a, err := parseAddress(w.text(v, 3*maxURL), base)
	if err != nil {
		e := w.failure("TypeError", "Invalid URL: "+err.Error())
		must(e.DefineDataProperty("code", w.vm.ToValue("ERR_INVALID_URL"), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
		panic(e)
	}
	return a
}

// wire is the URL that an HTTP client of Go is given, for a URL that a script fetches: without the
// fragment, and with a % that stands for itself written as %25, since net/url refuses it as it is.
// The host that the client will connect to is the one that the script sees, or there is no URL.
func (a *address) wire() (string, error) {
	switch {
	case a.scheme != "http" && a.scheme != "https":
		return "", errors.New("only http and https URLs can be fetched")
	case a.credentials():
		return "", errors.New("a URL with a user and password can't be fetched: send them in the header Authorization")
	}
	head := a.scheme + "://" + a.hostport()
	text := head + wholePercents(a.text(false)[len(head):])
	u, err := url.Parse(text)
	if err != nil || u.Scheme != a.scheme || u.Host != a.hostport() || u.Hostname() != strings.Trim(a.host, "[]") || u.User != nil {
		return "", errHost
	}
	return text, nil
}

func wholePercents(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte(s[i])
		if s[i] == '%' && !escaped(s[i:]) {
			b.WriteString("25")
		}
	}
	return b.String()
}
