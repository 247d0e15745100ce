package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/fixture"
	"github.com/pipehook/pipehook/core/jshost/scripttest"
	"github.com/pipehook/pipehook/core/store"
)

// scriptRun is how the command was called.
type scriptRun struct {
	event, listener string
	status          int
	live            bool
}

func (c *cli) scriptRunCommand() *cobra.Command {
	var s scriptRun
	cmd := &cobra.Command{
		Use: "run FILE", Short: "Run a script once and show what it does", Args: cobra.ExactArgs(1),
		Long:    "Run a script once for one event, in the engine that runs scripts, and show what it returned, logged and\ndid. Nothing is done outside unless --live is given: fetch is answered with --fetch-status and {}, what kv\nreads is read and what it writes is only shown, and so is what is emitted.",
		Example: "  pipehook script run scripts/deal-moved.ts --event updated.deal\n  pipehook script run scripts/deal-moved.ts --event body.json --live",
		RunE: func(cmd *cobra.Command, args []string) error {
			if s.status < 100 || s.status > 599 {
				return usagef("", "--fetch-status must be from 100 to 599")
			}
			return c.runScript(cmd.Context(), args[0], s)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s.event, "event", "", "a type such as updated.deal, a file, an object in JSON, or the id of a stored event (default a type that it matches)")
	flags.StringVar(&s.listener, "listener", "", "run it as this listener, with its secrets and hosts")
	flags.IntVar(&s.status, "fetch-status", 200, "the status of the answers to fetch")
	flags.BoolVar(&s.live, "live", false, "do it: send, store and emit")
	return cmd
}

// ran is what --json prints.
type ran struct {
	File   string `json:"file"`
	Name   string `json:"name"`
	Event  string `json:"event"` // its id
	Type   string `json:"type"`
	Live   bool   `json:"live"`
	TookUS int64  `json:"tookUs"`
	scripttest.Result
}

func (c *cli) runScript(ctx context.Context, path string, s scriptRun) error {
	conf, err := c.trialConf()
	if err != nil {
		return err
	}
	t, err := trialOf(conf, path, s.listener)
	if err != nil {
		return err
	}
	program, err := t.compile()
	if err != nil {
		return err
	}
	return c.withAnyReader(ctx, func(r *store.Reader) (failed error) {
		ev, err := trialEvent(ctx, cmp.Or(s.event, t.usualEvent()), t.kind, r)
		if err != nil {
			return err
		}
		if ev.ID == "" {
			ev.ID = "trial"
		}
		rec := recording(conf.Pipedrive.Address(), r, s.status)
		if s.live {
			live, opened, err := newLiveHost(conf, t, slog.New(slog.NewTextHandler(c.stderr, nil)))
			if err != nil {
				return &usageError{err: err}
			}
			defer func() {
				live.Close()
				failed = joinClose(failed, opened.close)
			}()
			rec.Live = live
		}
		result, took := t.run(ctx, program, ev, rec)
		if !t.fits(&ev) && !c.json {
			fmt.Fprintf(c.stderr, "pipehook: warning: its match is %v: it would not be called for %s\n", patternTexts(t.match), plain(ev.Type()))
		}
		return c.printRan(ran{path, t.name, ev.ID, ev.Type(), s.live, took.Microseconds(), result})
	})
}

// recording does nothing outside, over what the store has.
func recording(account string, r *store.Reader, status int) *scripttest.Recorder {
	kv := &fixture.Overlay{}
	if r != nil {
		kv.Below = readOnlyKV(r)
	}
	return &scripttest.Recorder{Answer: scripttest.Stub(status), API: trialAPI(account), KVs: kv}
}

// withAnyReader gives nil when there is no store yet.
func (c *cli) withAnyReader(ctx context.Context, use func(*store.Reader) error) (err error) {
	url, err := c.readURL()
	if err != nil {
		return use(nil)
	}
	r, err := store.OpenReader(ctx, url)
	if errors.Is(err, fs.ErrNotExist) || core.KindOf(err) == core.Invalid {
		return use(nil)
	}
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, r.Close) }()
	return use(r)
}

func (c *cli) printRan(r ran) error {
	failed := func() error {
		if r.OK {
			return nil
		}
		return errors.New(strings.TrimPrefix(r.Error.At+": "+r.Error.Message, ": "))
	}
	if c.json {
		if err := c.printJSON(r); err != nil {
			return err
		}
		return failed()
	}
	showRan(newTestView(c.stdout), r, "nothing of this was done: --live does it")
	return failed()
}

// showRan prints what came of one call. undone is what is said of effects that were not done.
func showRan(v *testView, r ran, undone string) {
	mark := v.paint(green, "✓")
	if !r.OK {
		mark = v.paint(red, "✗")
	}
	fmt.Fprintf(v.w, "%s %s  %s  %s\n", mark, v.paint(bold, r.Name), strings.TrimPrefix(r.Type+" ", ". ")+v.paint(dim, r.Event), short(time.Duration(r.TookUS)*time.Microsecond))
	for _, l := range r.Logs {
		fmt.Fprintf(v.w, "  %-5s %s%s\n", l.Level, plain(l.Text), dataText(l.Data))
	}
	for _, e := range r.Effects {
		fmt.Fprintf(v.w, "  %s %s\n", v.paint(yellow, "→"), plain(e.String()))
	}
	if len(r.Effects) > 0 && !r.Live && undone != "" {
		fmt.Fprintln(v.w, v.paint(dim, "  "+undone))
	}
	switch {
	case r.Dropped != nil:
		fmt.Fprintf(v.w, "  dropped: %s\n", plain(*r.Dropped))
	case r.Rejected != nil:
		fmt.Fprintf(v.w, "  rejected with %d: %s\n", r.Rejected.Status, plain(r.Rejected.Message))
	case r.Value != nil:
		fmt.Fprintf(v.w, "  returned %s\n", plain(string(r.Value)))
	}
	if r.Error != nil && r.Error.Permanent {
		fmt.Fprintln(v.w, "  no other attempt would be made")
	} else if r.Error != nil && r.Error.RetryAfter > 0 {
		fmt.Fprintf(v.w, "  the next attempt would come in %s\n", time.Duration(r.Error.RetryAfter*float64(time.Second)))
	}
}

func dataText(data map[string]any) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(&b, "  %s=%s", plain(name), plain(fmt.Sprint(data[name])))
	}
	return b.String()
}
