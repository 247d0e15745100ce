package main

import (
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/store"
)

// explanation is why an event is where it is.
type explanation struct {
	Event     string           `json:"event"`
	Type      string           `json:"type"`
	ObjectID  string           `json:"objectId"`
	Stages    []core.StepTrace `json:"stages"`
	Listeners []verdictJSON    `json:"listeners"`
}

// verdictJSON is what became of an event with one listener, and what decided it.
type verdictJSON struct {
	Listener string        `json:"listener"`
	Outcome  string        `json:"outcome"` // a delivery's state, or "filtered", or "no match"
	Why      string        `json:"why,omitempty"`
	Attempts []attemptJSON `json:"attempts,omitempty"`
}

func (c *cli) eventsExplainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "explain ID", Short: "Tell stage by stage and listener by listener what happened, and why", Args: cobra.ExactArgs(1),
		Long: "Tell what each stage did with an event and how long it took, and for each listener what became of\nit: the state of its delivery, the rule that kept the event from it with the value the rule saw, or\nthat no pattern fits. Patterns are those of the configuration as it is now.",
		RunE: func(cmd *cobra.Command, args []string) error {
			conf := c.listenersConf()
			return c.withReader(cmd.Context(), func(r *store.Reader) error {
				ev, attempts, err := r.Event(cmd.Context(), args[0])
				switch {
				case core.KindOf(err) == core.Invalid:
					return &hinted{err, "pipehook events list"}
				case err != nil:
					return err
				}
				whys, err := pendingWhys(cmd.Context(), r, conf, &ev)
				if err != nil {
					return err
				}
				x, err := explain(&ev, attempts, whys, conf)
				if err != nil {
					return err
				}
				return c.printExplanation(x)
			})
		},
	}
}

func explain(ev *store.Event, attempts []store.Attempt, whys map[string]string, conf *config.Config) (explanation, error) {
	trace, err := core.ParseTrace(ev.Trace)
	if err != nil {
		return explanation{}, fmt.Errorf("event %s: its trace: %w", ev.ID, err)
	}
	x := explanation{Event: ev.ID, Type: ev.Action + "." + ev.Object, ObjectID: ev.ObjectID, Stages: trace.Steps, Listeners: []verdictJSON{}}
	told := map[string]bool{}
	for _, d := range eventView(ev, attempts, whys).Deliveries {
		told[d.Listener] = true
		x.Listeners = append(x.Listeners, verdictJSON{d.Listener, d.State, orWord(d.Why, d.LastError), d.History})
	}
	for _, r := range trace.Refused {
		told[r.Listener] = true
		x.Listeners = append(x.Listeners, verdictJSON{Listener: r.Listener, Outcome: "filtered", Why: r.Why})
	}
	if conf == nil {
		return x, nil
	}
	wanted, err := wantedScripts(conf)
	if err != nil {
		return x, nil // check tells what is wrong with the scripts
	}
	for _, w := range wanted {
		if told[w.Name] {
			continue
		}
		v := verdictJSON{Listener: w.Name, Outcome: "no match", Why: "it was not there, or had other rules, when the event was accepted"}
		if len(w.Match) > 0 && !slices.ContainsFunc(w.Match, func(p core.Pattern) bool { return p.Match(&core.Event{Action: ev.Action, Object: ev.Object}) }) {
			v.Why = fmt.Sprintf("match is %v, and the event is %s", patternTexts(w.Match), x.Type)
		}
		x.Listeners = append(x.Listeners, v)
	}
	return x, nil
}

func (c *cli) printExplanation(x explanation) error {
	if c.json {
		return c.printJSON(x)
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "event %s\t%s\t%s\n\n", x.Event, plain(x.Type), plain(x.ObjectID))
	for _, s := range x.Stages {
		fmt.Fprintf(w, "stage %s\t%s\t%s\n", s.Stage, s.Verdict, time.Duration(s.Micros)*time.Microsecond)
	}
	for _, l := range x.Listeners {
		fmt.Fprintf(w, "\nlistener %s\t%s\t%s\n", l.Listener, l.Outcome, plain(l.Why))
		for _, a := range l.Attempts {
			fmt.Fprintf(w, "  attempt %d\t%s\t%s\t%s\n", a.Number, a.StartedAt, time.Duration(a.DurationUS)*time.Microsecond, plain(orWord(a.Error, "ok")))
		}
	}
	return w.Flush()
}
