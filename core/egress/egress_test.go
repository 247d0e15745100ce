package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// here lets a client reach the servers of tests.
var here = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}

const secret = "canary-value"

func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// serve starts a server and a client that may ask it.
func serve(t *testing.T, handler http.HandlerFunc, more ...func(*Options)) (*Client, *httptest.Server) {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	o := Options{AllowHosts: []string{s.Listener.Addr().String()}, AllowPrivate: here}
	for _, change := range more {
		change(&o)
	}
	return newClient(t, o), s
}

// codeOf is the code of the error, which must be an *Error without a secret.
func codeOf(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	if strings.Contains(e.Msg, secret) {
		t.Errorf("a secret shows: %s", e.Msg)
	}
	return e.Code
}

func ask(t *testing.T, c *Client, r *Request) (*Response, string) {
	t.Helper()
	answer, err := c.Do(t.Context(), r)
	return answer, codeOf(t, err)
}

func TestARequestArrivesAsItWasMadeAndItsResponseComesBackWhole(t *testing.T) {
	c, s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s %s %d %s", r.Method, r.URL, r.Header.Get("X-One"), body, r.ContentLength, r.UserAgent())
	}, func(o *Options) { o.UserAgent = "pipehook" })
	got, code := ask(t, c, &Request{
		Method: "post", URL: s.URL + "/hook?token=" + secret + "#part", Header: [][2]string{{"x-one", "1"}, {"content-length", "99"}}, Body: []byte("text"),
	})
	if code != "" {
		t.Fatal(code)
	}
	if want := "POST /hook?token=" + secret + " 1 text 4 pipehook"; string(got.Body) != want || got.Status != 418 || got.StatusText != "I'm a teapot" || got.Redirected {
		t.Errorf("%d %s: %s", got.Status, got.StatusText, got.Body)
	}
	if got.URL != s.URL+"/hook?token="+secret {
		t.Errorf("URL is %s", got.URL)
	}
	var cookies []string
	for _, h := range got.Header {
		if h[0] == "set-cookie" {
			cookies = append(cookies, h[1])
		}
	}
	if strings.Join(cookies, ";") != "a=1;b=2" {
		t.Errorf("headers are %v", got.Header)
	}
}

func TestAProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("ALL_PROXY", "http://127.0.0.1:1")
	c, s := serve(t, func(http.ResponseWriter, *http.Request) {})
	if _, code := ask(t, c, &Request{URL: s.URL}); code != "" {
		t.Error(code)
	}
}

func TestARequestThatIsNotOneIsRefusedBeforeAnythingIsSent(t *testing.T) {
	c, s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") }, func(o *Options) { o.MaxRequest = 10 })
	for name, test := range map[string]struct {
		r    Request
		code string
	}{
		"another scheme":           {Request{URL: "file:///etc/passwd"}, "EURL"},
		"no scheme":                {Request{URL: "//" + s.Listener.Addr().String()}, "EURL"},
		"no host":                  {Request{URL: "http:///x"}, "EURL"},
		"an opaque URL":            {Request{URL: "http:127.0.0.1"}, "EURL"},
		"credentials in the URL":   {Request{URL: "http://user:" + secret + "@127.0.0.1/"}, "EURL"},
		"a line end in the URL":    {Request{URL: s.URL + "/\r\nX: " + secret}, "EURL"},
		"a long URL":               {Request{URL: s.URL + "/" + strings.Repeat("a", maxURL)}, "EURL"},
		"a wrong port":             {Request{URL: "http://127.0.0.1:99999/?" + secret}, "EURL"},
		"a body with GET":          {Request{URL: s.URL, Body: []byte("x")}, "EBODY"},
		"a large body":             {Request{Method: "POST", URL: s.URL, Body: make([]byte, 11)}, "ETOOLARGE"},
		"a method with a space":    {Request{Method: "GET /", URL: s.URL}, "EHEADER"},
		"CONNECT":                  {Request{Method: "connect", URL: s.URL}, "EHEADER"},
		"a line end in a header":   {Request{URL: s.URL, Header: [][2]string{{"X", secret + "\r\nY: 1"}}}, "EHEADER"},
		"a header without a name":  {Request{URL: s.URL, Header: [][2]string{{"", "1"}}}, "EHEADER"},
		"a Host header":            {Request{URL: s.URL, Header: [][2]string{{"hOST", "other"}}}, "EHEADER"},
		"a Connection header":      {Request{URL: s.URL, Header: [][2]string{{"Connection", "X-Secret"}}}, "EHEADER"},
		"a Transfer-Encoding":      {Request{URL: s.URL, Header: [][2]string{{"Transfer-Encoding", "chunked"}}}, "EHEADER"},
		"large headers":            {Request{URL: s.URL, Header: [][2]string{{"X", strings.Repeat("a", maxHeader)}}}, "ETOOLARGE"},
		"an unknown redirect mode": {Request{URL: s.URL, Redirect: "sometimes"}, "EREDIRECT"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, code := ask(t, c, &test.r); code != test.code {
				t.Errorf("got %s, want %s", code, test.code)
			}
		})
	}
}

func TestAResponseIsBounded(t *testing.T) {
	bomb := func(w http.ResponseWriter) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		zeros := make([]byte, 1<<20)
		for range 64 {
			if _, err := z.Write(zeros); err != nil {
				return
			}
		}
		_ = z.Close()
	}
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		code   string
	}{
		"a body as large as it may be": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }, ""},
		"a body a byte larger":         {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20+1)) }, "ETOOLARGE"},
		"a body without an end": {func(w http.ResponseWriter, r *http.Request) {
			for part := make([]byte, 64<<10); r.Context().Err() == nil; {
				if _, err := w.Write(part); err != nil {
					return
				}
			}
		}, "ETOOLARGE"},
		"a body that unpacks to much more": {func(w http.ResponseWriter, _ *http.Request) { bomb(w) }, "ETOOLARGE"},
		"headers that are too large": {func(w http.ResponseWriter, _ *http.Request) {
			for i := range 100 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("a", 1000))
			}
		}, "ETOOLARGE"},
		"a body that ends too early": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write([]byte("12345"))
		}, "ECONNRESET"},
		"a body that is not what it says": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("plain text, \x1b[2J"))
		}, "ENETWORK"},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := serve(t, test.answer)
			if _, code := ask(t, c, &Request{URL: s.URL}); code != test.code {
				t.Errorf("got %q, want %q", code, test.code)
			}
		})
	}
}

func TestTheBoundsHoldOverHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/body":
			_, _ = w.Write(make([]byte, 2<<20))
		case "/headers":
			for i := range 100 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("a", 1000))
			}
		default:
			fmt.Fprint(w, r.Proto)
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := newClient(t, Options{AllowHosts: []string{s.Listener.Addr().String()}, AllowPrivate: here, RootCAs: roots})
	for path, want := range map[string]string{"/": "", "/body": "ETOOLARGE", "/headers": "ENETWORK"} { // the protocol has no word for it
		got, code := ask(t, c, &Request{URL: s.URL + path})
		if code != want || want == "" && string(got.Body) != "HTTP/2.0" {
			t.Errorf("%s: %q %+v", path, code, got)
		}
	}
}

func TestAResponseThatIsGzippedComesUnpacked(t *testing.T) {
	c, s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		fmt.Fprint(z, r.Header.Get("Accept-Encoding"))
		_ = z.Close()
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(b.Bytes())
	})
	got, code := ask(t, c, &Request{URL: s.URL, Header: [][2]string{{"Accept-Encoding", "br"}}})
	if code != "" || string(got.Body) != "gzip" {
		t.Errorf("%s %v", code, got)
	}
}

func TestTheContextEndsARequestWhereverItIs(t *testing.T) {
	for name, parts := range map[string]int{"before the headers": 0, "in the body": 1} {
		t.Run(name, func(t *testing.T) {
			began := make(chan struct{})
			c, s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				for range parts {
					_, _ = w.Write([]byte("a part"))
					_ = http.NewResponseController(w).Flush()
				}
				close(began)
				<-r.Context().Done()
			})
			ctx, cancel := context.WithCancel(t.Context())
			go func() { // ends with the handler's beginning
				<-began
				cancel()
			}()
			_, err := c.Do(ctx, &Request{URL: s.URL + "?" + secret})
			if code := codeOf(t, err); code != "ECANCELED" {
				t.Errorf("%s: %v", code, err)
			}
		})
	}
	c, s := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.Do(ctx, &Request{URL: s.URL + "?" + secret}); codeOf(t, err) != "ETIMEDOUT" {
		t.Error(err)
	}
}

func TestWhatTheNetworkSaysHasACode(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	private := httptest.NewTLSServer(http.NotFoundHandler())
	private.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(private.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	at := func(s *httptest.Server) string { return s.Listener.Addr().String() }
	c := newClient(t, Options{
		AllowHosts: []string{at(closed), at(private), at(plain), "nowhere.invalid"}, AllowPrivate: here,
		Resolver: &net.Resolver{PreferGo: true, Dial: newDNS(t, func(string) netip.Addr { return netip.Addr{} })},
	})
	for address, want := range map[string]string{
		"http://" + at(closed):    "ECONNREFUSED",
		"https://" + at(private):  "ETLS",
		"https://" + at(plain):    "ETLS",
		"https://nowhere.invalid": "EDNS",
	} {
		if _, code := ask(t, c, &Request{URL: address + "/?" + secret, Header: [][2]string{{"Authorization", secret}}}); code != want {
			t.Errorf("%s: got %s, want %s", address, code, want)
		}
	}
}

func TestARedirectIsFollowedOnItsHostOnly(t *testing.T) {
	var other atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { other.Add(1) }))
	t.Cleanup(elsewhere.Close)
	byName := "http://localhost:" + port(t, elsewhere)
	c, s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.URL.Query().Has("to"):
			w.Header().Set("Location", r.URL.Query().Get("to"))
			w.WriteHeader(map[string]int{"301": 301, "302": 302, "303": 303, "307": 307, "308": 308}[r.URL.Path[1:]])
		case r.URL.Path == "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		default:
			fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.URL.Path, body, r.Header.Get("Content-Type"), r.Header.Get("Authorization"))
		}
	}, func(o *Options) { o.AllowHosts = append(o.AllowHosts, "localhost:"+port(t, elsewhere)) })
	for name, test := range map[string]struct{ status, to, redirect, code, body string }{
		"303 becomes GET":                     {"303", "/end", "", "", "GET /end   key"},
		"302 of a POST becomes GET":           {"302", "/end", "follow", "", "GET /end   key"},
		"307 stays what it was":               {"307", "/end", "", "", "POST /end text text/plain key"},
		"308 to the whole URL":                {"308", s.URL + "/end", "", "", "POST /end text text/plain key"},
		"a redirect without a Location":       {"301", "", "error", "", ""},
		"a redirect that must not be":         {"301", "/end", "error", "EREDIRECT", ""},
		"a redirect left alone":               {"301", byName, "manual", "", ""},
		"to another host, although allowed":   {"301", byName, "", "EREDIRECT", ""},
		"to another host that is not allowed": {"302", "http://evil.example/?" + secret, "", "EREDIRECT", ""},
		"to the cloud's metadata":             {"302", "http://169.254.169.254/latest/meta-data/", "", "EREDIRECT", ""},
		"to another port of the host":         {"302", elsewhere.URL, "", "EREDIRECT", ""},
		"to a file":                           {"302", "file:///etc/passwd", "", "EREDIRECT", ""},
		"to what is no URL":                   {"302", "http://[", "", "EREDIRECT", ""},
		"to credentials":                      {"302", strings.Replace(s.URL, "//", "//a:"+secret+"@", 1), "", "EREDIRECT", ""},
		"round and round":                     {"302", "/round", "", "EREDIRECT", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, code := ask(t, c, &Request{
				Method: "POST", URL: s.URL + "/" + test.status + "?to=" + url.QueryEscape(test.to), Body: []byte("text"), Redirect: test.redirect,
				Header: [][2]string{{"Content-Type", "text/plain"}, {"Authorization", "key"}},
			})
			if code != test.code || got != nil && (string(got.Body) != test.body || got.Redirected != (test.body != "")) {
				t.Errorf("got %q %+v", code, got)
			}
		})
	}
	if other.Load() != 0 {
		t.Error("the other host was asked")
	}
}

func TestARedirectFromPrivateToPlainIsNotFollowed(t *testing.T) {
	c := newClient(t, Options{AllowHosts: []string{"a.example"}})
	from, _ := url.Parse("https://a.example/")
	_, at, err := c.target(from)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.follow(&hop{method: "GET", url: from, at: at}, 301, "http://a.example/")
	if codeOf(t, err) != "EREDIRECT" {
		t.Error(err)
	}
	from, _ = url.Parse("http://a.example/")
	_, at, _ = c.target(from)
	if next, err := c.follow(&hop{method: "GET", url: from, at: at}, 301, "https://A.example./"); err != nil || next.url.Host != "a.example" {
		t.Errorf("the other way: %v", err)
	}
}

func port(t *testing.T, s *httptest.Server) string {
	t.Helper()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
