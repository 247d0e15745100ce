package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/scripttest"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/core/store"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// pluginEvents say which events a plugin is tried with.
type pluginEvents struct {
	named []string
	last  limit
	match string
	binaryFlags
}

func (c *cli) pluginTestCommand() *cobra.Command {
	var e pluginEvents
	cmd := &cobra.Command{
		Use: "test NAME|PATH", Short: "Send events to a plugin on the side and show what it does", Args: cobra.ExactArgs(1),
		Long:    "Start a plugin on the side with the configuration that it has in pipeline.toml, send it samples, files or\nstored events one after another, and show what came of each. Nothing is stored: what the plugin remembers\nand emits through pipehook is only shown. What it does elsewhere by itself it does.",
		Example: "  pipehook plugin test deal-audit\n  pipehook plugin test deal-audit --event added.person --event body.json\n  pipehook plugin test ./build/enrich --last 20 --match \"*.deal\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			stored := cmd.Flags().Changed("last") || e.match != ""
			if stored && len(e.named) > 0 {
				return usagef("leave one of them out", "--event names events, and --last and --match choose among those that are stored")
			}
			return c.tryPlugin(cmd.Context(), args[0], e, stored)
		},
	}
	e.last = 20
	e.add(cmd)
	cmd.Flags().StringArrayVar(&e.named, "event", nil, "a type such as updated.deal, a file, an object in JSON, or the id of a stored event; may be given again (default a type that it matches)")
	cmd.Flags().Var(&e.last, "last", "the newest stored events, so many")
	cmd.Flags().StringVar(&e.match, "match", "", "the newest stored events that fit a pattern, such as updated.deal")
	return cmd
}

func (c *cli) tryPlugin(ctx context.Context, name string, e pluginEvents, stored bool) error {
	conf, uses, err := c.pluginsConf()
	if err != nil {
		return err
	}
	chosen, err := choosePlugins(conf, uses, []string{name})
	if err == nil {
		err = e.set(conf, chosen)
	}
	if err != nil {
		return err
	}
	if len(chosen) > 1 {
		var hint string
		for _, u := range chosen {
			hint += ", " + u.spec.Kind + ":" + u.spec.Name
		}
		return usagef("choose one of "+hint[2:], "several places of the configuration name %s", name)
	}
	use := &chosen[0]
	return c.withAnyReader(ctx, func(r *store.Reader) (err error) {
		bench, err := openPluginBench(conf, recording(conf.Pipedrive.Address(), r, http.StatusOK))
		if err != nil {
			return err
		}
		defer func() { err = joinClose(err, bench.close) }()
		p, _, err := bench.start(ctx, use)
		if err != nil {
			return err
		}
		events, err := use.events(ctx, e, stored, r)
		if err != nil {
			return err
		}
		tried, measured := bench.try(ctx, p, use, events)
		err = c.printTried(use, tried, measured)
		if ctx.Err() != nil {
			return fmt.Errorf("it was interrupted after %d of %s", len(tried), counted(len(events), "event"))
		}
		return err
	})
}

// events are those that the plugin is tried with.
func (u *placedPlugin) events(ctx context.Context, e pluginEvents, stored bool, r *store.Reader) (events []core.Event, err error) {
	if stored {
		return u.stored(ctx, e, r)
	}
	kind := map[string]engine.Kind{wire.Stage: engine.Stage, wire.Source: engine.Source}[u.spec.Kind]
	named := e.named
	if len(named) == 0 {
		if u.spec.Kind == wire.Source {
			return nil, usagef("give a body with --event FILE, or as it is, such as '{\"id\":7}'", "what a source's sender sends is not known here")
		}
		usual := &trial{listener: u.listener, match: u.listener.Match}
		named = []string{usual.usualEvent()}
	}
	for i, name := range named {
		var ev core.Event
		if u.spec.Kind == wire.Source && strings.HasPrefix(name, "{") {
			ev = core.Event{ReceivedAt: time.Now(), Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(name)}
		} else if ev, err = trialEvent(ctx, name, kind, r); err != nil {
			return nil, err
		}
		ev.ID = cmp.Or(ev.ID, fmt.Sprint("trial-", i+1))
		events = append(events, ev)
	}
	return events, nil
}

// stored are the newest events that fit, the oldest of them first.
func (u *placedPlugin) stored(ctx context.Context, e pluginEvents, r *store.Reader) (events []core.Event, err error) {
	if r == nil {
		return nil, usagef("use --event, or name the database with --store", "there is no store here to read events from")
	}
	f := store.Filter{Limit: int(e.last)}
	if e.match != "" {
		if f.Match, err = core.ParsePattern(e.match); err != nil {
			return nil, usagef("write it as action.object, such as updated.deal or *.deal", "--match: %w", err)
		}
	}
	rows, err := r.Events(ctx, f)
	if err != nil {
		return nil, err
	}
	slices.Reverse(rows)
	for i := range rows {
		row, _, err := r.Event(ctx, rows[i].ID)
		if core.KindOf(err) == core.Invalid { // retention took it meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		ev, err := storedEvent(&row)
		if err != nil {
			return nil, fmt.Errorf("event %s: %w", row.ID, err)
		}
		events = append(events, ev)
	}
	return events, nil
}

// What is printed, and not logged, comes by another way than the answer.
const (
	settle    = 5 * time.Millisecond   // after a call, for what was printed in it
	lastWords = 100 * time.Millisecond // after all of them: what is under way when the plugin ends is lost
)

// triedCall is one event's call.
type triedCall struct {
	result  engine.Result
	effects []scripttest.Effect
	ended   time.Time
	lines   []heardLine
}

// try sends the events one after another, and stops the plugin: then all that it has said is known.
func (b *pluginBench) try(ctx context.Context, p *plughost.Plugin, u *placedPlugin, events []core.Event) (tried []triedEvent, measured []string) {
	var calls []triedCall
	began := time.Now()
	for i := range events {
		if ctx.Err() != nil {
			break
		}
		one := triedCall{result: u.call(ctx, p, events[i])}
		one.effects, one.ended = b.asked.Take(), time.Now()
		calls = append(calls, one)
		time.Sleep(settle)
	}
	time.Sleep(lastWords)
	stopPlugin(p)
	b.attribute(calls, events, began)
	for i, one := range calls {
		result := pluginResult(&one.result, one.lines, one.effects, u.spec.Secrets)
		tried = append(tried, triedEvent{events[i].ID, events[i].Type(), one.result.Took.Microseconds(), result})
	}
	for _, m := range b.asked.measured() {
		word := "count " + m.Name + " +"
		if m.Gauge {
			word = "gauge " + m.Name + " "
		}
		measured = append(measured, fmt.Sprint(word, m.Value))
	}
	return tried, measured
}

// attribute gives each call what was said in it: about its event, or before it ended. What was said at
// the start is left out, since plugin check shows that.
func (b *pluginBench) attribute(calls []triedCall, events []core.Event, began time.Time) {
	for _, l := range b.heard.take() {
		if l.at.Before(began) {
			continue
		}
		at := slices.IndexFunc(events[:len(calls)], func(ev core.Event) bool { return l.Event != "" && ev.ID == l.Event })
		if at < 0 {
			at = slices.IndexFunc(calls, func(c triedCall) bool { return l.at.Before(c.ended.Add(settle)) })
		}
		if at < 0 {
			at = len(calls) - 1
		}
		if at >= 0 {
			calls[at].lines = append(calls[at].lines, l)
		}
	}
}

// call makes one call, and gives what came of it the form that scripts give it.
func (u *placedPlugin) call(ctx context.Context, p *plughost.Plugin, ev core.Event) (r engine.Result) {
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	began := time.Now()
	defer func() { r.Took = time.Since(began) }()
	t := &triedPlugin{Plugin: p, name: u.spec.Name}
	switch u.spec.Kind {
	case wire.Stage:
		return t.stage(ctx, u, &ev)
	case wire.Source:
		return t.source(ctx, u, &ev)
	}
	one := []core.Delivery{{Event: ev}}
	p.HandleBatch(ctx, u.timeout, one, func(int) bool { return true }, func(_ int, out core.Outcome) { r.Err = out.Err })
	return r
}
