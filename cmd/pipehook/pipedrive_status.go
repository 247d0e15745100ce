package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive"
)

// The ways in which the API is asked.
const (
	wayToken = "token"
	wayOAuth = "oauth"
)

// accountStatus is how an account is reached, as --json prints it. There is no token in it.
type accountStatus struct {
	Way           string      `json:"way"`
	Connected     bool        `json:"connected"` // the API accepts the credentials
	Company       string      `json:"company,omitempty"`
	CompanyDomain string      `json:"companyDomain,omitempty"`
	CompanyID     int64       `json:"companyId,omitempty"`
	User          string      `json:"user,omitempty"`
	UserID        int64       `json:"userId,omitempty"`
	Email         string      `json:"email,omitempty"`
	Admin         bool        `json:"admin"`
	Scope         string      `json:"scope,omitempty"`
	Address       string      `json:"address,omitempty"` // of the company's API, as the tokens say
	Expires       *time.Time  `json:"expires,omitempty"` // of the access token, which is renewed by itself
	Renewed       *time.Time  `json:"renewed,omitempty"`
	RenewalError  *renewal    `json:"renewalError,omitempty"`
	Budget        *budgetJSON `json:"budget,omitempty"`
}

// budgetJSON is what an answer said of the budget.
type budgetJSON struct {
	Limit      int       `json:"limit"` // requests in two seconds
	Remaining  int       `json:"remaining"`
	DailyLimit int64     `json:"dailyLimit,omitempty"` // tokens
	DailyLeft  *int64    `json:"dailyLeft,omitempty"`
	DailyReset time.Time `json:"dailyReset,omitzero"`
}

func budgetOf(s pipedrive.BudgetState) *budgetJSON {
	b := &budgetJSON{Limit: s.Limit, Remaining: s.Remaining, DailyLimit: s.DailyLimit, DailyReset: s.DailyReset}
	if s.DailyLeft >= 0 {
		b.DailyLeft = &s.DailyLeft
	}
	return b
}

func (c *cli) pipedriveStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "How the account is reached: as whom, by what, until when", Args: cobra.NoArgs,
		Long: "Ask Pipedrive whose the credentials are, and show what is known of them: the app's tokens, why they could not be\nrenewed, and what is left of the budget. Exit code 1 when they are not accepted.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := c.connection()
			if err != nil {
				return err
			}
			if !n.conf.Pipedrive.Connected() {
				_, err := commandClient(n.conf)
				return err
			}
			if n.conf.Pipedrive.APIToken != "" {
				n.app = nil
			}
			status, asked := n.ask(cmd.Context())
			if status == nil {
				return asked
			}
			if err := c.printStatus(status); err != nil {
				return err
			}
			if asked != nil {
				return asked
			}
			return n.otherCompany(status)
		},
	}
}

// ask finds out who is connected. With the error comes what is known all the same; nil when that is nothing.
func (n *connection) ask(ctx context.Context) (*accountStatus, error) {
	client, err := n.client()
	if err != nil {
		return nil, err
	}
	s := &accountStatus{Way: wayToken}
	me, asked := client.Me(ctx)
	if n.app != nil {
		s.Way = wayOAuth
		if err := n.tokens(ctx, s); err != nil {
			return s, explainStatus(n.conf, err, "pipehook pipedrive status")
		}
	}
	if asked != nil {
		return s, explainStatus(n.conf, asked, "pipehook pipedrive status")
	}
	s.Connected, s.Company, s.CompanyDomain, s.CompanyID = true, me.CompanyName, me.CompanyDomain, me.CompanyID
	s.User, s.UserID, s.Email, s.Admin = me.Name, me.ID, me.Email, me.Admin
	s.Budget = budgetOf(client.Budget())
	return s, nil
}

// client asks an app's company where its tokens say that it is, and not where the configuration takes it to be: so
// it can be told that they are two.
func (n *connection) client() (*pipedrive.Client, error) {
	conf := *n.conf
	if n.app != nil {
		conf.Pipedrive.APIToken, conf.Pipedrive.Company = "", ""
	}
	return openClient(&conf, n.states, slog.New(slog.DiscardHandler), nil)
}

// tokens adds what is known of an app's tokens.
func (n *connection) tokens(ctx context.Context, s *accountStatus) error {
	t, err := n.app.Tokens(ctx)
	if err != nil {
		return err
	}
	if t.Access != "" {
		s.Scope, s.Address, s.Expires, s.Renewed = t.Scope, t.APIDomain, new(t.Expires.UTC()), new(t.Renewed.UTC())
	}
	text, err := n.states.State(ctx, renewalName)
	if err != nil || text == nil {
		return err
	}
	var r renewal
	if json.Unmarshal(text, &r) == nil {
		s.RenewalError = &r
	}
	return nil
}

// explainStatus adds what to do about an API that could not be asked; command asks again.
func explainStatus(conf *config.Config, err error, command string) error {
	e, ok := errors.AsType[*pipedrive.Error](err)
	if !ok {
		return err
	}
	switch e.Reason {
	case pipedrive.Disconnected:
		return &hinted{err, "pipehook pipedrive connect"}
	case pipedrive.Unauthorized:
		return &hinted{err, "set pipedrive.api_token to the one that Pipedrive shows under Personal preferences > API; of an app: pipehook pipedrive connect"}
	case pipedrive.Closed:
		return &hinted{err, "the company's account is closed: see its billing in Pipedrive"}
	case pipedrive.Forbidden, pipedrive.Blocked, pipedrive.RateLimited, pipedrive.DailySpent:
		return &hinted{err, nextOf(e, command)}
	case pipedrive.Unavailable:
		if e.Status != 0 {
			return &hinted{err, nextOf(e, command)}
		}
	}
	return &hinted{err, "does this machine reach it? curl -sS -I " + cmp.Or(conf.Pipedrive.Address(), "https://api.pipedrive.com") +
		" - if not, see to the network and its proxy (HTTPS_PROXY); if so, to pipedrive.company and pipedrive.base_url"}
}

func (c *cli) printStatus(s *accountStatus) error {
	if c.json {
		return c.printJSON(s)
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, plain(text))
		}
	}
	line("way", map[string]string{wayToken: "an API token", wayOAuth: "an app (OAuth)"}[s.Way])
	line("connected", yesNo(s.Connected))
	if s.Connected {
		line("company", fmt.Sprintf("%s (%s, %d)", s.Company, s.CompanyDomain, s.CompanyID))
		line("user", fmt.Sprintf("%s <%s> (%d)", s.User, s.Email, s.UserID))
		line("admin", yesNo(s.Admin))
	}
	line("scope", s.Scope)
	line("API", s.Address)
	if s.Expires != nil {
		line("access token", fmt.Sprintf("until %s, renewed %s", s.Expires.Local().Format(time.DateTime), s.Renewed.Local().Format(time.DateTime)))
	}
	if s.RenewalError != nil {
		line("last renewal failed", s.RenewalError.At.Local().Format(time.DateTime)+": "+s.RenewalError.Err)
	}
	if s.Budget != nil {
		line("budget", s.Budget.text())
	}
	return w.Flush()
}

func (b *budgetJSON) text() string {
	text := fmt.Sprintf("%d of %d requests in two seconds", b.Remaining, b.Limit)
	if b.DailyLeft == nil {
		return text + "; tokens left today: not said"
	}
	if b.DailyLimit > 0 {
		return fmt.Sprintf("%s; %d of %d tokens left today", text, *b.DailyLeft, b.DailyLimit)
	}
	return fmt.Sprintf("%s; %d tokens left today", text, *b.DailyLeft)
}

func (c *cli) pipedriveDisconnectCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "disconnect", Short: "Revoke an app's tokens and forget them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := c.appConnection()
			if err != nil {
				return err
			}
			sure, err := c.confirm(cmd.Context(), yes, "revoke the tokens, after which nothing is asked of Pipedrive any more")
			if err != nil || !sure {
				return declined(err)
			}
			if err := n.app.Revoke(cmd.Context()); err != nil {
				return &hinted{err, "pipehook pipedrive disconnect again; or uninstall the app in Pipedrive"}
			}
			for _, name := range []string{renewalName, pendingName} {
				if err := n.states.SetState(cmd.Context(), name, nil); err != nil {
					return err
				}
			}
			if c.json {
				return c.printJSON(map[string]bool{"connected": false})
			}
			_, err = fmt.Fprintln(c.stdout, "disconnected")
			return err
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}
