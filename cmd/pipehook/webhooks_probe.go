package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/hooks"
	"github.com/pipehook/pipehook/core/samples"
)

// Pipedrive counts an answer as failed after senderPatience (its guide for webhooks).
const (
	senderPatience = 10 * time.Second
	slowAnswer     = 2 * time.Second
	soonExpired    = 14 * 24 * time.Hour
)

// finding is what a look at an address has shown.
type finding struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"` // good, warning or bad
	Says    string `json:"says"`
	Status  int    `json:"status,omitempty"`
	TookUs  int64  `json:"tookUs,omitempty"`

	request string // the id that a pipehook gives each request
}

func (c *cli) webhooksTestCommand() *cobra.Command {
	var address, event string
	cmd := &cobra.Command{
		Use: "test", Short: "Try the address that Pipedrive sends to", Args: cobra.NoArgs,
		Long: `Look at the address as Pipedrive would use it: its certificate, its health, that it does not redirect, that
a stranger is refused, how long an answer takes; then send an event with the pipeline's credentials. The event
is test.webhook, which only listeners for *.* or *.webhook get; --event sends a sample instead, which every
listener takes for a real one.`,
		Example: "  pipehook webhooks test\n  pipehook webhooks test --url https://hooks.example.com/pipedrive/webhook",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := c.registrar(false)
			if err != nil {
				return err
			}
			if address == "" {
				if address = r.address(); address == "" {
					return usagef("give --url, or set pipedrive.public_url", "how Pipedrive reaches this pipehook is not known")
				}
			}
			if r.pipeline.Name == "" {
				return usagef("set pipedrive.pipeline", "no pipeline gets Pipedrive's webhooks")
			}
			body := testEvent(time.Now())
			if event != "" {
				_, sample, ok := samples.For(event)
				if !ok {
					return usagef(likelySample(event), "--event: there is no sample of %q", event)
				}
				body = samples.Fresh(sample, time.Now())
			}
			found := r.look(cmd.Context(), address)
			found = append(found, r.tryEvent(cmd.Context(), address, body))
			return c.printFindings(address, found)
		},
	}
	cmd.Flags().StringVar(&address, "url", "", "try this address instead of the configured one")
	cmd.Flags().StringVar(&event, "event", "", "send a sample of this event, such as updated.deal")
	return cmd
}

// likelySample names the sample that was probably meant, or a few.
func likelySample(event string) string {
	if hint := sampleHint(event); strings.HasPrefix(hint, "did you mean") {
		return hint
	}
	return "there are samples such as added.person, updated.deal and deleted.activity; without --event it is test.webhook"
}

// testEvent is a body of version 2 about nothing that Pipedrive has.
func testEvent(now time.Time) []byte {
	id := uuid.NewString()
	body, err := json.Marshal(map[string]any{
		"data": map[string]any{"id": 1}, "previous": nil,
		"meta": map[string]any{
			"action": "test", "entity": "webhook", "entity_id": "1", "id": id, "company_id": "0", "user_id": "0", "webhook_id": "0",
			"correlation_id": id, "type": "general", "version": "2.0", "change_source": "api", "is_bulk_edit": false,
			"timestamp": now.UTC().Format("2006-01-02T15:04:05.000Z"), "attempt": 1, "host": "localhost", "permitted_user_ids": []string{},
		},
	})
	if err != nil {
		panic(err) // it is made of texts and numbers
	}
	return body
}

var noRedirect = &http.Client{
	Timeout:       senderPatience,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// look finds out what Pipedrive would make of the address, without sending an event.
func (r *registrar) look(ctx context.Context, address string) []finding {
	if err := r.checkAddress(address); err != nil {
		return []finding{{Check: "address", Verdict: "bad", Says: err.Error()}}
	}
	health, resp := request(ctx, "health", http.MethodGet, healthOf(address), nil)
	if resp == nil {
		return []finding{health}
	}
	health.Verdict, health.Says = "good", "answers"
	if resp.StatusCode != http.StatusOK {
		health.Verdict, health.Says = "bad", opinion(resp)
	}
	all := []finding{health}
	if resp.TLS != nil {
		all = append(all, certificate(resp.TLS, time.Now()))
	}
	stranger, resp := request(ctx, "stranger", http.MethodPost, address, []byte("{}"))
	if resp != nil {
		stranger.Verdict, stranger.Says = "bad", opinion(resp)
		switch {
		case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
			stranger.Verdict, stranger.Says = "good", "is refused"
		case resp.StatusCode < 300 || resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusUnprocessableEntity:
			stranger.Verdict, stranger.Says = "warning", "is not asked for credentials: anybody can send events"
		}
	}
	return append(all, slow(stranger))
}

func healthOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	u.Path, u.RawQuery = strings.TrimRight(u.Path, "/")+"/health", ""
	return u.String()
}

// request makes one; without a response the finding says why.
func request(ctx context.Context, check, method, address string, body []byte) (finding, *http.Response) {
	f := finding{Check: check, Verdict: "bad"}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		f.Says = "is no address"
		return f, nil
	}
	req.Header.Set("User-Agent", "pipehook webhooks test")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	began := time.Now()
	resp, err := noRedirect.Do(req)
	f.TookUs = time.Since(began).Microseconds()
	if err != nil {
		f.Says = unreachable(err)
		return f, nil
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	_ = resp.Body.Close()
	f.Status, f.request = resp.StatusCode, resp.Header.Get("X-Request-Id")
	return f, resp
}

// unreachable is what Pipedrive would make of an address that gives no answer.
func unreachable(err error) string {
	reason := err
	if e, ok := errors.AsType[*url.Error](err); ok {
		reason = e.Err
		if e.Timeout() {
			return "does not answer within 10 seconds: Pipedrive would try again, and stop sending for 30 minutes after ten such first tries"
		}
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Sprintf("has a certificate that is not valid (%v): Pipedrive does not send there", e.Err)
	}
	return fmt.Sprintf("can't be reached (%v)", reason)
}

// opinion is what Pipedrive makes of an answer (its guide for webhooks).
func opinion(resp *http.Response) string {
	const failed = "counts as failed; it is tried again three times, and after ten failed first tries nothing is sent for 30 minutes"
	switch s := resp.StatusCode; {
	case s >= 200 && s < 300:
		return "counts as delivered"
	case s >= 300 && s < 400:
		return "redirects, which Pipedrive does not follow: it " + failed
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return "refuses the credentials of this configuration: that " + failed
	case s == http.StatusNotFound:
		return "is not there: that " + failed
	default:
		return fmt.Sprintf("answers %d: that %s", s, failed)
	}
}

func certificate(state *tls.ConnectionState, now time.Time) finding {
	f := finding{Check: "certificate", Verdict: "good"}
	if len(state.PeerCertificates) == 0 {
		return f
	}
	ends := state.PeerCertificates[0].NotAfter
	f.Says = "is valid until " + ends.UTC().Format(time.DateOnly)
	if ends.Sub(now) < soonExpired {
		f.Verdict = "warning"
	}
	return f
}

func slow(f finding) finding {
	if took := time.Duration(f.TookUs) * time.Microsecond; f.Verdict == "good" && took > slowAnswer {
		f.Verdict, f.Says = "warning", fmt.Sprintf("%s, but takes %s of the 10 seconds that Pipedrive waits", f.Says, took.Round(time.Millisecond))
	}
	return f
}

// tryEvent sends an event as Pipedrive would, unless the password would be read along.
func (r *registrar) tryEvent(ctx context.Context, address string, body []byte) finding {
	f := finding{Check: "event", Verdict: "bad"}
	if r.checkAddress(address) != nil {
		f.Says = "was not sent: the credentials would go to an address that is unfit for them"
		return f
	}
	a, err := send(ctx, r.pipeline, address, body)
	if err != nil {
		f.Says = unreachable(err)
		return f
	}
	f.Status, f.TookUs, f.Says = a.status, a.took.Microseconds(), opinion(&http.Response{StatusCode: a.status})
	if a.status >= 200 && a.status < 300 && a.took < senderPatience {
		f.Verdict = "good"
	}
	return slow(f)
}

func (c *cli) printFindings(address string, found []finding) error {
	if u, err := url.Parse(address); err == nil {
		address = u.Redacted() // somebody may have given a password in it
	}
	bad := 0
	for _, f := range found {
		if f.Verdict == "bad" {
			bad++
		}
	}
	if c.json {
		if err := c.printJSON(map[string]any{"url": address, "ok": bad == 0, "checks": found}); err != nil {
			return err
		}
	} else {
		c.tellFindings(c.stdout, found)
	}
	if bad > 0 {
		return &hinted{fmt.Errorf("%s is not fit for Pipedrive's webhooks", address), "pipehook serve must run, and the proxy before it pass the path on as it is"}
	}
	return nil
}

func (c *cli) tellFindings(w io.Writer, found []finding) {
	for _, f := range found {
		took := ""
		if f.TookUs > 0 {
			took = fmt.Sprintf(" (%s)", time.Duration(f.TookUs*1000).Round(100*time.Microsecond))
		}
		fmt.Fprintf(w, "%-8s %-12s %s%s\n", f.Verdict, f.Check, plain(f.Says), took)
	}
}

// testFirst refuses an address that Pipedrive could not use.
func (c *cli) testFirst(ctx context.Context, r *registrar, w hooks.Wanted, force bool) error {
	found := r.look(ctx, w.URL)
	c.tellFindings(c.stderr, found)
	for _, f := range found {
		if f.Verdict == "bad" && !force {
			return &hinted{&core.Error{Kind: core.Invalid, Msg: fmt.Sprintf("no webhook was made: %s: %s %s", w.URL, f.Check, f.Says)}, "pipehook webhooks test; --force makes it all the same"}
		}
	}
	return nil
}
