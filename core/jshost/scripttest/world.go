package scripttest

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/fixture"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

// libraryName is what tests import.
const libraryName = "pipehook/test"

var (
	//go:embed api/format.js
	formatJS string
	//go:embed api/expect.js
	expectJS string
	//go:embed api/suite.js
	suiteJS string
	//go:embed api/mock.js
	mockJS string

	library = goja.MustCompile(libraryName, "(function (host) {\n\"use strict\";\n"+formatJS+expectJS+suiteJS+mockJS+
		"\nreturn { module: { test, it: test, describe, beforeEach, afterEach, expect, fixture, run, request, mock }, perform, answer };\n})", true)
)

// world is what one test sees, or the listing of a file's tests. It belongs to the goroutine that
// runs the test's call, but for what the recorder asks of it.
type world struct {
	ctx     context.Context
	file    *file
	index   int // of the test to run; below 0 the tests are listed
	title   string
	clock   *clock
	rec     *Recorder
	secrets map[string]string

	w        *engine.World
	answerer goja.Callable
	declared []declaration
	failure  *Failure
	lines    []engine.Line
	inRun    *[]engine.Line // where lines of the run go, while there is one
	unmocked string         // the first fetch of the run that nothing answers
	overdue  error          // how a run ended when the test's time was over
	lastRun  error          // how the last run failed
	fixtures int
	requests map[*goja.Object]*core.Event

	mu   sync.Mutex
	post func(func() error) // to the call that runs
}

// declaration is a test as its file declares it.
type declaration struct {
	name       string
	skip, only bool
	timeout    time.Duration
}

func newWorld(ctx context.Context, f *file, index int, title string) *world {
	w := &world{ctx: ctx, file: f, index: index, title: title, clock: &clock{now: begin}, secrets: map[string]string{}}
	w.rec = &Recorder{Answer: w.answer, API: f.opts.API, KVs: &fixture.Overlay{Now: w.clock.Now}}
	return w
}

func (w *world) options() engine.Options {
	return engine.Options{
		Name: w.file.listener(), Host: w.rec, Secrets: w.secrets, Clock: w.clock, Said: w.said,
		Library: &engine.Library{Name: libraryName, Load: w.load},
	}
}

func (w *world) said(l engine.Line) {
	if w.inRun != nil {
		*w.inRun = append(*w.inRun, l)
	}
	w.lines = append(w.lines, l)
}

// load makes the module.
func (w *world) load(ew *engine.World) (goja.Value, goja.Callable, error) {
	w.w = ew
	vm := ew.VM()
	made, err := vm.RunProgram(library)
	if err != nil {
		return nil, nil, err
	}
	host := vm.NewObject()
	for name, f := range map[string]func(goja.FunctionCall) goja.Value{
		"declared": w.declare, "failed": w.failed, "snapshot": w.snapshot, "now": w.now, "milliseconds": w.milliseconds,
		"secret": w.secret, "kv": w.kv, "fixture": w.fixture, "event": w.event, "request": w.request, "run": w.run, "checkRun": w.checkRun,
	} {
		if err := host.Set(name, f); err != nil {
			return nil, nil, err
		}
	}
	makeModule, _ := goja.AssertFunction(made)
	parts, err := makeModule(goja.Undefined(), host)
	if err != nil {
		return nil, nil, err
	}
	perform, _ := goja.AssertFunction(parts.ToObject(vm).Get("perform"))
	w.answerer, _ = goja.AssertFunction(parts.ToObject(vm).Get("answer"))
	main := func(goja.Value, ...goja.Value) (goja.Value, error) {
		if w.index < 0 {
			return goja.Undefined(), nil
		}
		w.setPoster(ew.Post())
		return perform(goja.Undefined(), vm.ToValue(w.index))
	}
	return parts.ToObject(vm).Get("module"), main, nil
}

func (w *world) poster() func(func() error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.post
}

func (w *world) setPoster(post func(func() error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.post = post
}

// fail throws an error into the test.
func (w *world) fail(err error) {
	panic(w.w.VM().NewTypeError("%s", err.Error()))
}

func (w *world) declare(call goja.FunctionCall) goja.Value {
	var names []string
	if err := w.w.VM().ExportTo(call.Argument(0), &names); err != nil {
		w.fail(err)
	}
	timeout := call.Argument(3).ToFloat()
	if !(timeout > 0 && timeout <= longestTest.Seconds()*1000) {
		timeout = 0
	}
	w.declared = append(w.declared, declaration{
		name: strings.Join(names, " › "), skip: call.Argument(1).ToBoolean(), only: call.Argument(2).ToBoolean(),
		timeout: time.Duration(timeout * float64(time.Millisecond)),
	})
	return goja.Undefined()
}

func (w *world) failed(call goja.FunctionCall) goja.Value {
	w.failure = failureOf(w.w.Explain(call.Argument(0)))
	w.failure.Message = strings.TrimPrefix(w.failure.Message, "AssertionError: ")
	if d, ok := call.Argument(1).(*goja.Object); ok {
		text := func(name string) string {
			if v := d.Get(name); v != nil && !goja.IsUndefined(v) {
				return v.String()
			}
			return ""
		}
		w.failure.Detail = (&detail{text("expected"), text("received"), text("note")}).text()
	}
	if w.lastRun != nil {
		w.failure.Detail = strings.Trim(w.failure.Detail+"\n\nthe last run failed: "+w.lastRun.Error(), "\n")
	}
	return goja.Undefined()
}

func (w *world) snapshot(call goja.FunctionCall) goja.Value {
	d := w.file.snapshots.match(w.title, call.Argument(1).String(), call.Argument(0).String())
	if d == nil {
		return goja.Undefined()
	}
	vm := w.w.VM()
	object := vm.NewObject()
	_ = object.Set("expected", d.Expected) // a plain new object takes any property
	_ = object.Set("received", d.Received)
	_ = object.Set("note", d.Note)
	return object
}

func (w *world) now(call goja.FunctionCall) goja.Value {
	w.clock.set(time.UnixMilli(call.Argument(0).ToInteger()).UTC())
	return goja.Undefined()
}

func (w *world) milliseconds(call goja.FunctionCall) goja.Value {
	v := call.Argument(0)
	if text, ok := v.Export().(string); ok {
		d, err := core.ParseDuration(text)
		if err != nil {
			w.fail(fmt.Errorf("mock.advance: %w", err))
		}
		return w.w.VM().ToValue(d.Milliseconds())
	}
	if ms := v.ToFloat(); !(ms >= 0) {
		w.fail(errors.New(`mock.advance wants milliseconds, or a duration such as "5m"`))
	}
	return v
}

func (w *world) secret(call goja.FunctionCall) goja.Value {
	w.secrets[call.Argument(0).String()] = call.Argument(1).String()
	return goja.Undefined()
}

func (w *world) kv(call goja.FunctionCall) goja.Value {
	op := &effect.KVOp{Op: "set", Key: call.Argument(0).String(), Value: []byte(call.Argument(1).String()), Shared: call.Argument(2).ToBoolean()}
	if _, err := w.rec.KVs.Do(w.ctx, w.file.listener(), op); err != nil {
		w.fail(err)
	}
	return goja.Undefined()
}

// fixture makes an event of what is recorded, or of a file beside the test.
func (w *world) fixture(call goja.FunctionCall) goja.Value {
	of, text := call.Argument(0).String(), call.Argument(1).String()
	if !fixture.IsFile(of) {
		ev, err := w.file.opts.Events.Recorded(of, text, w.clock.Now())
		if _, recorded := w.file.opts.Events.Sample(of); !recorded {
			err = fmt.Errorf("%w; or describe an event, fixture({ action, object, … })", err)
		}
		return w.made(ev, err)
	}
	if !filepath.IsAbs(of) {
		of = filepath.Join(filepath.Dir(w.file.path), of)
	}
	return w.made(w.file.opts.Events.File(of, text, w.clock.Now()))
}

func (w *world) event(call goja.FunctionCall) goja.Value {
	return w.made(w.file.opts.Events.Described(call.Argument(0).String(), call.Argument(1).String(), w.clock.Now()))
}

func (w *world) made(ev core.Event, err error) goja.Value {
	if err != nil {
		w.fail(err)
	}
	if w.fixtures++; ev.ID == "" {
		ev.ID = fmt.Sprintf("fixture-%d", w.fixtures)
	}
	return w.w.Event(&ev)
}

// request makes what a source is called with.
func (w *world) request(call goja.FunctionCall) goja.Value {
	vm := w.w.VM()
	var headers map[string]string
	if err := vm.ExportTo(call.Argument(1), &headers); err != nil {
		w.fail(fmt.Errorf("request: its headers are text by name: %w", err))
	}
	ev := &core.Event{ID: "fixture", Pipeline: w.file.opts.Events.Pipeline, Source: "script", ReceivedAt: w.clock.Now(), Header: http.Header{}, Body: []byte(call.Argument(0).String())}
	for name, value := range headers {
		ev.Header.Set(name, value)
	}
	made := w.w.Request(ev)
	if w.requests == nil {
		w.requests = map[*goja.Object]*core.Event{}
	}
	w.requests[made.ToObject(vm)] = ev
	return made
}

func (w *world) requestOf(v goja.Value) (*core.Event, bool) {
	object, ok := v.(*goja.Object)
	if !ok {
		return nil, false
	}
	ev, ok := w.requests[object]
	return ev, ok
}

// answer asks the test what a fetch gets. It runs on the operation's goroutine; the test's code on
// the run's.
func (w *world) answer(ctx context.Context, _ effect.Caller, req *engine.FetchRequest) (*engine.FetchResponse, error) {
	type outcome struct {
		resp *engine.FetchResponse
		err  error
	}
	answered := make(chan outcome, 1)
	w.poster()(func() error {
		vm := w.w.VM()
		headers := vm.NewObject()
		for _, h := range req.Header {
			_ = headers.Set(h[0], h[1]) // a plain new object takes any property
		}
		w.clock.asks(ctx)
		done := func(resp *engine.FetchResponse, err error) goja.Value {
			w.clock.answered(ctx)
			answered <- outcome{resp, err}
			return goja.Undefined()
		}
		_, err := w.answerer(goja.Undefined(), vm.ToValue(req.Method), vm.ToValue(req.URL), headers, vm.ToValue(string(req.Body)),
			vm.ToValue(func(call goja.FunctionCall) goja.Value { return done(w.response(req, call.Argument(0))) }),
			vm.ToValue(func(call goja.FunctionCall) goja.Value { return done(nil, w.mockFailed(call.Argument(0))) }))
		return err
	})
	select {
	case o := <-answered:
		return o.resp, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// mockFailed is a mock's function that threw: the test's mistake, not the network's.
func (w *world) mockFailed(thrown goja.Value) error {
	err := w.w.Explain(thrown)
	if w.unmocked == "" {
		w.unmocked = "mock.fetch: the function that answers failed: " + err.Error()
	}
	return &effect.Error{Code: "EMOCK", Msg: err.Error()}
}

// response reads what the test answers.
func (w *world) response(req *engine.FetchRequest, answer goja.Value) (*engine.FetchResponse, error) {
	if goja.IsNull(answer) {
		msg := fmt.Sprintf("nothing answers %s %s: add  mock.fetch(%q, { status: 200, json: {} });", req.Method, req.URL, Redactor(w.secrets).Replace(req.URL))
		if w.unmocked == "" {
			w.unmocked = msg
		}
		return nil, &effect.Error{Code: "EMOCK", Msg: msg}
	}
	var a struct {
		Status  int         `json:"status"`
		Headers [][2]string `json:"headers"`
		Body    string      `json:"body"`
		Error   *string     `json:"error"`
	}
	if err := json.Unmarshal([]byte(answer.String()), &a); err != nil {
		return nil, w.mockFailed(w.w.VM().ToValue(err.Error()))
	}
	if a.Error != nil {
		return nil, &effect.Error{Code: "EMOCK", Msg: *a.Error}
	}
	return &engine.FetchResponse{Status: a.Status, StatusText: http.StatusText(a.Status), URL: req.URL, Header: a.Headers, Body: []byte(a.Body)}, nil
}
