package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/store"
)

const (
	clockOff   = 30 * time.Second // from here on what is compared by time may go wrong
	staleReply = time.Minute
	quick      = time.Second
	tooSlow    = 8 * time.Second // of the 10 that Pipedrive waits

	// recordedWithin is how soon a refused request stands in the store.
	recordedWithin = 5 * time.Second
)

// clock compares this machine's clock with the Date of an answer that was made elsewhere.
func (d *doctor) clock(ctx context.Context) []diagnosis {
	at := d.conf.Pipedrive.Address()
	if at == "" && d.conf.Pipedrive.OAuth.ClientID != "" {
		at = d.conf.Pipedrive.OAuth.Server
	}
	if at == "" {
		at = d.conf.Pipedrive.PublicURL
	}
	if at == "" {
		return seen(skipped, "there is nobody to compare with: neither pipedrive.company nor pipedrive.public_url is set", "")
	}
	before := d.now()
	asked, resp := request(ctx, "clock", http.MethodHead, at, nil)
	if resp == nil {
		return seen(warning, "could not be compared: "+at+" "+asked.Says, "is there a way to the network, and a proxy to be set?")
	}
	after := d.now()
	said, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return seen(skipped, at+" does not say what time it is", "")
	}
	// The header has whole seconds, and was written half way between the two.
	off := before.Add(after.Sub(before) / 2).Sub(said.Add(500 * time.Millisecond))
	if off.Abs() > clockOff {
		word := "ahead of"
		if off < 0 {
			word = "behind"
		}
		return seen(warning, fmt.Sprintf("this machine's clock is %s %s %s", off.Abs().Round(time.Second), word, hostOf(at)), "set the clock by NTP, such as with timedatectl set-ntp true")
	}
	return seen(good, fmt.Sprintf("agrees with %s to %s", hostOf(at), max(off.Abs(), time.Second).Round(time.Second)), "")
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Hostname()
}

// address looks at the way by which Pipedrive comes.
func (d *doctor) address(ctx context.Context) []diagnosis {
	if d.conf.Pipedrive.PublicURL == "" {
		return seen(skipped, "pipedrive.public_url is not set, so how Pipedrive comes here is not known", "")
	}
	r, err := registrarOf(d.conf)
	if err != nil {
		return from(bad, err)
	}
	at := r.address()
	if at == "" {
		return seen(bad, "no pipeline gets Pipedrive's webhooks", `set pipedrive.pipeline, or source = "pipedrive" in one`)
	}
	if err := r.checkAddress(at); err != nil {
		return seen(bad, at+" "+err.Error(), "set pipedrive.public_url to https://HOST")
	}
	all, known := resolved(ctx, hostOf(at), r.rehearsal())
	if !known {
		return all
	}
	found := r.look(ctx, at)
	stranger := finding{}
	slowest := time.Duration(0)
	for _, f := range found {
		all = append(all, ofFinding(f, at))
		slowest = max(slowest, time.Duration(f.TookUs)*time.Microsecond)
		if f.Check == "stranger" {
			stranger = f
		}
	}
	if found[0].Status == 0 {
		return all // nobody answers
	}
	all = append(all, speed(slowest), d.whose(ctx, at, stranger))
	return append(all, d.credentials(ctx, r, at)...)
}

// resolved looks the name up. Unless it is a rehearsal, others must be able to reach what it stands for.
func resolved(ctx context.Context, host string, rehearsal bool) (all []diagnosis, known bool) {
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return seen(bad, fmt.Sprintf("the name %s is not known: %v", host, err), "set it in the DNS of its domain, or mend pipedrive.public_url"), false
	}
	var names []string
	private := false
	for _, ip := range found {
		ip = ip.Unmap()
		private = private || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast()
		names = append(names, ip.String())
	}
	slices.Sort(names)
	text := host
	if _, err := netip.ParseAddr(host); err != nil {
		text = host + " is " + strings.Join(slices.Compact(names), ", ")
	}
	if private && !rehearsal {
		return seen(warning, text+", which only this network reaches", "Pipedrive comes from outside: see that the DNS tells others a public address"), true
	}
	return seen(good, text, ""), true
}

func ofFinding(f finding, at string) diagnosis {
	says, fix := f.Says, ""
	switch f.Check {
	case "health":
		says = healthOf(at) + " " + says
		fix = "pipehook serve must run, and the proxy before it pass the path on as it is"
	case "certificate":
		says = "its certificate " + says
		fix = "renew it: Pipedrive sends nothing where it is not valid"
	case "stranger":
		says = "a stranger " + says
		fix = "pipehook serve must run with this configuration, with an authenticate stage first; see pipehook check"
	}
	if f.Verdict == good {
		fix = ""
	}
	return diagnosis{Verdict: f.Verdict, Says: says, Fix: fix}
}

func speed(took time.Duration) diagnosis {
	v := diagnosis{Verdict: good, Says: "it answers within a second"}
	if took >= quick {
		v = diagnosis{Verdict: warning, Says: fmt.Sprintf("it took %s of the 10 seconds that Pipedrive waits", took.Round(100*time.Millisecond)), Fix: "look at the load of this machine, the store's disk and the proxy"}
	}
	if took >= tooSlow {
		v.Verdict = bad
	}
	return v
}

// whose finds out whether it is this pipehook that answers: the request that it refused stands in this store.
func (d *doctor) whose(ctx context.Context, at string, stranger finding) diagnosis {
	if told := d.health(ctx, at); told.Verdict != good {
		return told
	}
	unknown := func(why string) diagnosis {
		return diagnosis{Verdict: warning, Says: "a pipehook answers; whether it is this one could not be told: " + why, Fix: "is it the one that serves this configuration and store?"}
	}
	if stranger.request == "" || stranger.Verdict != good {
		return unknown("no request was refused")
	}
	r, err := store.OpenReader(ctx, storeURL(d.conf))
	if err != nil {
		return unknown(err.Error())
	}
	defer func() { _ = r.Close() }()
	deadline := time.Now().Add(recordedWithin)
	for {
		_, there, err := r.Rejection(ctx, stranger.request)
		switch {
		case err != nil:
			return unknown(err.Error())
		case there:
			return diagnosis{Verdict: good, Says: "it is this pipehook: what it refuses stands in this store"}
		case time.Now().After(deadline):
			return unknown("what it refused is not in this store")
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return unknown("it took too long")
		}
	}
}

// health looks whether a pipehook says that it is well, and that this was just now.
func (d *doctor) health(ctx context.Context, at string) diagnosis {
	v := diagnosis{Verdict: bad, Says: "it is no pipehook that answers at " + healthOf(at), Fix: "let the proxy pass this path on to server.listen"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, healthOf(at), nil)
	if err != nil {
		return v
	}
	resp, err := noRedirect.Do(req)
	if err != nil {
		return v
	}
	defer func() { _ = resp.Body.Close() }()
	var is struct {
		Service string    `json:"service"`
		At      time.Time `json:"timestamp"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&is) != nil || is.Service != "pipehook" {
		return v
	}
	if d.now().Sub(is.At).Abs() > staleReply {
		return diagnosis{Verdict: warning, Says: "its health is of " + is.At.UTC().Format(time.RFC3339) + ": a proxy keeps answers, or the clocks differ", Fix: "let the proxy keep nothing of this host"}
	}
	return diagnosis{Verdict: good}
}

// credentials tries those of the configuration with a body that is refused, so that no event comes of it.
func (d *doctor) credentials(ctx context.Context, r *registrar, at string) []diagnosis {
	if !refuses(r.pipeline) {
		return seen(skipped, "the credentials were not tried: without authenticate, then validate, then persist an event would come of it", "")
	}
	a, err := send(ctx, r.pipeline, at, []byte(`{"pipehook":"doctor"}`))
	switch {
	case err != nil:
		return seen(bad, "with the credentials it "+unreachable(err), "pipehook doctor again")
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		return seen(bad, fmt.Sprintf("the credentials of this configuration are refused (%d)", a.status), "reload pipehook serve, and see that the proxy passes Authorization on")
	case a.status == http.StatusBadRequest || a.status == http.StatusUnprocessableEntity:
		return seen(good, "the credentials of this configuration are accepted, and what is no event is refused", "")
	case a.status < 300:
		return seen(warning, fmt.Sprintf("what is no event was taken (%d)", a.status), "put validate before persist, and see pipehook check")
	}
	return seen(bad, "with the credentials it "+opinion(&http.Response{StatusCode: a.status}), "pipehook events refused --since 1h")
}

// refuses reports whether a body that is no event is refused before anything is stored.
func refuses(p config.Pipeline) bool {
	var kinds []string
	for _, s := range p.Stages {
		kinds = append(kinds, s.Use)
	}
	c := chain(kinds)
	return p.Source == pipedriveSource && c.before("authenticate", "validate") && c.before("validate", "persist") && !c.late("validate", "persist")
}
