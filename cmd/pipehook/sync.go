package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive"
)

// sinceTime is a flag for a moment: a date, a time, or how long ago it was.
type sinceTime struct{ time.Time }

func (s *sinceTime) Set(text string) error {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			s.Time = t.UTC()
			return nil
		}
	}
	d, err := core.ParseDuration(text)
	if err != nil || d <= 0 {
		return errors.New("must be a date such as 2026-01-01, a time such as 2026-01-01T12:00:00Z, or how long ago, such as 24h or 7d")
	}
	s.Time = time.Now().UTC().Add(-d).Truncate(time.Second)
	return nil
}

func (s *sinceTime) String() string {
	if s.IsZero() {
		return ""
	}
	return s.Format(time.RFC3339)
}

func (s *sinceTime) Type() string { return "time" }

func (c *cli) syncCommand() *cobra.Command {
	var o mirror.FillOptions
	var since sinceTime
	cmd := &cobra.Command{
		Use: "sync [OBJECT…]", Short: "Read all records of a Pipedrive account into the local tables",
		Long:    "Read all records of a Pipedrive account into the local tables that a listener with use = \"pipedrive_sync\"\nkeeps in step. No listener is told of them. It may run beside pipehook serve, and go on where it was broken off.",
		Example: "  pipehook sync\n  pipehook sync deal person --since 2026-01-01",
		RunE: func(cmd *cobra.Command, args []string) error {
			conf, err := c.load(nil)
			if err != nil {
				return err
			}
			if err := keepsTables(conf); err != nil {
				return err
			}
			if err := checkObjects(args); err != nil {
				return err
			}
			o.Objects, o.Since, o.Leave = args, since.Time, conf.Pipedrive.Reconcile.Every > 0
			return c.sync(cmd.Context(), conf, o)
		},
	}
	cmd.Flags().Var(&since, "since", "only what changed since a date, or in the last …, such as 24h")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "only count what there is")
	cmd.Flags().BoolVar(&o.Restart, "restart", false, "begin anew instead of where the last one was broken off")
	return cmd
}

func (c *cli) sync(ctx context.Context, conf *config.Config, o mirror.FillOptions) (err error) {
	client, err := commandClient(conf)
	if err != nil {
		return err
	}
	me, err := client.Me(ctx)
	if err != nil {
		return &hinted{fmt.Errorf("it is not known whose records are read: %w", err), goOn(err, &o)}
	}
	o.CompanyID, o.Host = companyOf(me)
	m, err := mirror.Open(ctx, mirror.Options{URL: tablesURL(conf), Objects: conf.Pipedrive.Sync.Objects})
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, m.Close) }()
	o.Fields = definitions.fields()
	shown := c.newProgress("records read", 0)
	o.Progress = func(p mirror.Progress) { shown.at(p.Records) }
	report, err := m.Fill(ctx, client, o)
	shown.end()
	switch core.KindOf(err) {
	case core.Invalid:
		return &usageError{err: err}
	case core.Conflict:
		return err
	}
	if err := c.printFill(&report); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return &hinted{errors.New("interrupted"), goOn(nil, &o)}
	}
	if err != nil {
		return err
	}
	if err := report.Failed(); err != nil {
		return &hinted{errors.New("not all was read"), goOn(err, &o)}
	}
	return nil
}

// goOn is what to type so that a fill goes on where it was broken off.
func goOn(err error, o *mirror.FillOptions) string {
	command := strings.Join(append([]string{"pipehook sync"}, o.Objects...), " ")
	if !o.Since.IsZero() {
		command += " --since " + o.Since.Format(time.RFC3339)
	}
	if all, several := err.(interface{ Unwrap() []error }); several { // the last one ended it
		err = all.Unwrap()[len(all.Unwrap())-1]
	}
	e, ok := errors.AsType[*pipedrive.Error](err)
	switch {
	case ok && e.Reason == pipedrive.Repeated:
		return command + ", which goes on there; if it does not, with --restart"
	case ok:
		return nextOf(e, command) + ", which goes on there"
	default:
		return command + ", which goes on there"
	}
}

func (c *cli) printFill(r *mirror.FillReport) error {
	if c.json {
		return c.printJSON(r)
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "OBJECT\tREAD\tWRITTEN\tLEFT\tCALLS\tTIME\tREMARK")
	for _, o := range r.Objects {
		remark := o.Note
		if o.Error != "" {
			remark = o.Error
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\t%s\n", o.Object, o.Records, o.Written, o.Left, o.Calls, took(o.TookMS), plain(remark))
	}
	return w.Flush()
}

func took(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() }

// keepsTables refuses a configuration in which nobody keeps the tables in step.
func keepsTables(conf *config.Config) error {
	if syncListener(conf) != nil {
		return nil
	}
	return usagef(`add a [[listener]] with name = "mirror", match = ["*.*"] and use = "pipedrive_sync"`, "%s has no listener that keeps local tables of Pipedrive's records", conf.Path)
}
