package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/hooks"
)

const noAccount = "no account is configured: pipedrive.company and pipedrive.api_token, or [pipedrive.oauth]"

// banFor is how long Pipedrive silences a webhook.
const banFor = 30 * time.Minute

// fewTokens is how many percent of a day's tokens are few.
const fewTokens = 10

// company asks whose the credentials are, and what is left of the day.
func (d *doctor) company(ctx context.Context) []diagnosis {
	if !d.conf.Pipedrive.Connected() {
		return seen(skipped, noAccount, "")
	}
	client, err := d.account()
	if err != nil {
		return from(bad, err)
	}
	me, err := client.Me(ctx)
	if err != nil {
		return d.notAsked(err)
	}
	all := seen(good, fmt.Sprintf("the credentials are those of %s <%s>, company %s (%s)", me.Name, me.Email, me.CompanyName, me.CompanyDomain), "")
	if want := d.conf.Pipedrive.Company; want != "" && me.CompanyDomain != "" && want != me.CompanyDomain {
		all = seen(bad, fmt.Sprintf("the credentials are those of company %s, and pipedrive.company is %s", me.CompanyDomain, want), "set the one that is meant; an app: pipehook pipedrive disconnect, then connect")
	}
	if !me.Admin {
		all = append(all, diagnosis{Verdict: warning, Says: me.Name + " is no admin: what this user may not see is missed, and webhooks can't be managed", Fix: "use the API token of an admin, or connect the app as one"})
	}
	return append(all, tokensLeft(client.Budget()))
}

// notAsked is an error of the API as a diagnosis.
func (d *doctor) notAsked(err error) []diagnosis {
	e, ok := errors.AsType[*pipedrive.Error](err)
	if !ok {
		return from(bad, err)
	}
	return seen(bad, err.Error(), hintOf(explainStatus(d.conf, e, "pipehook doctor")))
}

func tokensLeft(s pipedrive.BudgetState) diagnosis {
	v := diagnosis{Check: "tokens", Verdict: good}
	if s.DailyLeft < 0 {
		v.Verdict, v.Says = skipped, "Pipedrive does not say how many tokens are left today"
		return v
	}
	v.Says = fmt.Sprintf("%d of %d left today", s.DailyLeft, s.DailyLimit)
	if s.DailyLimit <= 0 {
		v.Says = fmt.Sprintf("%d left today", s.DailyLeft)
	}
	switch {
	case s.DailyLeft == 0:
		v.Verdict = bad
	case s.DailyLeft*100 < s.DailyLimit*fewTokens:
		v.Verdict = warning
	}
	if v.Verdict != good {
		v.Fix = "look which tool spends them (Pipedrive shows it under Company settings > API usage), or set pipedrive.budget.daily"
	}
	return v
}

// webhooks asks what Pipedrive says of those that come here, and compares them with what is declared.
func (d *doctor) webhooks(ctx context.Context) []diagnosis {
	if !d.conf.Pipedrive.Connected() {
		return seen(skipped, noAccount, "")
	}
	r, err := registrarOf(d.conf)
	if err != nil {
		return from(bad, err)
	}
	wanted, err := r.wanted()
	if err != nil {
		return from(bad, err)
	}
	client, err := d.account()
	if err != nil {
		return from(bad, err)
	}
	has, err := (&pipedriveAccount{client}).webhooks(ctx)
	if err != nil {
		return d.notAsked(err)
	}
	all := append(d.coming(r, has), passwords(ctx, r)...)
	var ours []string
	if at := r.address(); at != "" {
		ours = []string{at}
	}
	p := hooks.Compare(wanted, has, ours)
	all = append(all, doubles(p)...)
	if len(wanted) == 0 {
		return all
	}
	for i := range p {
		p[i].Twice = false // it has been said
	}
	if !p.InStep() {
		what, do, _ := strings.Cut(summary(p), ": ")
		all = append(all, diagnosis{Verdict: bad, Says: "not as the configuration declares them: " + what, Fix: do})
	} else {
		all = append(all, diagnosis{Verdict: good, Says: "as the configuration declares them"})
	}
	return all
}

// compared adds to what the server suspects what Pipedrive says itself, which it may not have been asked yet.
func (d *doctor) compared(all []diagnosis) {
	for i := range all {
		if one := &all[i]; d.delivered.Load() && one.Check == "server" && strings.Contains(one.Says, "probably silenced") {
			one.Says += "; but Pipedrive says now that all webhooks that come here are active and were answered well less than 30 minutes ago"
			one.Fix = "pipehook events refused --since 1h tells who was refused: it may not have been Pipedrive"
		}
	}
}

// doubles tells of what brings events here that another brings too.
func doubles(p hooks.Plan) (all []diagnosis) {
	for _, s := range p {
		if !s.Twice {
			continue
		}
		d := diagnosis{Verdict: warning, Says: stepName(s) + ": " + strings.Join(s.Why, ", "), Fix: "leave one out of the configuration"}
		if s.Wanted == nil {
			d.Fix = fmt.Sprintf("pipehook webhooks delete %d, or the other", s.Has.ID)
		}
		all = append(all, d)
	}
	return all
}

// passwords tells of one that is accepted and stands in no configuration.
func passwords(ctx context.Context, r *registrar) []diagnosis {
	if r.basic == nil || !r.lastRotation(ctx).Strange(r.configured()) {
		return nil
	}
	what, do, _ := strings.Cut(strangePassword, ": ")
	return []diagnosis{{Verdict: warning, Says: what, Fix: do}}
}

// coming judges the webhooks that come to the pipeline.
func (d *doctor) coming(r *registrar, has []hooks.Webhook) []diagnosis {
	if r.address() == "" {
		return seen(warning, fmt.Sprintf("the account has %s; which come here is not known", count(len(has), "webhook")), "set pipedrive.public_url")
	}
	var all []diagnosis
	here, last, answered := 0, time.Time{}, false
	for i := range has {
		h := &has[i]
		if !r.ours(h.URL) {
			continue
		}
		here++
		if h.LastDelivery.After(last) {
			last, answered = h.LastDelivery, h.LastStatus != 0
		}
		name := fmt.Sprintf("webhook %d (%s)", h.ID, h.Event.Named(h.Version))
		switch {
		case !h.Active:
			all = append(all, diagnosis{Verdict: bad, Says: name + " is not active: Pipedrive sends nothing to it" + cmp.Or(because(h.RemovedReason), sinceText(h.LastDelivery)),
				Fix: "if it stays so for longer than 30 minutes: pipehook webhooks apply, or delete and create it; then pipehook reconcile"})
		case h.LastStatus != 0 && h.LastStatus/100 != 2:
			all = append(all, diagnosis{Verdict: warning, Says: fmt.Sprintf("%s was answered %d at its last delivery%s", name, h.LastStatus, sinceText(h.LastDelivery)),
				Fix: "pipehook events refused --since 1h tells why"})
		}
	}
	if here == 0 {
		return seen(bad, fmt.Sprintf("no webhook comes to %s; the account has %d others", r.address(), len(has)), "pipehook webhooks create --auto-config, or declare [[pipedrive.webhook]] and pipehook webhooks apply")
	}
	if all == nil {
		d.delivered.Store(answered && d.now().Sub(last) < banFor)
		text := count(here, "webhook") + " active here"
		if last.IsZero() {
			text += ", nothing delivered yet"
		}
		all = seen(good, text+sinceText(last), "")
	}
	return all
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

func sinceText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ", last delivery " + t.Local().Format(time.DateTime)
}
