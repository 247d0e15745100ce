package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/fixture"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/scripttest"
	"github.com/pipehook/pipehook/core/store"
)

// trial is a script that is run to see what it does.
type trial struct {
	path     string
	kind     engine.Kind
	name     string // as the configuration has it, or the file's
	timeout  time.Duration
	terms    terms
	match    []core.Pattern  // what it is called for; known once compiled, and only of a listener
	listener config.Listener // for a listener; its defaults when no table names the file
}

// trialConf is the configuration for a trial: none is needed.
func (c *cli) trialConf() (*config.Config, error) {
	conf, _, err := c.loadOrExample()
	if conf != nil { // mistakes elsewhere in the file don't matter here
		return conf, nil
	}
	return nil, err
}

// trialOf finds out what the configuration says of a file. name chooses among several listeners, or
// is that of another file's.
func trialOf(conf *config.Config, path, name string) (*trial, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		hint := "pipehook script new " + fileName(path)
		wanted, _ := wantedScripts(conf) // the error matters to others
		for _, w := range wanted {
			if w.Name == fileName(path) && w.wrong == "" {
				hint = "did you mean " + w.path + "?"
			}
		}
		return nil, usagef(hint, "there is no file %s", path)
	}
	t := &trial{path: path, name: fileName(path), listener: config.ListenerDefaults(), terms: termsOf(conf, 1, nil, nil)}
	if name != "" {
		t.name = name
	}
	t.timeout = t.listener.Timeout
	for _, l := range conf.Listeners {
		if l.IsScript() && (name != "" && l.Name == name || name == "" && samePath(beside(conf, l.Script), path)) {
			t.listener, t.name, t.timeout, t.terms = l, l.Name, l.Timeout, termsOf(conf, 1, l.AllowHosts, l.Secrets)
			return t, nil
		}
	}
	if name != "" || t.inChain(conf) {
		return t, nil
	}
	wanted, _ := wantedScripts(conf) // of the others the rest matters not
	for _, w := range wanted {
		if samePath(w.path, path) {
			t.name = w.Name
		}
	}
	return t, nil
}

// inChain goes by what the chains say of the file, and by its folder where none names it. It reports
// whether the file is no listener.
func (t *trial) inChain(conf *config.Config) bool {
	draft := bareDraft(conf)
	_, _ = assemble(conf, bareDeps(conf), draft) // what is wrong otherwise is said elsewhere
	for _, s := range draft.wants {
		if samePath(s.path, t.path) {
			t.kind, t.name, t.terms = s.kind, s.caller(), s.terms
			return true
		}
	}
	switch filepath.Base(filepath.Dir(t.path)) {
	case scriptKinds["stage"]:
		t.kind = engine.Stage
	case scriptKinds["source"]:
		t.kind = engine.Source
	}
	return t.kind != engine.Listener
}

func samePath(a, b string) bool {
	one, err := filepath.Abs(a)
	other, wrong := filepath.Abs(b)
	return err == nil && wrong == nil && one == other
}

func fileName(path string) string {
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// run makes one call and says what came of it.
func (t *trial) run(ctx context.Context, p *engine.Program, ev core.Event, rec *scripttest.Recorder) (scripttest.Result, time.Duration) {
	var lines []engine.Line
	pool := engine.NewPool(p, engine.Options{Name: t.name, Host: rec, Secrets: t.terms.secrets, Said: func(l engine.Line) { lines = append(lines, l) }})
	defer pool.Close()
	var result engine.Result
	pool.Run(ctx, []engine.Call{{Kind: t.kind, Event: &ev, Timeout: t.timeout, Attempt: 1}}, func(_ int, r engine.Result) { result = r })
	return scripttest.ResultOf(result, lines, rec.Take(), t.terms.secrets), result.Took
}

// compile is the file of the trial, as code and as what runs here.
func (t *trial) compile() (*engine.Program, error) {
	built, err := compileHandler(t.terms.isolated, t.path)
	if err != nil {
		return nil, &usageError{err: err}
	}
	if t.kind == engine.Listener {
		if t.match = t.listener.Match; len(t.match) == 0 {
			t.match = built.Match
		}
	}
	return engine.Compile(built.Code)
}

// fits reports whether the listener's patterns let it be called for the event.
func (t *trial) fits(ev *core.Event) bool {
	return len(t.match) == 0 || slices.ContainsFunc(t.match, func(p core.Pattern) bool { return p.Match(ev) })
}

// usualEvent is a type of which there is a sample and that the script is called for, if there is one.
func (t *trial) usualEvent() string {
	const usual = "updated.deal"
	events := trialEvents()
	for _, name := range append([]string{usual}, events.Types...) {
		if ev, err := events.Recorded(name, "{}", time.Now()); err == nil && t.fits(&ev) {
			return name
		}
	}
	return usual
}

// readOnlyKV is what a store has of a script's kv, to lay others over.
func readOnlyKV(r *store.Reader) func(context.Context, string, *effect.KVOp) (*effect.KVResult, error) {
	return func(ctx context.Context, script string, op *effect.KVOp) (*effect.KVResult, error) {
		if op.Shared {
			script = ""
		}
		result := &effect.KVResult{}
		if op.Op == "get" {
			e, ok, err := r.KVGet(ctx, script, op.Key)
			result.OK, result.Entry = ok, effect.KVEntry(e)
			return result, err
		}
		entries, more, err := r.KVList(ctx, script, store.KVRange{Prefix: op.Prefix, After: op.After, Limit: op.Limit})
		for _, e := range entries {
			result.Entries = append(result.Entries, effect.KVEntry(e))
		}
		result.More = more
		return result, err
	}
}

// storedEvent is a stored event as a listener gets it.
func storedEvent(row *store.Event) (core.Event, error) {
	ev := core.Event{
		ID: row.ID, Pipeline: row.Pipeline, Source: row.Source, Action: row.Action, Object: row.Object, ObjectID: row.ObjectID,
		ReceivedAt: time.UnixMicro(row.ReceivedAt).UTC(), Header: http.Header{}, Body: row.Body,
		Labels: core.ParseLabels(row.Labels), Overlay: row.Overlay,
	}
	if row.OccurredAt != 0 {
		ev.OccurredAt = time.UnixMicro(row.OccurredAt).UTC()
	}
	if row.Header != "" {
		if err := json.Unmarshal([]byte(row.Header), &ev.Header); err != nil {
			return ev, err
		}
	}
	return ev, restore(&ev)
}

var eventType = regexp.MustCompile(`^[a-z_-]+\.[A-Za-z0-9_-]+$`)

// trialEvent is the event that --event names: a file, a type of which there is a sample, an object in
// JSON that describes one, or the id of a stored one. A source gets the file as a body, whatever it holds.
func trialEvent(ctx context.Context, name string, kind engine.Kind, r *store.Reader) (core.Event, error) {
	events := trialEvents()
	_, err := os.Stat(name)
	switch {
	case kind == engine.Source && (err == nil || fixture.IsFile(name)):
		body, err := os.ReadFile(name)
		if err != nil {
			return core.Event{}, usagef("", "--event: %w", err)
		}
		return core.Event{Source: config.ScriptSource, ReceivedAt: time.Now(), Header: http.Header{"Content-Type": {"application/json"}}, Body: body}, nil
	case err == nil || fixture.IsFile(name):
		ev, err := events.File(name, "{}", time.Now())
		if err != nil {
			return ev, usagef("a file holds a body, or what  pipehook events show ID --json  prints", "--event: %w", err)
		}
		return ev, nil
	case strings.HasPrefix(name, "{"):
		ev, err := events.Described(name, "{}", time.Now())
		if err != nil {
			return ev, usagef(`such as '{"action":"added","object":"invoice","current":{"id":7}}'`, "--event: %w", err)
		}
		return ev, nil
	case eventType.MatchString(name):
		ev, err := events.Recorded(name, "{}", time.Now())
		if err != nil {
			return ev, usagef(sampleHint(name)+"; a file will do, or the event itself as JSON", "--event: there is no sample of %q", name)
		}
		return ev, nil
	case r == nil:
		return core.Event{}, usagef("give a file or a type such as updated.deal", "--event %s: there is no store here to read an event from", name)
	}
	row, _, err := r.Event(ctx, name)
	if core.KindOf(err) == core.Invalid {
		return core.Event{}, &hinted{err, "pipehook events list, or a type such as updated.deal"}
	}
	if err != nil {
		return core.Event{}, err
	}
	return storedEvent(&row)
}

// liveScript is the file of a listener that no table of the configuration describes.
func liveScript(conf *config.Config, name string) (string, error) {
	wanted, err := wantedScripts(conf)
	var names []string
	for _, w := range wanted {
		if w.Name == name {
			return w.path, nil
		}
		names = append(names, w.Name)
	}
	if err != nil {
		return "", err
	}
	return "", usagef("choose one of "+strings.Join(names, ", "), "there is no listener %q that is a script", name)
}
