package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive"
)

const doctorHelp = `Look at everything that pipehook needs, from the configuration to what Pipedrive says of its webhooks, and say
what was seen and what to do: ✓ is good, ! may become trouble, ✗ is wrong, – was not looked at. Exit code 1 when
something is wrong. It runs beside pipehook serve and stores no event; its two requests at the hook's address
are refused, and listed by events refused. --offline asks nobody but this machine and the store.`

// The verdicts of a check.
const (
	good    = "good"
	warning = "warning"
	bad     = "bad"
	skipped = "skipped"
)

// diagnosis is what a check has seen.
type diagnosis struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"` // good, warning, bad or skipped
	Says    string `json:"says"`
	Fix     string `json:"fix,omitempty"` // what to do
}

// diagnosesJSON is what --json prints.
type diagnosesJSON struct {
	OK       bool        `json:"ok"`
	Wrong    int         `json:"wrong"`
	Warnings int         `json:"warnings"`
	Checks   []diagnosis `json:"checks"`
}

// checkUp is one check. It gives up when its time is over.
type checkUp struct {
	name    string
	table   string // of the configuration, without which it makes no sense
	network bool
	run     func(ctx context.Context) []diagnosis
}

// doctor is what the checks share.
type doctor struct {
	c      *cli
	conf   *config.Config // nil when it can't be read
	wrong  error          // the mistakes in it
	within time.Duration  // each check may take
	now    func() time.Time

	account func() (*pipedrive.Client, error) // one for all checks

	delivered atomic.Bool // Pipedrive says that its webhooks are active and bring something
}

const checkWithin = 25 * time.Second

func (c *cli) doctorCommand() *cobra.Command {
	var offline bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check everything: configuration, store, disk, server, address, Pipedrive", Args: cobra.NoArgs, Long: doctorHelp,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := c.loadServing(nil)
			d := &doctor{c: c, conf: conf, wrong: err, within: checkWithin, now: time.Now}
			d.account = sync.OnceValues(func() (*pipedrive.Client, error) { return commandClient(conf) })
			return c.printDiagnoses(d.examine(cmd.Context(), offline))
		},
	}
	cmd.Flags().BoolVar(&offline, "offline", false, "only what needs no network")
	return cmd
}

func (d *doctor) checks() []checkUp {
	return []checkUp{
		{"configuration", "", false, d.configuration},
		{"scripts", "pipeline", false, d.scripts},
		{"plugins", "pipeline", false, d.plugins},
		{"store", "store", false, d.store},
		{"disk", "store", false, d.disk},
		{"spool", "spool", false, d.spool},
		{"server", "admin", false, d.server},
		{"clock", "pipedrive", true, d.clock},
		{"address", "pipedrive", true, d.address},
		{"account", "pipedrive", true, d.company},
		{"webhooks", "pipedrive", true, d.webhooks},
	}
}

// examine runs all checks side by side. None waits for another; the answers come in their order.
func (d *doctor) examine(ctx context.Context, offline bool) []diagnosis {
	checks := d.checks()
	found := make([][]diagnosis, len(checks))
	var running sync.WaitGroup
	for i, check := range checks {
		switch {
		case check.table != "" && (d.conf == nil || concerns(d.wrong, check.table)):
			found[i] = []diagnosis{{Verdict: skipped, Says: "the configuration of it is wrong"}}
		case offline && check.network:
			found[i] = []diagnosis{{Verdict: skipped, Says: "needs the network"}}
		default:
			running.Go(func() { found[i] = d.timed(ctx, check) })
		}
	}
	running.Wait()
	var all []diagnosis
	for i, some := range found {
		for _, one := range some {
			one.Check = cmp.Or(one.Check, checks[i].name)
			all = append(all, one)
		}
	}
	d.compared(all)
	return all
}

// timed leaves a check alone that does not end in time.
func (d *doctor) timed(ctx context.Context, check checkUp) []diagnosis {
	ctx, cancel := context.WithTimeout(ctx, d.within)
	defer cancel()
	done := make(chan []diagnosis, 1)
	go func() { done <- check.run(ctx) }() // ends with ctx, or the process
	select {
	case found := <-done:
		return found
	case <-ctx.Done():
	}
	select {
	case found := <-done: // it knows best what took so long
		return found
	case <-time.After(time.Second):
		return []diagnosis{{Verdict: bad, Says: fmt.Sprintf("took longer than %s", d.within), Fix: "pipehook doctor again; if it stays, look at what is slow"}}
	}
}

// from is an error as a diagnosis.
func from(verdict string, err error) []diagnosis {
	var all []diagnosis
	for _, one := range complaints(err) {
		all = append(all, diagnosis{Verdict: verdict, Says: one.text, Fix: one.Hint})
	}
	return all
}

func seen(verdict, text, fix string) []diagnosis {
	return []diagnosis{{Verdict: verdict, Says: text, Fix: fix}}
}

func (c *cli) printDiagnoses(all []diagnosis) error {
	wrong, warned := 0, 0
	for _, one := range all {
		switch one.Verdict {
		case bad:
			wrong++
		case warning:
			warned++
		}
	}
	if c.json {
		if err := c.printJSON(diagnosesJSON{wrong == 0, wrong, warned, all}); err != nil {
			return err
		}
	} else {
		printMarks(c.stdout, all)
		fmt.Fprintln(c.stdout, "\n"+verdictText(wrong, warned))
	}
	if wrong > 0 {
		return exitCode(exitFailed)
	}
	return nil
}

func verdictText(wrong, warned int) string {
	switch {
	case wrong == 0 && warned == 0:
		return "all is well"
	case wrong == 0:
		return "nothing is wrong, " + count(warned, "warning")
	}
	return fmt.Sprintf("%d wrong, %s", wrong, count(warned, "warning"))
}

func printMarks(w io.Writer, all []diagnosis) {
	view := &liveView{color: isTerminal(w)}
	mark := map[string]string{
		good: view.paint(green, "✓"), warning: view.paint(yellow, "!"), bad: view.paint(red, "✗"), skipped: view.paint(dim, "–"),
	}
	before := ""
	for _, one := range all {
		name := one.Check
		if name == before {
			name = ""
		}
		before = one.Check
		indent := "\n" + strings.Repeat(" ", 18)
		fmt.Fprintf(w, "%s %-15s %s\n", mark[one.Verdict], name, indentedLines(one.Says, indent))
		if one.Fix != "" {
			fmt.Fprintf(w, "%s→ %s\n", indent[1:], indentedLines(one.Fix, indent+"  "))
		}
	}
}

// indentedLines is text of several lines, safe for a terminal.
func indentedLines(text, indent string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = plain(lines[i])
	}
	return strings.Join(lines, indent)
}

// sizeText is a number of bytes for people.
func sizeText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", (n+1023)/1024)
}
