package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/hooks"
)

const planHelp = `Compare the webhooks that the configuration declares as [[pipedrive.webhook]] with those of the account.
Exit code 0 when they are in step and 2 when they are not; 1 when it could not be found out. What nobody
has declared is left alone. It is told of when it brings events here that another webhook brings too, and
the two are not in step then.`

func (c *cli) webhooksPlanCommand() *cobra.Command {
	return &cobra.Command{
		Use: "plan", Short: "Compare the declared webhooks with those of the account", Args: cobra.NoArgs, Long: planHelp,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, p, err := c.planWebhooks(cmd.Context())
			if err != nil {
				c.complain(err)
				return exitCode(exitFailed) // a mistake in the configuration too: 2 says that the two differ
			}
			if err := c.printPlan(r, p, nil); err != nil {
				return err
			}
			if !p.InStep() {
				return exitCode(exitUsage)
			}
			return nil
		},
	}
}

func (c *cli) planWebhooks(ctx context.Context) (*registrar, hooks.Plan, error) {
	r, err := c.registrar(true)
	if err != nil {
		return nil, nil, err
	}
	wanted, err := r.wanted()
	if err != nil {
		return nil, nil, err
	}
	has, err := r.webhooks(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, one := range strangeWebhooks(r.conf) {
		fmt.Fprintln(c.stderr, "warning:", one)
	}
	var ours []string
	if at := r.address(); at != "" {
		ours = []string{at}
	}
	return r, hooks.Compare(wanted, has, ours), nil
}

// stepJSON is a step of a plan as --json prints it.
type stepJSON struct {
	Kind     hooks.Kind   `json:"kind"`
	Declared string       `json:"declared,omitempty"`
	Event    string       `json:"event"`
	URL      string       `json:"url"`
	Webhook  *webhookJSON `json:"webhook,omitempty"` // as it is
	Why      []string     `json:"why,omitempty"`
	Twice    bool         `json:"twice,omitempty"` // another brings some of its events here
	Made     int64        `json:"made,omitempty"`  // the id of the new one
	Deleted  bool         `json:"deleted,omitempty"`
}

// done is what became of a step.
type done struct {
	made    int64
	deleted bool
}

func (r *registrar) stepViews(p hooks.Plan, became map[int]done) []stepJSON {
	all := make([]stepJSON, len(p))
	for i, s := range p {
		v := stepJSON{Kind: s.Kind, Why: s.Why, Twice: s.Twice, Made: became[i].made, Deleted: became[i].deleted}
		if s.Has != nil {
			view := r.viewOf(*s.Has)
			if s.Wanted != nil {
				view.Declared = s.Wanted.Key
			}
			v.Webhook, v.Event, v.URL = &view, view.Event, view.URL
		}
		if s.Wanted != nil {
			v.Declared, v.Event, v.URL = s.Wanted.Key, s.Wanted.Event.Named(s.Wanted.Version), s.Wanted.URL
		}
		all[i] = v
	}
	return all
}

var marks = map[hooks.Kind]string{hooks.Keep: "=", hooks.Adopt: "=", hooks.Create: "+", hooks.Replace: "~", hooks.Duplicate: "-", hooks.Leave: " "}

// printPlan prints the plan, or with became what was done of it.
func (c *cli) printPlan(r *registrar, p hooks.Plan, became map[int]done) error {
	views := r.stepViews(p, became)
	if c.json {
		return c.printJSON(map[string]any{"inStep": p.InStep(), "steps": views})
	}
	for _, v := range views {
		var ids string
		if v.Webhook != nil {
			ids = fmt.Sprintf(" (webhook %d)", v.Webhook.ID)
		}
		mark := marks[v.Kind]
		if v.Twice && (v.Kind == hooks.Leave || mark == "=") {
			mark = "!"
		}
		fmt.Fprintf(c.stdout, "%s %-9s %s to %s%s\n", mark, v.Kind, plain(v.Event), plain(v.URL), ids)
		for _, why := range v.Why {
			fmt.Fprintln(c.stdout, "            ", plain(why))
		}
		switch {
		case v.Made != 0 && v.Deleted:
			fmt.Fprintf(c.stdout, "             webhook %d was made, the old one deleted\n", v.Made)
		case v.Made != 0:
			fmt.Fprintf(c.stdout, "             webhook %d was made\n", v.Made)
		case v.Deleted:
			fmt.Fprintln(c.stdout, "             deleted")
		}
	}
	if became != nil {
		return nil
	}
	_, err := fmt.Fprintln(c.stdout, summary(p))
	return err
}

func summary(p hooks.Plan) string {
	if p.InStep() {
		return "in step: nothing to do"
	}
	doubles := p.Doubles()
	if doubles > 0 && p.Count(hooks.Create)+p.Count(hooks.Replace)+p.Count(hooks.Duplicate) == 0 {
		return doublesText(doubles) + ": pipehook webhooks delete ID, or declare less"
	}
	text := fmt.Sprintf("%d to create, %d to replace, %s: pipehook webhooks apply", p.Count(hooks.Create), p.Count(hooks.Replace), count(p.Count(hooks.Duplicate), "duplicate"))
	if p.Count(hooks.Duplicate) > 0 {
		text += " --prune"
	}
	if doubles > 0 {
		text += "; " + doublesText(doubles)
	}
	return text
}

func doublesText(n int) string {
	if n == 1 {
		return "1 webhook brings what another brings too"
	}
	return fmt.Sprintf("%d webhooks bring what others bring too", n)
}

func (c *cli) webhooksApplyCommand() *cobra.Command {
	var prune, yes bool
	cmd := &cobra.Command{
		Use: "apply", Short: "Make the account's webhooks as the configuration declares them", Args: cobra.NoArgs,
		Long: "Make what plan finds missing, and make anew what differs: Pipedrive can't change a webhook, so the new\none is made before the old one is deleted; what happens between the two comes twice. --prune deletes\nduplicates of what is declared. Everything else is left alone.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, p, err := c.planWebhooks(cmd.Context())
			if err != nil {
				return err
			}
			changes := p.Count(hooks.Create) + p.Count(hooks.Replace)
			if prune {
				changes += p.Count(hooks.Duplicate)
			}
			if changes == 0 {
				return c.printPlan(r, p, nil) // duplicates may be left
			}
			if !yes && !c.json {
				if err := c.printPlan(r, p, nil); err != nil {
					return err
				}
			}
			sure, err := c.confirm(cmd.Context(), yes, "change "+count(changes, "webhook"))
			if err != nil || !sure {
				return declined(err)
			}
			became, err := c.applyPlan(cmd.Context(), r, p, prune)
			return errors.Join(c.printPlan(r, p, became), err)
		},
	}
	cmd.Flags().BoolVar(&prune, "prune", false, "delete duplicates of what is declared")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// declined is why nothing was done: nobody could be asked, or who was asked said no.
func declined(err error) error {
	if err != nil {
		return err
	}
	return exitCode(exitFailed)
}

// applyPlan does what a plan says until something fails. It can be done again: what was made is in step then. What could not
// be deleted is nobody's then, and the error says how to delete it.
func (c *cli) applyPlan(ctx context.Context, r *registrar, p hooks.Plan, prune bool) (map[int]done, error) {
	became := map[int]done{}
	for i, s := range p {
		var one done
		var err error
		switch {
		case s.Kind == hooks.Create || s.Kind == hooks.Replace:
			one, err = c.makeWanted(ctx, r, s)
		case s.Kind == hooks.Duplicate && prune:
			err = r.remove(ctx, s.Has.ID)
			one.deleted = err == nil
		}
		if one != (done{}) {
			became[i] = one
		}
		if err != nil {
			return became, fmt.Errorf("%s: %w", stepName(s), err)
		}
	}
	return became, nil
}

func stepName(s hooks.Step) string {
	if s.Wanted != nil {
		return s.Wanted.Key
	}
	return fmt.Sprintf("webhook %d", s.Has.ID)
}

// makeWanted makes what is declared and deletes what it replaces, in this order: what happens between the two is sent
// by both and handled twice, and none is missed. What was begun is finished even if the command is to end.
func (c *cli) makeWanted(ctx context.Context, r *registrar, s hooks.Step) (done, error) {
	if err := ctx.Err(); err != nil {
		return done{}, err
	}
	var password core.Secret
	if s.Wanted.AuthUser != "" {
		if err := r.stillGood(ctx); err != nil {
			return done{}, err
		}
		password = r.basic.Password
	}
	w := *s.Wanted
	if w.Name == "" {
		w.Name = w.Prefix + w.Event.String()
	}
	ctx, cancel := finishing(ctx)
	defer cancel()
	made, err := r.register(ctx, w, password)
	if err != nil {
		return done{}, err
	}
	one := done{made: made.ID}
	if s.Has != nil {
		if err := r.remove(ctx, s.Has.ID); err != nil {
			err = fmt.Errorf("webhook %d was made; the old one, %d, is still there: %w", made.ID, s.Has.ID, err)
			return one, &hinted{err, fmt.Sprintf("pipehook webhooks delete %d", s.Has.ID)}
		}
		one.deleted = true
	}
	return one, nil
}
