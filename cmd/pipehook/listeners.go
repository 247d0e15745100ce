package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/store"
)

func (c *cli) listenersCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "listeners", Short: "List, pause and resume listeners"}
	cmd.AddCommand(c.listenersListCommand(), c.listenersPauseCommand(), c.listenersResumeCommand())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// listenerJSON is where a listener stands, as --json prints it.
type listenerJSON struct {
	Listener string `json:"listener"`
	Exists   *bool  `json:"exists,omitempty"` // not there when the configuration can't be relied on
	Paused   bool   `json:"paused"`
	Reason   string `json:"reason,omitempty"`
	Pending  int64  `json:"pending"`
}

func (c *cli) listenersListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the listeners, what is pending for each, and which are paused", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withReader(cmd.Context(), func(r *store.Reader) error {
				all, err := standings(cmd.Context(), r, listenersOf(cmd.Context(), c.listenersConf()))
				if err != nil {
					return err
				}
				return c.printListeners(all)
			})
		},
	}
}

// standings are those of every listener that is in the configuration, is paused, or has something
// pending. known is nil when it is not known which there are.
func standings(ctx context.Context, r *store.Reader, known map[string]config.Listener) ([]listenerJSON, error) {
	paused, err := r.Paused(ctx)
	if err != nil {
		return nil, err
	}
	waiting, err := r.Waiting(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for name := range known {
		names[name] = true
	}
	for name := range paused {
		names[name] = true
	}
	for name := range waiting {
		names[name] = true
	}
	all := make([]listenerJSON, 0, len(names))
	for name := range names {
		reason, isPaused := paused[name]
		one := listenerJSON{Listener: name, Paused: isPaused, Reason: reason, Pending: waiting[name]}
		if known != nil {
			_, exists := known[name]
			one.Exists = &exists
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b listenerJSON) int { return cmp.Compare(a.Listener, b.Listener) })
	return all, nil
}

func (c *cli) printListeners(all []listenerJSON) error {
	if c.json {
		return c.printJSON(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(c.stderr, "no listeners")
		return nil
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "LISTENER\tPENDING\tPAUSED\tREASON")
	for _, one := range all {
		paused := "no"
		if one.Paused {
			paused = "yes"
		}
		reason := plain(one.Reason)
		if one.Exists != nil && !*one.Exists {
			reason = strings.TrimSpace("(there is no such listener) " + reason)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", plain(one.Listener), one.Pending, paused, reason)
	}
	return w.Flush()
}

func (c *cli) listenersPauseCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "pause NAME", Short: "Let a listener's deliveries wait", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withManager(cmd.Context(), func(m *store.Manager) error {
				known := listenersOf(cmd.Context(), c.listenersConf())
				if err := m.Pause(cmd.Context(), args[0], reason); err != nil {
					return err
				}
				now, err := standingOf(cmd.Context(), &m.Reader, known, args[0])
				if err != nil {
					return err
				}
				return c.tellPaused(cmd.Context(), &m.Reader, known, now, "paused")
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "what others should know")
	return cmd
}

func (c *cli) listenersResumeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume NAME", Short: "Go on with a listener that was paused", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withManager(cmd.Context(), func(m *store.Manager) error {
				known := listenersOf(cmd.Context(), c.listenersConf())
				now, err := standingOf(cmd.Context(), &m.Reader, known, args[0]) // what it goes on with
				if err != nil {
					return err
				}
				was, err := m.Resume(cmd.Context(), args[0])
				if err == nil && !was {
					return &hinted{fmt.Errorf("listener %s is not paused", args[0]), "pipehook listeners list"}
				}
				if err != nil {
					return err
				}
				now.Paused, now.Reason = false, ""
				return c.tellPaused(cmd.Context(), &m.Reader, known, now, "resumed")
			})
		},
	}
}

// standingOf is where one listener stands.
func standingOf(ctx context.Context, r *store.Reader, known map[string]config.Listener, name string) (listenerJSON, error) {
	all, err := standings(ctx, r, known)
	if err != nil {
		return listenerJSON{}, err
	}
	for _, one := range all {
		if one.Listener == name {
			return one, nil
		}
	}
	return listenerJSON{Listener: name}, nil
}

// tellPaused says where a listener stands now. A name that nobody knows may be a slip, or a
// listener that is yet to come.
func (c *cli) tellPaused(ctx context.Context, r *store.Reader, known map[string]config.Listener, now listenerJSON, done string) error {
	if _, exists := known[now.Listener]; !exists {
		had, err := r.Count(ctx, store.Choice{Listener: now.Listener})
		if err != nil {
			return err
		}
		if had == 0 {
			fmt.Fprintf(c.stderr, "pipehook: warning: there is no listener %s, and no delivery to one\n", now.Listener)
		}
	}
	if c.json {
		return c.printJSON(now)
	}
	_, err := fmt.Fprintf(c.stdout, "listener %s %s, %d pending\n", now.Listener, done, now.Pending)
	return err
}
