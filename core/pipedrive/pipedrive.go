// Package pipedrive is a client of Pipedrive's REST API. Every request goes through one budget, so that the
// parts of pipehook do not spend each other's share, and fails with an error that says what to do. It knows
// no webhook that arrives and keeps no records.
package pipedrive

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	failures   = 8                // in a row open the breaker
	leaveAlone = 30 * time.Second // for so long
)

// Options say how a company's API is reached.
type Options struct {
	BaseURL   string            // https://acme.pipedrive.com; empty with OAuth for what the tokens say
	Auth      Authorizer        // Token or OAuth
	HTTP      http.RoundTripper // nil for one with time-outs of its own
	Budget    BudgetOptions
	Before    *Client // of the same account, that this one follows and with which it shares its budget; nil for none
	Log       *slog.Logger
	Now       func() time.Time
	UserAgent string
	Retries   int           // after the first try; 3 when 0, none when negative
	Timeout   time.Duration // of one try, to the end of its answer; 30 s when 0
}

// Client asks the API of one company. There is one for a process and account, because what it counts is what
// Pipedrive counts. It is safe for many goroutines, owns none, and needs no closing.
type Client struct {
	base     string
	auth     Authorizer
	http     *http.Client
	budget   *budget
	breaker  *gobreaker.CircuitBreaker[*Response]
	openTill *atomic.Int64 // Unix ms
	log      *slog.Logger
	now      func() time.Time
	agent    string
	retries  int
	timeout  time.Duration
}

// New makes a Client and asks nothing yet.
func New(o Options) (*Client, error) {
	if o.Auth == nil {
		return nil, errors.New("pipedrive: no credentials: set pipedrive.api_token or pipedrive.oauth")
	}
	if o.BaseURL == "" {
		if _, ok := o.Auth.(located); !ok {
			return nil, errors.New("pipedrive: no address: set pipedrive.company")
		}
	}
	base, err := checkBase(o.BaseURL)
	if err != nil {
		return nil, err
	}
	c := &Client{base: base, auth: o.Auth, log: o.Log, now: o.Now, agent: o.UserAgent, retries: o.Retries, timeout: o.Timeout, openTill: new(atomic.Int64)}
	c.defaults()
	if u, err := url.Parse(base); err == nil && u.Scheme == "http" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback() {
		c.log.Warn("Pipedrive's API is asked without TLS: anybody on the way can read the token", "host", u.Host)
	}
	if c.budget = newBudget(c.now); o.Before != nil {
		c.budget = o.Before.budget
	}
	c.budget.use(o.Budget)
	c.http = &http.Client{Transport: o.HTTP, CheckRedirect: stayHome}
	if o.HTTP == nil {
		c.http.Transport = newTransport()
	}
	c.breaker = gobreaker.NewCircuitBreaker[*Response](gobreaker.Settings{
		Timeout:      leaveAlone,
		ReadyToTrip:  func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= failures },
		IsSuccessful: func(err error) bool { return !down(err) },
		IsExcluded:   func(err error) bool { return reasonOf(err) == Canceled },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				c.openTill.Store(c.now().Add(leaveAlone).UnixMilli())
				c.log.Warn("Pipedrive's API fails again and again and is left alone", "for", leaveAlone)
			}
		},
	})
	return c, nil
}

// Steady is the client for one run, such as a comparison, and shares with it all but this: once an app is connected with another
// company than that of the run's first request, those that come after fail with the Reason Switched.
func (c *Client) Steady() *Client {
	app, ok := c.auth.(*OAuthAuthorizer)
	if !ok { // a token is of one company, and a run in a run is the same
		return c
	}
	one := *c
	one.auth = &steady{OAuthAuthorizer: app}
	return &one
}

func (c *Client) defaults() {
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.agent == "" {
		c.agent = "pipehook"
	}
	if c.retries == 0 {
		c.retries = 3
	}
	if c.timeout <= 0 {
		c.timeout = 30 * time.Second
	}
}

// Budget is what is left to ask for.
func (c *Client) Budget() BudgetState { return c.budget.state() }

// checkBase is an address without what every path begins with.
func checkBase(base string) (string, error) {
	if base == "" {
		return "", nil
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("pipedrive: the address is no URL: set pipedrive.base_url as https://acme.pipedrive.com")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("pipedrive: the address has more than a host and a path: leave credentials and the query out of pipedrive.base_url")
	}
	path := strings.TrimRight(u.Path, "/")
	for _, tail := range [...]string{"/api/v1", "/api/v2", "/v1", "/api"} {
		path = strings.TrimSuffix(path, tail)
	}
	return fmt.Sprintf("%s://%s%s", u.Scheme, u.Host, path), nil
}

// stayHome follows a redirect of a GET within the host. Anywhere else the token would go along.
func stayHome(r *http.Request, via []*http.Request) error {
	first := via[0]
	if first.Method != http.MethodGet || len(via) > 3 || r.URL.Host != first.URL.Host || r.URL.Scheme != first.URL.Scheme {
		return http.ErrUseLastResponse
	}
	return nil
}

// newTransport leaves it to the requests how long they wait for an answer.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     90 * time.Second,
	}
}

// companyOf is the company's name in an address; "" when there is none.
func companyOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	name, ok := strings.CutSuffix(u.Hostname(), ".pipedrive.com")
	if !ok || name == "api" {
		return ""
	}
	return name
}
