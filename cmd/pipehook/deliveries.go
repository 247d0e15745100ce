package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/store"
)

// choiceFlags are the flags by which deliveries are chosen.
type choiceFlags struct {
	match, listener string
	state           stateName
	since, until    ago
	all             bool
}

func (f *choiceFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.match, "match", "", "only events that fit a pattern, such as updated.deal")
	cmd.Flags().Var(&f.state, "state", "only deliveries in this state, such as dead")
	cmd.Flags().StringVar(&f.listener, "listener", "", "only deliveries to this listener")
	cmd.Flags().Var(&f.since, "since", "only events received in the last …, such as 24h or 7d")
	cmd.Flags().Var(&f.until, "until", "only events received longer ago than …, such as 1h")
}

func (f *choiceFlags) choice(events []string) (store.Choice, error) {
	c := store.Choice{Events: events, State: string(f.state), Listener: f.listener}
	if f.match != "" {
		p, err := core.ParsePattern(f.match)
		if err != nil {
			return c, usagef("", "--match: %w", err)
		}
		c.Match = p
	}
	now := time.Now()
	c.Since, c.Until = f.since.from(now), f.until.from(now)
	return c, nil
}

// named reports whether the user has said what to change. Nothing is not everything.
func (f *choiceFlags) named(events []string) bool {
	return f.all || len(events) > 0 || f.match != "" || f.state != "" || f.listener != "" || f.since > 0 || f.until > 0
}

// fits refuses a state whose deliveries the command does not change: it would choose nothing, and
// look as if there were none.
func (f *choiceFlags) fits(cmd *cobra.Command, ended bool) error {
	pending := string(f.state) == core.Waiting.String()
	switch {
	case f.state == "" || pending != ended:
		return nil
	case ended:
		return usagef("pipehook deliveries retry --state pending", "what is pending can't be replayed: it has not ended")
	case cmd.Name() == "retry":
		return usagef("pipehook events replay --state "+string(f.state), "what is %s can't be retried: it has ended", f.state)
	default:
		return usagef("leave --state out", "what is %s can't be cancelled: it has ended", f.state)
	}
}

func (c *cli) deliveriesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "deliveries", Short: "Look at deliveries, and retry or cancel them"}
	cmd.AddCommand(c.deliveriesListCommand(),
		c.changeCommand("retry [EVENT_ID…]", "Attempt pending deliveries now instead of at their time", "retried", false, (*store.Manager).Retry),
		c.changeCommand("cancel [EVENT_ID…]", "End pending deliveries", "cancelled", false, (*store.Manager).Cancel))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

func (c *cli) deliveriesListCommand() *cobra.Command {
	var f choiceFlags
	most := limit(50)
	cmd := &cobra.Command{
		Use: "list [EVENT_ID…]", Short: "List the newest deliveries",
		Example: "  pipehook deliveries list --state dead --listener audit",
		RunE: func(cmd *cobra.Command, args []string) error {
			choice, err := f.choice(args)
			if err != nil {
				return err
			}
			return c.withReader(cmd.Context(), func(r *store.Reader) error {
				if err := mustBeThere(cmd.Context(), r, args); err != nil {
					return err
				}
				found, err := r.Deliveries(cmd.Context(), choice, int(most))
				if err != nil {
					return err
				}
				return c.printDeliveries(found)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().Var(&most, "limit", "how many")
	return cmd
}

// listedJSON is a delivery as --json prints it in a list.
type listedJSON struct {
	Event      string `json:"event"`
	Type       string `json:"type"`
	ObjectID   string `json:"objectId"`
	Listener   string `json:"listener"`
	State      string `json:"state"`
	Attempts   int    `json:"attempts"`
	Replays    int    `json:"replays"`
	NextAt     string `json:"nextAt,omitempty"`
	FinishedAt string `json:"finishedAt,omitempty"`
	LastError  string `json:"lastError,omitempty"`
}

func (c *cli) printDeliveries(found []store.Chosen) error {
	if c.json {
		views := make([]listedJSON, len(found))
		for i, d := range found {
			views[i] = listedJSON{d.ID, d.Action + "." + d.Object, d.ObjectID, d.Listener, d.State.String(), d.Attempts, d.Replays,
				timeText(d.NextAt), timeText(d.FinishedAt), d.LastError}
		}
		return c.printJSON(views)
	}
	if len(found) == 0 {
		fmt.Fprintln(c.stderr, "no deliveries")
		return nil
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "EVENT ID\tEVENT\tOBJECT ID\tLISTENER\tSTATE\tATTEMPTS\tREPLAYS\tLAST ERROR")
	for _, d := range found {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", d.ID, plain(d.Action+"."+d.Object), plain(d.ObjectID), d.Listener, d.State, d.Attempts, d.Replays, shortened(plain(d.LastError), 60))
	}
	return w.Flush()
}

func shortened(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func (c *cli) eventsReplayCommand() *cobra.Command {
	cmd := c.changeCommand("replay [EVENT_ID…]", "Deliver again what has ended", "replayed", true, (*store.Manager).Replay)
	cmd.Example = "  pipehook events replay 0197a000-0000-7000-8000-000000000001\n  pipehook events replay --listener audit --state dead --since 24h --dry-run"
	cmd.Long = "Deliver again what has ended: the deliveries of the events named, or those that the flags choose.\nA replayed delivery keeps its event's id and takes its place behind what is pending. With --dry-run\nthey are only counted."
	return cmd
}

// mustBeThere refuses ids that no event has.
func mustBeThere(ctx context.Context, r *store.Reader, ids []string) error {
	missing, err := r.Missing(ctx, ids)
	if err != nil || len(missing) == 0 {
		return err
	}
	var all several
	for _, id := range missing {
		all = append(all, &hinted{fmt.Errorf("there is no event %q", id), "pipehook events list"})
	}
	return all
}

// change is one of the Manager's: it changes what is chosen and returns how many those were.
type change func(m *store.Manager, ctx context.Context, choice store.Choice, told func(int)) (int, error)

// changeCommand makes a command that changes the deliveries its flags choose.
func (c *cli) changeCommand(use, short, done string, ended bool, do change) *cobra.Command {
	var f choiceFlags
	var dry bool
	cmd := &cobra.Command{
		Use: use, Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			choice, err := f.choice(args)
			if err != nil {
				return err
			}
			if !f.named(args) {
				return usagef("name events, or choose with --listener, --state, --match, --since or --until; --all means every delivery", "nothing is chosen")
			}
			if err := f.fits(cmd, ended); err != nil {
				return err
			}
			choice.Ended = &ended
			return c.withManager(cmd.Context(), func(m *store.Manager) error {
				if err := mustBeThere(cmd.Context(), &m.Reader, args); err != nil {
					return err
				}
				return c.change(cmd.Context(), m, choice, done, dry, do)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.all, "all", false, "every delivery")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only count what is chosen")
	return cmd
}

// change changes what is chosen, or only counts it.
func (c *cli) change(ctx context.Context, m *store.Manager, choice store.Choice, done string, dry bool, do change) error {
	total, err := m.Count(ctx, choice)
	switch {
	case dry && err != nil:
		return err
	case dry:
		return c.printCount("chosen", total)
	case err != nil:
		total = 0 // so many that counting takes too long are worth changing all the same
	}
	shown := c.newProgress(done, total)
	n, err := do(m, ctx, choice, shown.at)
	shown.end()
	if err != nil {
		return fmt.Errorf("after %d: %w", n, err)
	}
	return c.printCount(done, n)
}

func (c *cli) printCount(what string, n int) error {
	if c.json {
		return c.printJSON(map[string]int{what: n})
	}
	word := "deliveries"
	if n == 1 {
		word = "delivery"
	}
	_, err := fmt.Fprintf(c.stdout, "%d %s %s\n", n, word, what)
	return err
}

func (c *cli) withManager(ctx context.Context, use func(*store.Manager) error) (err error) {
	url, err := c.readURL()
	if err != nil {
		return err
	}
	m, err := store.OpenManager(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, m.Close) }()
	return use(m)
}
