package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/source/derived"
	"github.com/pipehook/pipehook/core/store"
)

// explanation is why an event is where it is, or why a request was refused. It is both when the
// event was stored by a stage before the one that refused it.
type explanation struct {
	Event     string            `json:"event,omitempty"`
	Type      string            `json:"type,omitempty"`
	ObjectID  string            `json:"objectId,omitempty"`
	Origin    string            `json:"origin"`
	Labels    map[string]string `json:"labels,omitempty"`
	Cause     *derived.Cause    `json:"cause,omitempty"` // of an event that a listener emitted
	Refused   *refusedJSON      `json:"refused,omitempty"`
	Stages    []core.StepTrace  `json:"stages"`
	Listeners []verdictJSON     `json:"listeners"`
}

// verdictJSON is what became of an event with one listener, and what decided it.
type verdictJSON struct {
	Listener string        `json:"listener"`
	Outcome  string        `json:"outcome"` // a delivery's state, or "filtered", or "no match"
	Why      string        `json:"why,omitempty"`
	Replays  int           `json:"replays,omitempty"`
	Attempts []attemptJSON `json:"attempts,omitempty"`
}

func (c *cli) eventsExplainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "explain ID", Short: "Tell stage by stage and listener by listener what happened, and why", Args: cobra.ExactArgs(1),
		Long: "Tell what each stage did with an event and how long it took, and for each listener what became of\nit: the state of its delivery, the rule that kept the event from it with the value the rule saw, or\nthat no pattern fits. Patterns are those of the configuration and the scripts as they are now.\n\nOf a request that was refused, whose id is in its answer and its X-Request-Id, it tells which stage\nrefused it, and why.",
		RunE: func(cmd *cobra.Command, args []string) error {
			conf := c.listenersConf()
			return c.withReader(cmd.Context(), func(r *store.Reader) error {
				x, err := explainID(cmd.Context(), r, args[0], conf)
				if err != nil {
					return err
				}
				return c.printExplanation(x)
			})
		},
	}
}

// explainID finds what the id belongs to: an event, a refused request, or both.
func explainID(ctx context.Context, r *store.Reader, id string, conf *config.Config) (explanation, error) {
	x := explanation{Stages: []core.StepTrace{}, Listeners: []verdictJSON{}}
	rejection, found, err := r.Rejection(ctx, id)
	if err != nil {
		return x, err
	}
	ev, attempts, err := r.Event(ctx, id)
	switch {
	case core.KindOf(err) == core.Invalid && !found:
		return x, &hinted{fmt.Errorf("there is no event and no refused request %q", id), "pipehook events list, or pipehook events refused"}
	case err == nil:
		whys, err := pendingWhys(ctx, r, conf, &ev)
		if err != nil {
			return x, err
		}
		if x, err = explain(ctx, &ev, attempts, whys, conf); err != nil {
			return x, err
		}
	case core.KindOf(err) != core.Invalid:
		return x, err
	}
	if found {
		v := refusedView(&rejection)
		x.Refused, x.Stages = &v, v.Stages
	}
	return x, nil
}

func explain(ctx context.Context, ev *store.Event, attempts []store.Attempt, whys map[string]string, conf *config.Config) (explanation, error) {
	trace, err := core.ParseTrace(ev.Trace)
	if err != nil {
		return explanation{}, fmt.Errorf("event %s: its trace: %w", ev.ID, err)
	}
	x := explanation{Event: ev.ID, Type: ev.Action + "." + ev.Object, ObjectID: ev.ObjectID, Origin: originText(ev.Overlay), Labels: core.ParseLabels(ev.Labels), Stages: trace.Steps, Listeners: []verdictJSON{}}
	if cause, ok := derived.CauseOf(ev.Source, ev.Body); ok {
		x.Cause = &cause
	}
	told := map[string]bool{}
	for _, d := range eventView(ev, attempts, whys).Deliveries {
		told[d.Listener] = true
		x.Listeners = append(x.Listeners, verdictJSON{d.Listener, d.State, orWord(d.Why, d.LastError), d.Replays, d.History})
	}
	for _, r := range trace.Refused {
		told[r.Listener] = true
		x.Listeners = append(x.Listeners, verdictJSON{Listener: r.Listener, Outcome: "filtered", Why: r.Why})
	}
	if conf == nil {
		return x, nil
	}
	known, err := knownListeners(ctx, conf)
	if err != nil {
		return x, nil // check tells what is wrong with the scripts
	}
	for _, l := range known {
		if !told[l.Name] {
			why := l.whyNot(&core.Event{Action: ev.Action, Object: ev.Object})
			x.Listeners = append(x.Listeners, verdictJSON{Listener: l.Name, Outcome: "no match", Why: why})
		}
	}
	return x, nil
}

func (c *cli) printExplanation(x explanation) error {
	if c.json {
		return c.printJSON(x)
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	if x.Event != "" {
		fmt.Fprintf(w, "event %s\t%s\t%s\n", x.Event, plain(x.Type), plain(x.ObjectID))
	}
	if x.Origin != "webhook" && x.Origin != "" {
		fmt.Fprintf(w, "origin\t%s\n", plain(x.Origin))
	}
	for _, name := range slices.Sorted(maps.Keys(x.Labels)) {
		fmt.Fprintf(w, "label %s\t%s\n", name, plain(x.Labels[name]))
	}
	if x.Cause != nil {
		fmt.Fprintf(w, "emitted by\t%s\n", plain(causeText(x.Cause)))
	}
	if x.Refused != nil {
		word := "refused"
		if x.Refused.Status < 400 {
			word = x.Refused.Code
		}
		fmt.Fprintf(w, "request %s\t%s\n", x.Refused.ID, word)
		printRejection(w, x.Refused)
	}
	fmt.Fprintln(w)
	for _, s := range x.Stages {
		fmt.Fprintf(w, "stage %s\t%s\t%s\n", plain(s.Stage), plain(s.Verdict), time.Duration(s.Micros)*time.Microsecond)
	}
	for _, l := range x.Listeners {
		fmt.Fprintf(w, "\nlistener %s\t%s\t%s\n", l.Listener, l.Outcome+replayedText(l.Replays), plain(l.Why))
		for _, a := range l.Attempts {
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", attemptName(a.Number, a.Replay), a.StartedAt, time.Duration(a.DurationUS)*time.Microsecond, plain(orWord(a.Error, "ok")))
			printOutput(w, a.Output)
		}
	}
	return w.Flush()
}
