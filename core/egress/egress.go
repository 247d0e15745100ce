// Package egress is the HTTP client that goes only where it may: to hosts that an allow-list names,
// and to addresses on the Internet, or in networks that were allowed too. The address is checked
// when the connection is made, so that no name can lead elsewhere in between. It knows neither
// scripts nor the configuration.
package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	maxBody      = 1 << 20
	maxHeader    = 64 << 10
	maxURL       = 16 << 10
	maxRedirects = 5
	dialTimeout  = 10 * time.Second
	longest      = time.Minute // of a request whose context has no deadline
)

// Options are what New needs.
type Options struct {
	AllowHosts   []string       // see CheckHost; without any every request is refused
	AllowPrivate []netip.Prefix // networks that are not on the Internet and may be connected to all the same
	MaxBody      int64          // bytes of a response's body, after decompression; 0 for 1 MiB
	MaxRequest   int64          // bytes of a request's body; 0 for 1 MiB
	UserAgent    string         // of requests that name none

	Resolver *net.Resolver  // nil for the system's
	RootCAs  *x509.CertPool // nil for the system's
}

// Client sends requests. It is called from many goroutines.
type Client struct {
	opts      Options
	rules     []rule
	transport *http.Transport
}

// New makes a client with connections of its own. It fails when an entry of AllowHosts is not one.
func New(o Options) (*Client, error) {
	if o.MaxBody <= 0 {
		o.MaxBody = maxBody
	}
	if o.MaxRequest <= 0 {
		o.MaxRequest = maxBody
	}
	c := &Client{opts: o}
	for _, entry := range o.AllowHosts {
		r, err := parseRule(entry)
		if err != nil {
			return nil, err
		}
		c.rules = append(c.rules, r)
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Resolver: o.Resolver, ControlContext: c.control}
	c.transport = &http.Transport{
		DialContext:            dialer.DialContext, // and no Proxy: a proxy would connect wherever it is asked to
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConns:           32,
		MaxIdleConnsPerHost:    8,
		MaxConnsPerHost:        32,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		ForceAttemptHTTP2:      true,
	}
	return c, nil
}

// control looks at the address that is about to be connected to, whatever name it was found under.
func (c *Client) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !strings.HasPrefix(network, "tcp") {
		return fmt.Errorf("%s %s is not connected to", network, address)
	}
	return checkAddress(to.Addr(), c.opts.AllowPrivate)
}

// Close ends the connections that nobody uses. Requests that run go on.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Request is what is asked.
type Request struct {
	Method   string // "" for GET
	URL      string
	Header   [][2]string
	Body     []byte
	Redirect string // "follow", which is "", "error" or "manual": the redirect is the response
}

// Response is what was answered. Header has names in lower case, sorted.
type Response struct {
	Status     int
	StatusText string
	URL        string // of the last request
	Redirected bool
	Header     [][2]string
	Body       []byte
}

// Do sends the request and reads the whole response. A redirect is followed on the same host only,
// five times, and never from https to http. Every error is an *Error.
func (c *Client) Do(ctx context.Context, r *Request) (*Response, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, longest)
		defer cancel()
	}
	hop, err := c.first(r)
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		answer, next, err := c.send(ctx, hop, r.Redirect)
		if err != nil {
			return nil, err
		}
		if next == nil {
			answer.Redirected = n > 0
			return answer, nil
		}
		if n == maxRedirects {
			return nil, errorf("EREDIRECT", "%s redirects more than %d times", hop.at, maxRedirects)
		}
		hop = next
	}
}

// hop is one request of those that redirects make of one.
type hop struct {
	method string
	url    *url.URL
	at     place
	header http.Header
	body   []byte
}

func (c *Client) first(r *Request) (*hop, error) {
	h := &hop{body: r.Body}
	var err error
	if h.method, err = method(r.Method); err != nil {
		return nil, err
	}
	switch {
	case len(r.URL) > maxURL:
		return nil, errorf("EURL", "the URL is longer than %d bytes", maxURL)
	case len(h.body) > 0 && (h.method == http.MethodGet || h.method == http.MethodHead):
		return nil, errorf("EBODY", "a %s request has no body: use POST or PUT", h.method)
	case int64(len(h.body)) > c.opts.MaxRequest:
		return nil, errorf("ETOOLARGE", "the body of the request is larger than %d bytes", c.opts.MaxRequest)
	case !slices.Contains([]string{"", "follow", "error", "manual"}, r.Redirect):
		return nil, errorf("EREDIRECT", "redirect is one of follow, error and manual")
	}
	u, parseErr := url.Parse(r.URL)
	if parseErr != nil {
		return nil, errorf("EURL", "the URL is not one")
	}
	if h.url, h.at, err = c.target(u); err != nil {
		return nil, err
	}
	h.header, err = c.header(r.Header)
	return h, err
}

// method writes the usual ones in capitals, as browsers do.
func method(m string) (string, error) {
	if m == "" {
		return http.MethodGet, nil
	}
	if !httpguts.ValidHeaderFieldName(m) {
		return "", errorf("EHEADER", "the method is not one")
	}
	upper := strings.ToUpper(m)
	switch upper {
	case "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH":
		return upper, nil
	case "CONNECT", "TRACE", "TRACK":
		return "", errorf("EHEADER", "the method %s is not sent", upper)
	}
	return m, nil
}

// ours are headers that the client sets itself: a caller's are left out.
var ours = map[string]bool{"Content-Length": true, "Accept-Encoding": true}

// never are headers that are about the connection, or would say that it is another's.
var never = map[string]bool{
	"Connection": true, "Expect": true, "Host": true, "Keep-Alive": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Proxy-Connection": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

func (c *Client) header(pairs [][2]string) (http.Header, error) {
	header, size := http.Header{}, 0
	for _, pair := range pairs {
		name, value := http.CanonicalHeaderKey(pair[0]), pair[1]
		switch size += len(name) + len(value) + 4; {
		case !httpguts.ValidHeaderFieldName(pair[0]):
			return nil, errorf("EHEADER", "the name of a header is not one")
		case never[name]:
			return nil, errorf("EHEADER", "the header %s can't be set", name)
		case !httpguts.ValidHeaderFieldValue(value):
			return nil, errorf("EHEADER", "the value of the header %s holds what a header can't", name)
		case size > maxHeader:
			return nil, errorf("ETOOLARGE", "the headers of the request are larger than %d bytes", maxHeader)
		case !ours[name]:
			header.Add(name, value)
		}
	}
	if _, ok := header["User-Agent"]; !ok {
		header.Set("User-Agent", c.opts.UserAgent) // an empty one is not sent
	}
	return header, nil
}

// send makes one request. It returns the request to make instead when that was answered.
func (c *Client) send(ctx context.Context, h *hop, redirect string) (*Response, *hop, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends what was not read
	req, err := http.NewRequestWithContext(ctx, h.method, h.url.String(), bytes.NewReader(h.body))
	if err != nil {
		return nil, nil, errorf("EURL", "the URL is not one")
	}
	if req.URL.Host != h.url.Host { // it was written and read again
		return nil, nil, errorf("EURL", "the host of the URL is not taken")
	}
	if len(h.body) == 0 {
		req.Body, req.GetBody = http.NoBody, nil
	}
	req.Header = h.header
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, nil, failed(ctx, h.at, err)
	}
	defer func() { _ = resp.Body.Close() }() // all of it was read, or nobody needs it
	if location := resp.Header.Get("Location"); isRedirect(resp.StatusCode) && location != "" && redirect != "manual" {
		if redirect == "error" {
			return nil, nil, errorf("EREDIRECT", "%s redirects, and redirect is \"error\"", h.at)
		}
		next, err := c.follow(h, resp.StatusCode, location)
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection can be used again
		return nil, next, err
	}
	answer := &Response{Status: resp.StatusCode, URL: h.url.String(), Header: headerPairs(resp.Header)}
	_, answer.StatusText, _ = strings.Cut(resp.Status, " ")
	answer.Body, err = io.ReadAll(io.LimitReader(resp.Body, c.opts.MaxBody+1))
	switch {
	case err != nil:
		return nil, nil, failed(ctx, h.at, err)
	case int64(len(answer.Body)) > c.opts.MaxBody:
		return nil, nil, errorf("ETOOLARGE", "the body of the response of %s is larger than %d bytes", h.at, c.opts.MaxBody)
	}
	return answer, nil, nil
}

func isRedirect(status int) bool {
	return slices.Contains([]int{301, 302, 303, 307, 308}, status)
}

// follow is the request that a redirect asks for.
func (c *Client) follow(h *hop, status int, location string) (*hop, error) {
	to, err := h.url.Parse(location)
	if err != nil {
		return nil, errorf("EREDIRECT", "%s redirects to what is no URL", h.at)
	}
	next := &hop{method: h.method, header: h.header, body: h.body}
	next.url, next.at, err = c.target(to)
	switch {
	case next.at.host != "" && next.at.host != h.at.host:
		return nil, errorf("EREDIRECT", "%s redirects to another host, %s: send the request there, or use redirect \"manual\"", h.at, next.at)
	case err != nil:
		return nil, &Error{Code: "EREDIRECT", Msg: fmt.Sprintf("%s redirects to where it is not followed: %v", h.at, err), err: err}
	case h.at.scheme == "https" && next.at.scheme == "http":
		return nil, errorf("EREDIRECT", "%s redirects from https to http", h.at)
	}
	if status == http.StatusSeeOther && h.method != http.MethodHead || status < 303 && h.method == http.MethodPost {
		if h.method != http.MethodGet {
			next.method, next.body = http.MethodGet, nil
			next.header = h.header.Clone()
			maps.DeleteFunc(next.header, func(name string, _ []string) bool { return strings.HasPrefix(name, "Content-") })
		}
	}
	return next, nil
}

func headerPairs(h http.Header) [][2]string {
	pairs := make([][2]string, 0, len(h))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			pairs = append(pairs, [2]string{strings.ToLower(name), value})
		}
	}
	return pairs
}
