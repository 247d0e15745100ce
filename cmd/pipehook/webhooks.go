package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive/hooks"
	"github.com/pipehook/pipehook/stages/authenticate"
)

func (c *cli) webhooksCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "webhooks", Short: "List, make, delete, test and compare the webhooks of a Pipedrive account"}
	cmd.AddCommand(c.webhooksListCommand(), c.webhooksCreateCommand(), c.webhooksDeleteCommand(), c.webhooksTestCommand(),
		c.webhooksPlanCommand(), c.webhooksApplyCommand(), c.webhooksRotateCommand())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// account is what the commands need of Pipedrive. Its errors say what to type next.
type account interface {
	webhooks(ctx context.Context) ([]hooks.Webhook, error)
	create(ctx context.Context, w hooks.Wanted, password core.Secret) (hooks.Webhook, error)
	remove(ctx context.Context, id int64) error
}

// registrar is an account and what the configuration says of its webhooks.
type registrar struct {
	account
	conf     *config.Config
	pipeline config.Pipeline // that gets them; without a name when none can be meant
	basic    *authenticate.Basic
	basicKey string // where the configuration has it
}

// registrar reads the configuration. Without online nothing is asked of Pipedrive.
func (c *cli) registrar(online bool) (*registrar, error) {
	conf, err := c.load(nil)
	if err != nil {
		return nil, err
	}
	r, err := registrarOf(conf)
	if err != nil || !online {
		return r, err
	}
	r.account, err = c.openAccount(conf)
	return r, err
}

// registrarOf is one that asks nothing of Pipedrive yet.
func registrarOf(conf *config.Config) (r *registrar, err error) {
	r = &registrar{conf: conf}
	if r.pipeline, err = webhookPipeline(conf); err != nil {
		return nil, err
	}
	if r.basic, r.basicKey, err = basicOf(r.pipeline); err != nil {
		return nil, err
	}
	return r, nil
}

// webhookPipeline is the pipeline that gets Pipedrive's webhooks.
func webhookPipeline(conf *config.Config) (config.Pipeline, error) {
	var fitting []config.Pipeline
	for _, p := range conf.Pipelines {
		switch {
		case p.Name == conf.Pipedrive.Pipeline:
			return p, nil
		case p.Source == "pipedrive":
			fitting = append(fitting, p)
		}
	}
	switch {
	case conf.Pipedrive.Pipeline != "":
		return config.Pipeline{}, &usageError{err: config.Mistakes{conf.Mistake("pipedrive.pipeline", "names no pipeline", "")}.Err()}
	case len(fitting) == 1:
		return fitting[0], nil
	case len(fitting) > 1:
		return config.Pipeline{}, usagef("set pipedrive.pipeline", "there are several pipelines that Pipedrive's webhooks can go to")
	}
	return config.Pipeline{}, nil
}

// basicOf is what the first authenticate stage asks of HTTP Basic, nil when it asks nothing.
func basicOf(p config.Pipeline) (*authenticate.Basic, string, error) {
	for _, s := range p.Stages {
		if s.Use != "authenticate" {
			continue
		}
		var conf authenticate.Config
		if err := s.Decode(&conf); err != nil {
			return nil, "", &usageError{err: err}
		}
		return conf.Basic, s.Key + ".basic", nil
	}
	return nil, "", nil
}

// address is how Pipedrive reaches the pipeline; empty when that is not known.
func (r *registrar) address() string {
	if r.conf.Pipedrive.PublicURL == "" || r.pipeline.Name == "" {
		return ""
	}
	return strings.TrimRight(r.conf.Pipedrive.PublicURL, "/") + r.pipeline.Path
}

// ours reports whether an address is that of the pipeline. Where public_url does not tell, it is what is declared with the
// pipeline's path: whatever else of the account has that path may be another installation's.
func (r *registrar) ours(address string) bool {
	if at := r.address(); at != "" {
		return hooks.SameURL(address, at)
	}
	return r.likely(address) && slices.ContainsFunc(r.conf.Pipedrive.Webhooks, func(w config.PipedriveWebhook) bool { return hooks.SameURL(address, w.URL) })
}

// likely reports whether an address has the pipeline's path, by whatever host.
func (r *registrar) likely(address string) bool {
	u, err := url.Parse(address)
	return err == nil && r.pipeline.Name != "" && u.Path == r.pipeline.Path
}

// wanted are the webhooks that the configuration declares.
func (r *registrar) wanted() ([]hooks.Wanted, error) {
	var all []hooks.Wanted
	var mistakes config.Mistakes
	for i, w := range r.conf.Pipedrive.Webhooks {
		one, key := hooks.Wanted{Name: w.Name, URL: w.URL, Version: w.Version, User: w.User}, fmt.Sprintf("pipedrive.webhook[%d]", i)
		one.Key, one.Prefix = key, strings.TrimSpace("pipehook "+r.pipeline.Name)+" "
		if one.Version == "" {
			one.Version = hooks.Version2
		}
		if one.URL == "" {
			if one.URL = r.address(); one.URL == "" {
				mistakes = append(mistakes, r.conf.Mistake(key, "its address is not known", "set url, or pipedrive.public_url and pipedrive.pipeline"))
			}
		}
		var err error
		if one.Event, err = hooks.Parse(w.Event); err == nil {
			_, err = one.Event.Check(one.Version)
		}
		mistakes = r.conf.Collect(mistakes, key+".event", err)
		if one.URL != "" {
			mistakes = r.conf.Collect(mistakes, key+".url", r.checkAddress(one.URL))
		}
		switch {
		case r.basic == nil:
		case r.ours(one.URL):
			one.AuthUser = r.basic.Username
		case r.likely(one.URL): // without credentials it would be refused, and they are not for any host
			mistakes = append(mistakes, r.conf.Mistake(key+".url", fmt.Sprintf("has the path of pipeline %s, which asks for HTTP Basic, and another address than pipedrive.public_url leads to", r.pipeline.Name),
				"leave it out, or set pipedrive.public_url to its host"))
		}
		all = append(all, one)
	}
	if err := mistakes.Err(); err != nil {
		return nil, &usageError{err: err}
	}
	return all, nil
}

// checkAddress refuses what Pipedrive would send passwords to in clear. A stand-in on this machine may.
func (r *registrar) checkAddress(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("is no address: write https://HOST/PATH")
	case u.User != nil:
		return errors.New("holds a username or a password: give them as HTTP Basic")
	case u.Scheme == "http" && !r.rehearsal():
		return errors.New("is not encrypted: records and the password would be read along; use https")
	}
	return nil
}

// rehearsal reports whether the API is a stand-in on this machine.
func (r *registrar) rehearsal() bool {
	u, err := url.Parse(r.conf.Pipedrive.BaseURL)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// register makes the webhook, under a name, which Pipedrive asks for. One that nobody has declared gets another than those
// by which apply knows its own again.
func (r *registrar) register(ctx context.Context, w hooks.Wanted, password core.Secret) (hooks.Webhook, error) {
	return r.create(ctx, named(w), password)
}

// finishWithin is how long a command goes on after it was told to end.
const finishWithin = 30 * time.Second

// finishing is the context for making a webhook in the place of another, which goes on for a while although the command is to
// end: nobody knows whether a request that was given up did something, and until the old one is gone everything comes twice.
func finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	on, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	told := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(finishWithin):
			cancel(fmt.Errorf("it was not done %s after it was told to end", finishWithin))
		case <-on.Done():
		}
	})
	return on, func() { told(); cancel(nil) }
}

func named(w hooks.Wanted) hooks.Wanted {
	w.Name = cmp.Or(w.Name, "pipehook "+w.Event.String())
	return w
}
