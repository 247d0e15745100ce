package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/ingress"
	"github.com/pipehook/pipehook/core/jshost"
)

// patience is how long the lines of an event wait for that of its request, which is printed first.
const patience = 100 * time.Millisecond

// liveView prints what happens for a person to read: a line for each request, and below it what
// its listeners said and came to.
type liveView struct {
	color bool

	mu      sync.Mutex
	w       io.Writer
	seen    map[string]string   // what events are called whose request was printed, newest only
	waiting map[string][]string // lines of events whose request was not printed yet
	called  map[string]string   // what events of waiting are called, where that is known
	last    string              // the event whose line was printed last
}

func newLiveView(w io.Writer) *liveView {
	return &liveView{w: w, color: isTerminal(w), seen: map[string]string{}, waiting: map[string][]string{}, called: map[string]string{}}
}

func (v *liveView) paint(code, text string) string {
	if !v.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

const (
	green, yellow, red, dim, bold = "32", "33", "31", "2", "1"
)

func (v *liveView) banner(conf *config.Config, example bool, address string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintf(v.w, "%s %s\n\n", v.paint(bold, "pipehook dev"), currentVersion())
	for _, p := range conf.Pipelines {
		fmt.Fprintf(v.w, "  hook      http://%s%s   (%s)\n", address, p.Path, strings.Join(kindsOf(p), " → "))
	}
	fmt.Fprintf(v.w, "  scripts   %s   edit one and save: the next event runs it\n", beside(conf, conf.Scripts.Dir))
	if example {
		fmt.Fprintf(v.w, "  store     %s   the example configuration; pipehook init makes one of your own\n", devFolder)
	}
	for _, cost := range warnings(conf) {
		fmt.Fprintf(v.w, "  %s %s\n", v.paint(yellow, "warning"), cost)
	}
	fmt.Fprintf(v.w, "  try       pipehook trigger added.person     stop with Ctrl-C\n\n")
}

func (v *liveView) request(o ingress.Outcome) {
	code := v.paint(green, o.Code)
	if o.Err != nil {
		code = v.paint(red, fmt.Sprint(o.Status, " ", o.Code))
	}
	name := ""
	if o.Event.Action != "" {
		name = o.Event.Type() + " " + o.Event.ObjectID
	}
	line := fmt.Sprintf("%s  %s  %s  %s  %s", v.clock(), v.paint(bold, plain(name)), code, short(o.Took), v.paint(dim, o.Event.ID))
	if o.Err != nil {
		line += "\n          " + plain(o.Err.Error())
	}
	for _, step := range o.Event.Steps {
		if what, text, remarked := strings.Cut(step.Verdict, ": "); remarked { // dropped: …, failed: …
			line += fmt.Sprintf("\n          %s %s", v.paint(yellow, step.Stage+" "+what+":"), plain(text))
		}
	}
	if len(o.Event.Labels) > 0 {
		line += "\n          " + v.paint(dim, "labels:")
		for _, name := range slices.Sorted(maps.Keys(o.Event.Labels)) {
			line += plain(" " + name + "=" + o.Event.Labels[name])
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintln(v.w, line)
	if len(v.seen) > 1000 {
		clear(v.seen)
	}
	v.seen[o.Event.ID], v.last = name, o.Event.ID
	v.flush(o.Event.ID)
}

func (v *liveView) said(l jshost.Line) {
	color := dim
	if l.Level >= slog.LevelWarn {
		color = yellow
	}
	v.below(l.Event, "", fmt.Sprintf("          %s %s", v.paint(color, l.Listener+":"), plain(l.Text)))
}

func (v *liveView) attempt(ev *core.Event, a core.Attempt) {
	mark, rest := v.paint(green, "✓"), ""
	switch a.State {
	case core.Waiting:
		mark, rest = v.paint(yellow, "↻"), fmt.Sprintf("  again in %s\n            %s", short(a.Wait), plain(a.Err))
	case core.Dead:
		mark, rest = v.paint(red, "✗"), "  given up\n            "+plain(a.Err)
	case core.Skipped:
		mark, rest = v.paint(dim, "–"), "  skipped: "+plain(a.Err)
	case core.Quarantined:
		mark, rest = v.paint(red, "✗"), "  quarantined: "+plain(a.Err)
	}
	number := ""
	if a.Number > 1 {
		number = fmt.Sprintf(", attempt %d", a.Number)
	}
	v.below(ev.ID, strings.TrimSpace(ev.Type()+" "+ev.ObjectID), fmt.Sprintf("          %s %s  %s%s%s", mark, a.Listener, short(a.Took), number, rest))
}

// below prints a line of an event, after that of its request. Below a line of another event, it says
// again which event it is. called may be empty when that is not known.
func (v *liveView) below(event, called, line string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if name, seen := v.seen[event]; seen {
		if v.last != event {
			v.heading(event, cmp.Or(called, name))
		}
		fmt.Fprintln(v.w, line)
		return
	}
	if len(v.waiting[event]) == 0 { // perhaps an event of an earlier run, which has no request now
		time.AfterFunc(patience, func() {
			v.mu.Lock()
			defer v.mu.Unlock()
			if len(v.waiting[event]) > 0 {
				v.heading(event, v.called[event])
				v.seen[event] = v.called[event]
				v.flush(event)
			}
		})
	}
	v.waiting[event] = append(v.waiting[event], line)
	if called != "" {
		v.called[event] = called
	}
}

func (v *liveView) heading(event, called string) {
	v.last = event
	if called != "" {
		called = v.paint(bold, plain(called)) + "  "
	}
	fmt.Fprintf(v.w, "%s  %s%s\n", v.clock(), called, v.paint(dim, event))
}

func (v *liveView) flush(event string) {
	for _, line := range v.waiting[event] {
		fmt.Fprintln(v.w, line)
	}
	delete(v.waiting, event)
	delete(v.called, event)
}

// broken shows the line of code that does not compile.
func (v *liveView) broken(err error) {
	e, ok := errors.AsType[*jshost.CompileError](err)
	if !ok || e.Frame == "" {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for line := range strings.Lines(e.Frame) {
		fmt.Fprintf(v.w, "          %s\n", plain(strings.TrimSuffix(line, "\n")))
	}
}

func (v *liveView) note(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintln(v.w, plain(text))
}

func (v *liveView) clock() string { return v.paint(dim, time.Now().Format(time.TimeOnly)) }

func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}

// logWriter is where the log goes, so that its lines do not cut into the view's.
func (v *liveView) logWriter() io.Writer {
	if f, ok := v.w.(*os.File); ok && v.color {
		return f // a terminal gets the log's own colours; lines are written whole
	}
	return lineWriter{v}
}

type lineWriter struct{ v *liveView }

func (l lineWriter) Write(p []byte) (int, error) {
	l.v.mu.Lock()
	defer l.v.mu.Unlock()
	_, err := l.v.w.Write(bytes.Clone(p))
	return len(p), err
}
