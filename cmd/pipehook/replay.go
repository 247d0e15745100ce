package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/scripttest"
	"github.com/pipehook/pipehook/core/store"
)

// replayFlags say over which events a script is tried.
type replayFlags struct {
	on               bool
	since            ago
	script, listener string
	limit            limit
	status           int
}

// replayOnly are the flags that mean something with --replay alone.
var replayOnly = []string{"since", "script", "listener", "limit", "fetch-status"}

func (f *replayFlags) add(cmd *cobra.Command) {
	f.limit = 200
	flags := cmd.Flags()
	flags.BoolVar(&f.on, "replay", false, "run --script over stored events, do nothing, and show what differs")
	flags.Var(&f.since, "since", "with --replay: only events received in the last …, such as 24h or 7d")
	flags.StringVar(&f.script, "script", "", "with --replay: the file that was edited")
	flags.StringVar(&f.listener, "listener", "", "with --replay: the listener whose present file it is compared with")
	flags.Var(&f.limit, "limit", "with --replay: how many events at most, the newest")
	flags.IntVar(&f.status, "fetch-status", 200, "with --replay: the status of the answers to fetch")
}

func (f *replayFlags) unused(cmd *cobra.Command) error {
	for _, name := range replayOnly {
		if cmd.Flags().Changed(name) {
			return usagef("add --replay, or leave it out", "--%s means something with --replay only", name)
		}
	}
	return nil
}

// replayed is what came of one event.
type replayed struct {
	Event string             `json:"event"`
	Type  string             `json:"type"`
	State string             `json:"state"` // same, changed, only new, only old
	New   *scripttest.Result `json:"new,omitempty"`
	Old   *scripttest.Result `json:"old,omitempty"`
	Diff  string             `json:"diff,omitempty"`
}

// The states of a replayed event. Nothing is what neither did.
const (
	replaySame    = "same"
	replayChanged = "changed"
	replayOnlyNew = "only new"
	replayOnlyOld = "only old"
	replayNothing = "nothing"
)

// replaySide is one version of the script, with effects of its own.
type replaySide struct {
	trial   *trial
	program *engine.Program
	rec     *scripttest.Recorder
}

func newReplaySide(account string, t *trial, r *store.Reader, status int) (*replaySide, error) {
	program, err := t.compile()
	if err != nil {
		return nil, err
	}
	return &replaySide{t, program, recording(account, r, status)}, nil
}

// wants reports whether the listener would get the event.
func (s *replaySide) wants(ev *core.Event) bool {
	l := s.trial.listener
	return wantsEvent(l, matchOf(wantedScript{Listener: l}, s.program.Match()), ev)
}

// run is nil for an event that this version does not get.
func (s *replaySide) run(ctx context.Context, ev core.Event) *scripttest.Result {
	if s == nil || !s.wants(&ev) {
		return nil
	}
	result, _ := s.trial.run(ctx, s.program, ev, s.rec)
	return &result
}

func (c *cli) replay(ctx context.Context, f replayFlags, args []string) error {
	if len(args) > 0 || f.script == "" {
		return usagef("pipehook test --replay --since 24h --script FILE", "--replay needs the script as --script, and no other files")
	}
	conf, err := c.trialConf()
	if err != nil {
		return err
	}
	edited, err := trialOf(conf, f.script, f.listener)
	if err != nil {
		return err
	}
	return c.withReader(ctx, func(r *store.Reader) error {
		now, err := newReplaySide(conf.Pipedrive.Address(), edited, r, f.status)
		if err != nil {
			return err
		}
		var was *replaySide
		if f.listener != "" {
			path := beside(conf, edited.listener.Script)
			if edited.listener.Script == "" || !edited.listener.IsScript() {
				if path, err = liveScript(conf, f.listener); err != nil {
					return err
				}
			}
			if samePath(path, f.script) {
				return usagef("save the new version as a file that begins with _, which is no listener, and give that as --script", "%s is the file that %s runs: there is nothing to compare it with", f.script, f.listener)
			}
			old := *edited
			old.path = path
			if was, err = newReplaySide(conf.Pipedrive.Address(), &old, r, f.status); err != nil {
				return err
			}
		}
		return c.replayOver(ctx, r, f, now, was)
	})
}

func (c *cli) replayOver(ctx context.Context, r *store.Reader, f replayFlags, now, was *replaySide) error {
	rows, err := r.Events(ctx, store.Filter{Since: f.since.from(time.Now()), Limit: int(f.limit)})
	if err != nil {
		return err
	}
	slices.Reverse(rows) // what comes later reads what was kept earlier
	p := c.newProgress("replayed", len(rows))
	all := []replayed{}
	for i := range rows {
		if ctx.Err() != nil {
			break
		}
		row, _, err := r.Event(ctx, rows[i].ID)
		if core.KindOf(err) == core.Invalid { // retention took it meanwhile
			continue
		}
		if err != nil {
			p.end()
			return err
		}
		ev, err := storedEvent(&row)
		if err != nil {
			p.end()
			return fmt.Errorf("event %s: %w", row.ID, err)
		}
		if one := compareRuns(&ev, now.run(ctx, ev), was.run(ctx, ev), was != nil); one != nil {
			all = append(all, *one)
		}
		p.at(i + 1)
	}
	p.end()
	if ctx.Err() != nil {
		return errors.New("stopped before all events were replayed")
	}
	return c.printReplay(all, len(rows), was != nil)
}

// compareRuns is nil for an event that no version gets.
func compareRuns(ev *core.Event, now, was *scripttest.Result, both bool) *replayed {
	if now == nil && was == nil {
		return nil
	}
	one := &replayed{Event: ev.ID, Type: ev.Type(), New: now, Old: was, State: replayOnlyNew}
	a, b := doneText(was), doneText(now)
	switch {
	case !both:
		one.State = map[bool]string{true: replayNothing, false: replayOnlyNew}[b == ""]
	case a == b && a == "":
		one.State = replayNothing
	case a == b:
		one.State = replaySame
	case a == "":
		one.State = replayOnlyNew
	case b == "":
		one.State = replayOnlyOld
	default:
		one.State = replayChanged
	}
	if both && a != b {
		one.Diff = scripttest.Diff(a, b)
	}
	return one
}

// doneText is all that a run came to that others can see, a line for each; empty when there is nothing.
func doneText(r *scripttest.Result) string {
	if r == nil {
		return ""
	}
	var lines []string
	for _, e := range r.Effects {
		lines = append(lines, e.String())
		for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
			lines = append(lines, "    "+name+": "+e.Headers[name])
		}
	}
	if r.Error != nil {
		lines = append(lines, "failed: "+r.Error.Message)
	}
	return strings.Join(lines, "\n")
}

func (c *cli) printReplay(all []replayed, looked int, both bool) error {
	counts := map[string]int{}
	failed := 0
	for _, one := range all {
		counts[one.State]++
		if one.New != nil && !one.New.OK {
			failed++
		}
	}
	if c.json {
		return c.printJSON(map[string]any{
			"events": all, "looked": looked, "same": counts[replaySame], "changed": counts[replayChanged], "onlyNew": counts[replayOnlyNew],
			"onlyOld": counts[replayOnlyOld], "nothing": counts[replayNothing], "failed": failed,
		})
	}
	v := newTestView(c.stdout)
	for _, one := range all {
		if one.State == replaySame || one.State == replayNothing {
			continue
		}
		fmt.Fprintf(v.w, "%s  %s  %s\n", v.paint(bold, one.Type), v.paint(dim, one.Event), one.State)
		text := one.Diff
		if !both || text == "" {
			text = doneText(one.New)
		}
		fmt.Fprintf(v.w, "    %s\n", v.diffColors(plainLines(text, "    ")))
	}
	words := []string{}
	for _, state := range []string{replaySame, replayChanged, replayOnlyNew, replayOnlyOld} {
		if both || state == replayOnlyNew && counts[state] > 0 {
			words = append(words, fmt.Sprint(counts[state], " ", cmp.Or(map[bool]string{false: "with effects"}[both], state)))
		}
	}
	words = append(words, fmt.Sprint(counts[replayNothing], " without effects"))
	if failed > 0 {
		words = append(words, v.paint(red, fmt.Sprint(failed, " failed")))
	}
	fmt.Fprintf(v.w, "\n%s looked at, %d matched: %s. Nothing was done.\n", counted(looked, "event"), len(all), strings.Join(words, ", "))
	return nil
}
