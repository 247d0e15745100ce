package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/core/source/guest"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
	stage "github.com/pipehook/pipehook/stages/plugin"
)

// runningPlugin is a plugin of the configuration, which listeners, stages and sources call: one process
// or, while its binary is replaced, two.
type runningPlugin struct {
	pluginUse
	slots chan struct{} // of size

	mu    sync.Mutex
	term  *term
	file  fileStamp // that was taken last, good or not
	wrong string    // why it is not used; empty when it is
	since time.Time // that is known
	ended bool
	heir  *runningPlugin // has the calls of who has not heard of the end; may be nil
}

// term is the time of one binary, and counts the calls that it has.
type term struct {
	*plughost.Plugin
	calls sync.WaitGroup
}

// begin starts the plugin from its file as it is now, or attaches to the process that it is.
func (s *pluginSet) begin(use pluginUse) *runningPlugin {
	file := binaryStamp(use.spec.Path) // before it is read, so that no change is missed
	use.spec.Attach = s.attach[use.spec.File()]
	return &runningPlugin{pluginUse: use, slots: make(chan struct{}, max(use.size, 1)), file: file, term: &term{Plugin: s.host.Try(use.spec)}}
}

// enter is the term that a call is made in; nil when there is none any more. The call is over when calls
// is told so.
func (r *runningPlugin) enter() *term {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.ended:
		r.term.calls.Add(1)
		return r.term
	case r.heir != nil:
		return r.heir.enter()
	}
	return nil
}

// plugin is what runs at the moment.
func (r *runningPlugin) plugin() *plughost.Plugin {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.term.Plugin
}

// move notes that the plugin stands at another place of the configuration.
func (r *runningPlugin) move(at pluginPlace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = at
}

func (r *runningPlugin) stands() pluginPlace {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

// swap gives all calls from now on to another. It returns the term that is over, and false when the
// plugin is not wanted any more.
func (r *runningPlugin) swap(next *plughost.Plugin) (old *term, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil, false
	}
	old, r.term, r.wrong = r.term, &term{Plugin: next}, ""
	return old, true
}

// finish ends a term once its calls have ended.
func (t *term) finish() {
	t.calls.Wait()
	t.Stop(context.Background())
}

// end ends the plugin once its calls have ended. Later ones are for the heir, when there is one.
func (r *runningPlugin) end(heir *runningPlugin) {
	r.mu.Lock()
	r.ended, r.heir = true, heir
	t := r.term
	r.mu.Unlock()
	t.finish()
}

func (r *runningPlugin) took(file fileStamp) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.file, r.wrong = file, ""
}

// refuse notes why the file that was taken last is not used.
func (r *runningPlugin) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong, r.since = err.Error(), time.Now()
}

func (r *runningPlugin) refused() (why string, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrong, r.since
}

func (r *runningPlugin) taken() fileStamp {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.file
}

var errPluginEnded = &core.Error{Kind: core.Unreached, Msg: "the plugin is being stopped"}

// Handle is part of core.Listener.
func (r *runningPlugin) Handle(ctx context.Context, ev core.Event) error {
	t := r.enter()
	if t == nil {
		return errPluginEnded
	}
	defer t.calls.Done()
	return t.Handle(ctx, ev)
}

// HandleBatch is part of core.BatchListener.
func (r *runningPlugin) HandleBatch(ctx context.Context, timeout time.Duration, batch []core.Delivery, begin func(i int) bool, done func(i int, out core.Outcome)) {
	if t := r.enter(); t != nil {
		defer t.calls.Done()
		t.HandleBatch(ctx, timeout, batch, begin, done)
	} else if begin(0) {
		done(0, core.Outcome{Err: errPluginEnded})
	}
}

// code is which binary runs.
func (r *runningPlugin) code() string { return r.plugin().Code() }

// Name is what the plugin is called in its chain.
func (r *runningPlugin) Name() string { return r.spec.Name }

// asked is what came of a question.
type asked[T any] struct {
	answer T
	err    error
}

// ask has a plugin in a chain asked about a copy of the event, which is changed as the request goes on.
// Whoever asks has an answer at the end of the timeout; of a plugin that hangs the host takes care later.
func ask[T any](ctx context.Context, r *runningPlugin, ev *core.Event, timeout time.Duration, do func(context.Context, *plughost.Plugin, *core.Event) (T, error)) (T, error) {
	var none T
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return none, errors.New("the plugin was busy with other events for too long")
	}
	t := r.enter()
	if t == nil {
		<-r.slots
		return none, errPluginEnded
	}
	within := timeout
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < timeout {
		within = time.Until(deadline).Round(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	own, came := *ev, make(chan asked[T], 1)
	go func() { // owned by the term, ends a moment after ctx
		defer t.calls.Done()
		defer func() { <-r.slots }()
		defer cancel()
		answer, err := do(ctx, t.Plugin, &own)
		came <- asked[T]{answer, err}
	}()
	select {
	case a := <-came:
		return a.answer, a.err
	case <-ctx.Done():
	}
	select {
	case a := <-came: // both at once
		return a.answer, a.err
	default:
		if errors.Is(ctx.Err(), context.Canceled) {
			return none, errors.New("the sender did not wait for the plugin's answer")
		}
		return none, fmt.Errorf("the plugin did not answer within %s", within)
	}
}

// pluginStage is a runningPlugin as a stage wants it.
type pluginStage struct{ *runningPlugin }

// Run implements plugin.Runner.
func (s pluginStage) Run(ctx context.Context, ev *core.Event, timeout time.Duration) stage.Result {
	said, err := ask(ctx, s.runningPlugin, ev, timeout, func(ctx context.Context, p *plughost.Plugin, ev *core.Event) (wire.Judgement, error) {
		return p.Process(ctx, ev)
	})
	return stageResult(said, err)
}

// stageResult is what a plugin said as a stage wants it.
func stageResult(said wire.Judgement, err error) stage.Result {
	if rejected, ok := errors.AsType[*wire.Rejection](err); ok {
		return stage.Result{Reject: &stage.Reject{Status: rejected.Status, Msg: rejected.Msg, RetryAfter: rejected.RetryAfter}}
	}
	if err == nil && said.Dropped {
		return stage.Result{Drop: &said.Reason}
	}
	return stage.Result{Err: err, Amendment: said.Amendment}
}

// pluginSource is a runningPlugin as a source wants it.
type pluginSource struct{ *runningPlugin }

// Run implements guest.Runner.
func (s pluginSource) Run(ctx context.Context, ev *core.Event, timeout time.Duration) (*guest.Said, error) {
	named, err := ask(ctx, s.runningPlugin, ev, timeout, func(ctx context.Context, p *plughost.Plugin, ev *core.Event) (*core.Event, error) {
		return p.Name(ctx, ev)
	})
	return sourceResult(named, err)
}

// sourceResult is what a plugin said as a source wants it.
func sourceResult(named *core.Event, err error) (*guest.Said, error) {
	if rejected, ok := errors.AsType[*wire.Rejection](err); ok {
		return nil, &guest.Fault{Msg: rejected.Msg, Err: err}
	}
	return (*guest.Said)(named), err
}
