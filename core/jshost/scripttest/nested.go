package scripttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

// Result is what a test sees of a run.
type Result struct {
	OK       bool            `json:"ok"`
	Error    *RunError       `json:"error,omitempty"`
	Value    json.RawMessage `json:"value,omitempty"`
	Logs     []Log           `json:"logs"`
	Effects  []Effect        `json:"effects"`
	Dropped  *string         `json:"dropped,omitempty"`
	Rejected *Rejection      `json:"rejected,omitempty"`
}

// RunError is how a run failed.
type RunError struct {
	Message    string  `json:"message"`
	At         string  `json:"at"`
	Permanent  bool    `json:"permanent"`
	RetryAfter float64 `json:"retryAfter,omitempty"` // seconds
}

// Rejection is what a stage turned a request away with.
type Rejection struct {
	Status  int    `json:"status"`
	Message string `json:"message"`
}

// Log is a line that a run logged.
type Log struct {
	Level string         `json:"level"`
	Text  string         `json:"text"`
	Data  map[string]any `json:"data,omitempty"`
}

// ResultOf shows an engine's result and what was done meanwhile, without secrets.
func ResultOf(r engine.Result, lines []engine.Line, effects []Effect, secrets map[string]string) Result {
	hide := Redactor(secrets)
	out := Result{OK: r.Err == nil, Value: r.Value, Logs: []Log{}, Effects: []Effect{}}
	for _, l := range lines {
		log := Log{Level: strings.ToLower(l.Level.String()), Text: hide.Replace(l.Msg)}
		for _, attr := range l.Attrs {
			if log.Data == nil {
				log.Data = map[string]any{}
			}
			log.Data[attr.Key] = attr.Value.Any()
			if text, ok := log.Data[attr.Key].(string); ok {
				log.Data[attr.Key] = hide.Replace(text)
			}
		}
		out.Logs = append(out.Logs, log)
	}
	for _, e := range effects {
		out.Effects = append(out.Effects, e.Redacted(hide))
	}
	if dropped, ok := errors.AsType[*engine.Dropped](r.Err); ok {
		out.OK, out.Dropped = true, &dropped.Reason
		return out
	}
	if rejected, ok := errors.AsType[*engine.Rejected](r.Err); ok {
		out.OK, out.Rejected = true, &Rejection{rejected.Status, rejected.Msg}
		return out
	}
	if r.Err != nil {
		out.Error = runError(r.Err)
		out.Error.Message = hide.Replace(out.Error.Message)
	}
	return out
}

func runError(err error) *RunError {
	f := failureOf(err)
	e := &RunError{Message: f.Message, At: f.Place()}
	if meaning, ok := errors.AsType[*core.Error](err); ok {
		e.Permanent, e.RetryAfter = meaning.Kind == core.Permanent, meaning.RetryAfter.Seconds()
	}
	return e
}

func asScript(err error) (*engine.ScriptError, bool) { return errors.AsType[*engine.ScriptError](err) }
func asCompile(err error) (*engine.CompileError, bool) {
	return errors.AsType[*engine.CompileError](err)
}

var notGranted = regexp.MustCompile(`^(.*ctx\.secrets\.(\w+) )is not granted to `)

const (
	defaultRun = 5 * time.Second // of the test's clock: what a listener has
	longestRun = 24 * time.Hour
)

// asked is the call that a test wants.
func (w *world) asked(call goja.FunctionCall) engine.Call {
	c := engine.Call{Kind: engine.Stage, Timeout: defaultRun}
	if ev, ok := w.w.EventOf(call.Argument(1)); ok {
		c.Event = ev
	} else if ev, ok := w.requestOf(call.Argument(1)); ok {
		c.Kind, c.Event = engine.Source, ev
	} else {
		w.fail(errors.New(`run wants an event or a request: run(handler, fixture("updated.deal")), run(source, request(body, headers))`))
	}
	if options, ok := call.Argument(2).(*goja.Object); ok {
		if v := options.Get("attempt"); v != nil && !goja.IsUndefined(v) {
			if c.Attempt = int(v.ToInteger()); c.Attempt < 1 {
				w.fail(errors.New("run: attempt is a number from 1"))
			}
		}
		if v := options.Get("timeout"); v != nil && !goja.IsUndefined(v) {
			c.Timeout = time.Duration(v.ToFloat() * float64(time.Millisecond))
			if c.Timeout <= 0 || c.Timeout > longestRun {
				w.fail(errors.New("run: timeout is in milliseconds, above 0 and at most a day"))
			}
		}
	}
	return c
}

// checkRun refuses what run could not call, at the place where it stands.
func (w *world) checkRun(call goja.FunctionCall) goja.Value {
	w.asked(call)
	return goja.Undefined()
}

// run calls a function of a script as pipehook would. It returns a promise for the result as JSON.
func (w *world) run(call goja.FunctionCall) goja.Value {
	f, _ := goja.AssertFunction(call.Argument(0))
	c := w.asked(call)
	return w.w.Later("run", func() goja.Value {
		text, err := json.Marshal(w.perform(c, f))
		if err != nil {
			text, _ = json.Marshal(Result{Error: &RunError{Message: err.Error()}})
		}
		return w.w.VM().ToValue(string(text))
	})
}

// perform makes one call within the test's. Its deadline is one of the test's clock.
func (w *world) perform(c engine.Call, f goja.Callable) Result {
	var lines []engine.Line
	w.rec.Take() // what the test itself did is not the script's
	w.inRun, w.unmocked = &lines, ""
	ctx, cancel := context.WithCancelCause(w.ctx)
	stop := w.clock.AfterFunc(c.Timeout, func() { cancel(context.DeadlineExceeded) })
	outer := w.poster()
	r := w.w.Call(ctx, c, func(this goja.Value, args ...goja.Value) (goja.Value, error) {
		w.setPoster(w.w.Post())
		return f(this, args...)
	})
	w.setPoster(outer)
	stop()
	cancel(nil)
	w.inRun = nil
	if w.ctx.Err() != nil { // it was the test's own time that was over
		w.overdue = r.Err
	}
	if w.unmocked != "" {
		at := w.file.path
		if e, ok := asScript(r.Err); ok {
			at = (&Failure{File: e.File, Line: e.Line, Column: e.Column}).Place()
		}
		r.Err = fmt.Errorf("%s: %s", at, w.unmocked)
	}
	w.lastRun = nil
	result := ResultOf(r, lines, w.rec.Take(), w.secrets)
	if !result.OK {
		if m := notGranted.FindStringSubmatch(result.Error.Message); m != nil { // a test has no configuration
			result.Error.Message = m[1] + fmt.Sprintf("is not granted: add  mock.secret(%q, \"…\");", m[2])
		}
		w.lastRun = errors.New(strings.TrimPrefix(result.Error.At+": "+result.Error.Message, ": "))
	}
	return result
}
