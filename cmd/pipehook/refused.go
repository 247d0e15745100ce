package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/ingress"
	"github.com/pipehook/pipehook/core/refused"
	"github.com/pipehook/pipehook/core/store"
)

func (a *app) newRefusals() *refused.Keeper {
	return refused.New(refused.Options{
		Store: a.store, Log: a.log, Dropped: a.metrics.NotKept(refused.Thinned, refused.Overflow, refused.NoStore),
	})
}

// keepRefused has a request be kept that was refused, or dropped without being stored.
func (a *app) keepRefused(o ingress.Outcome) {
	if o.Status >= 400 || o.Code == "dropped" && !o.Event.Plan.Store {
		a.refusals.Keep(core.Reject(o.Event, o.Status, o.Code, o.Bytes, o.Err))
	}
}

func (c *cli) eventsRefusedCommand() *cobra.Command {
	var f store.RefusedFilter
	var since ago
	var status refusal
	most := limit(50)
	cmd := &cobra.Command{
		Use: "refused", Short: "List the newest requests that were refused or dropped", Args: cobra.NoArgs,
		Long:    "List the newest requests that were refused at a hook's path, or dropped by a script and not stored,\nwith the reason. Of each pipeline and status the newest 200 are kept, without bodies and credentials;\nexplain tells the rest of one.",
		Example: "  pipehook events refused --status 401 --since 1h\n  pipehook events explain 0197a000-0000-7000-8000-000000000001",
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.Since, f.Status, f.Limit = since.from(time.Now()), int(status), int(most)
			return c.withReader(cmd.Context(), func(r *store.Reader) error {
				found, err := r.Refused(cmd.Context(), f)
				if err != nil {
					return err
				}
				return c.printRefused(found)
			})
		},
	}
	cmd.Flags().StringVar(&f.Pipeline, "pipeline", "", "only requests to this pipeline")
	cmd.Flags().Var(&status, "status", "only requests answered with this status, such as 401")
	cmd.Flags().StringVar(&f.Code, "code", "", "only requests answered with this error code, such as invalid")
	cmd.Flags().Var(&since, "since", "only requests received in the last …, such as 24h or 7d")
	cmd.Flags().Var(&most, "limit", "how many")
	return cmd
}

// refusedJSON is a refused request as --json prints it.
type refusedJSON struct {
	ID         string           `json:"id"`
	ReceivedAt string           `json:"receivedAt"`
	Pipeline   string           `json:"pipeline"`
	Remote     string           `json:"remote,omitempty"`
	Status     int              `json:"status"`
	Code       string           `json:"code"`
	Stage      string           `json:"stage"` // where it ended
	Error      string           `json:"error"`
	Bytes      int64            `json:"bytes"`
	Missed     int              `json:"missed"` // refused before it and not kept
	Header     json.RawMessage  `json:"header"`
	Stages     []core.StepTrace `json:"stages"`
}

func refusedView(r *store.Refused) refusedJSON {
	v := refusedJSON{
		ID: r.ID, ReceivedAt: timeText(r.At), Pipeline: r.Pipeline, Remote: r.Remote, Status: r.Status, Code: r.Code, Error: r.Error,
		Bytes: r.Bytes, Missed: r.Missed, Header: json.RawMessage("{}"), Stages: []core.StepTrace{},
	}
	if json.Valid([]byte(r.Header)) {
		v.Header = json.RawMessage(r.Header)
	}
	if trace, err := core.ParseTrace(r.Trace); err == nil && len(trace.Steps) > 0 {
		v.Stages = trace.Steps
		v.Stage = trace.Steps[len(trace.Steps)-1].Stage
	}
	return v
}

// reason is the error without the places that a list has in columns of their own.
func (v *refusedJSON) reason() string {
	text := strings.TrimPrefix(v.Error, "pipeline "+v.Pipeline+": ")
	return strings.TrimPrefix(text, "stage "+v.Stage+": ")
}

func (c *cli) printRefused(found []store.Refused) error {
	if c.json {
		views := make([]refusedJSON, len(found))
		for i := range found {
			views[i] = refusedView(&found[i])
		}
		return c.printJSON(views)
	}
	if len(found) == 0 {
		fmt.Fprintln(c.stderr, "no refused requests")
		return nil
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "REQUEST ID\tRECEIVED\tPIPELINE\tFROM\tSTATUS\tSTAGE\tREASON")
	for i := range found {
		v := refusedView(&found[i])
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d %s\t%s\t%s\n", v.ID, localTime(found[i].At), v.Pipeline, v.Remote, v.Status, plain(v.Code), plain(v.Stage), shortened(plain(v.reason()), 80))
	}
	return w.Flush()
}

// printRejection tells what is known of a refused request, besides its stages.
func printRejection(w *tabwriter.Writer, v *refusedJSON) {
	for _, line := range [][2]string{
		{"answered", fmt.Sprint(v.Status, " ", v.Code)}, {"reason", v.Error}, {"pipeline", v.Pipeline}, {"received", v.ReceivedAt},
		{"from", v.Remote}, {"body", fmt.Sprint(v.Bytes, " bytes")},
	} {
		fmt.Fprintf(w, "%s\t%s\n", line[0], plain(line[1]))
	}
	if v.Missed > 0 {
		fmt.Fprintf(w, "not kept before it\t%d like it from there\n", v.Missed)
	}
	var header map[string][]string
	if json.Unmarshal(v.Header, &header) != nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		fmt.Fprintf(w, "header %s\t%s\n", plain(name), plain(strings.Join(header[name], ", ")))
	}
}
