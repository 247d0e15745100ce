package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/source/derived"
	"github.com/pipehook/pipehook/core/store"
)

func (c *cli) eventsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "events", Short: "Look at stored events"}
	cmd.AddCommand(c.eventsListCommand(), c.eventsShowCommand(), c.eventsExplainCommand(), c.eventsRefusedCommand(), c.eventsReplayCommand())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

func (c *cli) eventsListCommand() *cobra.Command {
	var match, listener string
	var origin originName
	var state stateName
	var since ago
	most := limit(50)
	cmd := &cobra.Command{
		Use: "list", Short: "List the newest events", Args: cobra.NoArgs,
		Example: "  pipehook events list --match updated.deal --state dead",
		RunE: func(cmd *cobra.Command, _ []string) error {
			f := store.Filter{Origin: string(origin), State: string(state), Listener: listener, Since: since.from(time.Now()), Limit: int(most)}
			if match != "" {
				p, err := core.ParsePattern(match)
				if err != nil {
					return usagef("", "--match: %w", err)
				}
				f.Match = p
			}
			return c.withReader(cmd.Context(), func(r *store.Reader) error {
				events, err := r.Events(cmd.Context(), f)
				if err != nil {
					return err
				}
				return c.printEvents(events)
			})
		},
	}
	cmd.Flags().StringVar(&match, "match", "", "only events that fit a pattern, such as updated.deal")
	cmd.Flags().Var(&state, "state", "only events with a delivery that is "+strings.Join(core.States(), ", "))
	cmd.Flags().StringVar(&listener, "listener", "", "only events with a delivery to this listener")
	cmd.Flags().Var(&origin, "origin", "only events that a sender sent (webhook), or that a comparison found (reconcile)")
	cmd.Flags().Var(&since, "since", "only events received in the last …, such as 24h or 7d")
	cmd.Flags().Var(&most, "limit", "how many")
	return cmd
}

func (c *cli) eventsShowCommand() *cobra.Command {
	var raw bool
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one event, its deliveries and every attempt", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withReader(cmd.Context(), func(r *store.Reader) error {
				ev, attempts, err := r.Event(cmd.Context(), args[0])
				switch {
				case core.KindOf(err) == core.Invalid:
					return &hinted{err, "pipehook events list"}
				case err != nil:
					return err
				case raw:
					_, err = c.stdout.Write(ev.Body)
					return err
				}
				whys, err := pendingWhys(cmd.Context(), r, c.listenersConf(), &ev)
				if err != nil {
					return err
				}
				return c.printEvent(ev, attempts, whys)
			})
		},
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "print the body alone, byte for byte as it was received")
	return cmd
}

func (c *cli) withReader(ctx context.Context, use func(*store.Reader) error) (err error) {
	url, err := c.readURL()
	if err != nil {
		return err
	}
	r, err := store.OpenReader(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, r.Close) }()
	return use(r)
}

// eventJSON is an event as --json prints it.
type eventJSON struct {
	ID         string            `json:"id"`
	Pipeline   string            `json:"pipeline"`
	Source     string            `json:"source"`
	Action     string            `json:"action"`
	Object     string            `json:"object"`
	ObjectID   string            `json:"objectId"`
	Origin     string            `json:"origin"`           // webhook, or what made it, such as reconcile
	Labels     map[string]string `json:"labels,omitempty"` // what stages said of it
	OccurredAt string            `json:"occurredAt,omitempty"`
	ReceivedAt string            `json:"receivedAt"`
	Remote     string            `json:"remote,omitempty"`
	Header     json.RawMessage   `json:"header,omitempty"`
	Cause      *derived.Cause    `json:"cause,omitempty"` // of an event that a listener emitted
	Deliveries []deliveryJSON    `json:"deliveries"`
	Raw        string            `json:"raw,omitempty"`
}

type deliveryJSON struct {
	Listener   string        `json:"listener"`
	State      string        `json:"state"`
	Attempts   int           `json:"attempts"`
	Replays    int           `json:"replays"` // how often it was asked for again
	NextAt     string        `json:"nextAt,omitempty"`
	FinishedAt string        `json:"finishedAt,omitempty"`
	LastError  string        `json:"lastError,omitempty"`
	Why        string        `json:"why,omitempty"` // it is pending
	History    []attemptJSON `json:"history,omitempty"`
}

type attemptJSON struct {
	Number     int    `json:"number"`
	Replay     int    `json:"replay,omitempty"` // which, when the delivery had been replayed before
	StartedAt  string `json:"startedAt"`
	DurationUS int64  `json:"durationUs"`
	Error      string `json:"error,omitempty"`
	Code       string `json:"code,omitempty"`
	Output     string `json:"output,omitempty"` // what the listener said, a line each
}

func attemptName(number, replay int) string {
	if replay == 0 {
		return fmt.Sprint("attempt ", number)
	}
	return fmt.Sprintf("replay %d, attempt %d", replay, number)
}

func eventView(ev *store.Event, attempts []store.Attempt, whys map[string]string) eventJSON {
	v := eventJSON{
		ID: ev.ID, Pipeline: ev.Pipeline, Source: ev.Source, Action: ev.Action, Object: ev.Object, ObjectID: ev.ObjectID,
		Origin: originText(ev.Overlay), Labels: core.ParseLabels(ev.Labels), OccurredAt: timeText(ev.OccurredAt), ReceivedAt: timeText(ev.ReceivedAt), Remote: ev.Remote,
		Raw: string(ev.Body), Deliveries: []deliveryJSON{},
	}
	if cause, ok := derived.CauseOf(ev.Source, ev.Body); ok {
		v.Cause = &cause
	}
	if ev.Header != "" {
		v.Header = json.RawMessage(ev.Header)
	}
	for _, d := range ev.Deliveries {
		dv := deliveryJSON{
			Listener: d.Listener, State: d.State.String(), Attempts: d.Attempts, Replays: d.Replays,
			NextAt: timeText(d.NextAt), FinishedAt: timeText(d.FinishedAt), LastError: d.LastError,
			Why: whys[d.Listener],
		}
		for _, a := range attempts {
			if a.Listener == d.Listener {
				dv.History = append(dv.History, attemptJSON{a.Number, a.Run, timeText(a.StartedAt), a.DurationUS, a.Error, a.Code, a.Output})
			}
		}
		v.Deliveries = append(v.Deliveries, dv)
	}
	return v
}

func timeText(micros int64) string {
	if micros == 0 {
		return ""
	}
	return time.UnixMicro(micros).UTC().Format(time.RFC3339Nano)
}

func (c *cli) printEvents(events []store.Event) error {
	if c.json {
		views := make([]eventJSON, len(events))
		for i := range events {
			views[i] = eventView(&events[i], nil, nil)
		}
		return c.printJSON(views)
	}
	if len(events) == 0 {
		fmt.Fprintln(c.stderr, "no events")
		return nil
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tRECEIVED\tPIPELINE\tEVENT\tOBJECT ID\tDELIVERIES")
	for i := range events {
		ev := &events[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", ev.ID, localTime(ev.ReceivedAt), ev.Pipeline,
			plain(ev.Action+"."+ev.Object), plain(ev.ObjectID), deliveriesText(ev.Deliveries))
	}
	return w.Flush()
}

func deliveriesText(deliveries []*store.Delivery) string {
	if len(deliveries) == 0 {
		return "no listener"
	}
	words := make([]string, len(deliveries))
	for i, d := range deliveries {
		words[i] = d.Listener + " " + d.State.String()
	}
	return strings.Join(words, ", ")
}

func (c *cli) printEvent(ev store.Event, attempts []store.Attempt, whys map[string]string) error {
	if c.json {
		return c.printJSON(eventView(&ev, attempts, whys))
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	for _, line := range [][2]string{
		{"id", ev.ID}, {"event", ev.Action + "." + ev.Object}, {"object id", ev.ObjectID}, {"origin", originText(ev.Overlay)}, {"labels", labelsText(ev.Labels)}, {"pipeline", ev.Pipeline},
		{"source", ev.Source}, {"occurred", timeText(ev.OccurredAt)}, {"received", timeText(ev.ReceivedAt)}, {"from", ev.Remote},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", line[0], plain(line[1]))
		}
	}
	if cause, ok := derived.CauseOf(ev.Source, ev.Body); ok {
		fmt.Fprintf(w, "emitted by\t%s\n", plain(causeText(&cause)))
	}
	for _, d := range ev.Deliveries {
		fmt.Fprintf(w, "\nlistener %s\t%s%s\t%s\n", d.Listener, d.State, replayedText(d.Replays), plain(orWord(whys[d.Listener], d.LastError)))
		for _, a := range attempts {
			if a.Listener == d.Listener {
				fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", attemptName(a.Number, a.Run), timeText(a.StartedAt),
					time.Duration(a.DurationUS)*time.Microsecond, codeText(a.Code), plain(orWord(a.Error, "ok")))
				printOutput(w, a.Output)
			}
		}
		if d.State == core.Waiting {
			fmt.Fprintf(w, "  next\t%s\n", timeText(d.NextAt))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "\n%s\n", plain(string(ev.Body)))
	return nil
}

// codeText is the version of the listener that made an attempt.
func codeText(code string) string {
	if code == "" { // it never ran
		return ""
	}
	return "code " + code
}

// printOutput writes what a listener said during an attempt below it.
func printOutput(w io.Writer, output string) {
	for line := range strings.Lines(output) {
		fmt.Fprintf(w, "    %s\n", plain(strings.TrimRight(line, "\n")))
	}
}

// originText is what made an event, as people and scripts call it.
func originText(overlay string) string { return cmp.Or(core.OriginOf(overlay), fromWebhook) }

// fromWebhook is the origin of an event that a sender sent, as people and scripts call it.
const fromWebhook = "webhook"

// labelsText is what stages said of an event, as people read it.
func labelsText(text string) string {
	labels := core.ParseLabels(text)
	words := make([]string, 0, len(labels))
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		words = append(words, key+"="+labels[key])
	}
	return strings.Join(words, " ")
}

// causeText says where an event comes from that a listener emitted.
func causeText(c *derived.Cause) string {
	return fmt.Sprintf("listener %s, of event %s (%d deep)", c.Listener, c.Event, c.Depth)
}

func replayedText(times int) string {
	switch times {
	case 0:
		return ""
	case 1:
		return ", replayed"
	default:
		return fmt.Sprintf(", replayed %d times", times)
	}
}

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return s
}

func localTime(micros int64) string { return time.UnixMicro(micros).Format(time.DateTime) }

// plain keeps what a sender or a script wrote from steering the terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' {
			return ' '
		}
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
