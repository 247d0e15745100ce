package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/pipedrive/hooks"
)

func (c *cli) webhooksListCommand() *cobra.Command {
	var verbose bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the webhooks of the account, and which come here", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := c.registrar(true)
			if err != nil {
				return err
			}
			wanted, err := r.wanted()
			if err != nil {
				return err
			}
			has, err := r.webhooks(cmd.Context())
			if err != nil {
				return err
			}
			return c.printWebhooks(r.views(wanted, has), verbose)
		},
	}
	cmd.Flags().BoolVar(&verbose, "verbose", false, "also the last delivery, why it was removed, its users, its name and its type")
	return cmd
}

// webhookJSON is a webhook as --json prints it. There is no password in it.
type webhookJSON struct {
	ID            int64  `json:"id"`
	Name          string `json:"name"`
	Event         string `json:"event"`     // as webhooks of its version name it
	Canonical     string `json:"canonical"` // as patterns name it
	URL           string `json:"url"`
	Version       string `json:"version"`
	Active        bool   `json:"active"`
	AuthUser      string `json:"authUser,omitempty"`
	UserID        int64  `json:"userId"`
	OwnerID       int64  `json:"ownerId,omitempty"`
	Type          string `json:"type,omitempty"`
	LastStatus    int    `json:"lastStatus,omitempty"`
	LastDelivery  string `json:"lastDelivery,omitempty"`
	RemovedReason string `json:"removedReason,omitempty"`
	Here          bool   `json:"here"`               // it points at this pipehook
	Declared      string `json:"declared,omitempty"` // the key of the configuration that asks for it
}

func (r *registrar) viewOf(h hooks.Webhook) webhookJSON {
	return webhookJSON{
		ID: h.ID, Name: h.Name, Event: h.Event.Named(h.Version), Canonical: h.Event.String(), URL: h.URL, Version: h.Version, Active: h.Active,
		AuthUser: h.AuthUser, UserID: h.User, OwnerID: h.Owner, Type: h.Type, LastStatus: h.LastStatus, LastDelivery: momentText(h.LastDelivery),
		RemovedReason: h.RemovedReason, Here: r.ours(h.URL),
	}
}

func (r *registrar) views(wanted []hooks.Wanted, has []hooks.Webhook) []webhookJSON {
	declared := map[int64]string{}
	for _, s := range hooks.Compare(wanted, has, nil) {
		if s.Wanted != nil && s.Has != nil {
			declared[s.Has.ID] = s.Wanted.Key
		}
	}
	all := make([]webhookJSON, len(has))
	for i, h := range has {
		all[i] = r.viewOf(h)
		all[i].Declared = declared[h.ID]
	}
	return all
}

func (c *cli) printWebhooks(all []webhookJSON, verbose bool) error {
	if c.json {
		return c.printJSON(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(c.stderr, "no webhooks; pipehook webhooks create makes one")
		return nil
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	head := "ID\tEVENT\tURL\tVERSION\tACTIVE\tLAST STATUS\tHERE\tDECLARED"
	if verbose {
		head += "\tLAST DELIVERY\tREMOVED\tUSER\tOWNER\tTYPE\tBASIC\tNAME"
	}
	fmt.Fprintln(w, head)
	for i := range all {
		v := &all[i]
		cells := []string{fmt.Sprint(v.ID), v.Event, v.URL, v.Version, yesNo(v.Active), number(int64(v.LastStatus)), yesNo(v.Here), v.Declared}
		if verbose {
			cells = append(cells, clockText(v.LastDelivery), v.RemovedReason, number(v.UserID), number(v.OwnerID), v.Type, v.AuthUser, v.Name)
		}
		for at := range cells {
			cells[at] = cmp.Or(plain(cells[at]), "–")
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// number is empty for 0, which stands for what is not known.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func momentText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func clockText(text string) string {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return ""
	}
	return t.Local().Format(time.DateTime)
}
