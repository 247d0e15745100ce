//go:build unix

package plughost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// instance is a plugin's process that has taken its configuration.
type instance struct {
	*process
	client   *goplugin.Client // nil when it is attached
	attached *link            // to a process that is not ours; nil when it is
	conn     grpc.ClientConnInterface
	wire     *wire.Client
	manifest wire.Manifest
	voice    *voice
	limits   Limits
	code     string // which binary it is
	desk     *desk
	remove   func() // of its sockets
	company  bool   // it crashed in several calls; belongs to who holds the Plugin's mu

	mu       sync.Mutex
	why      string // we have killed it; empty when we have not
	answered int    // calls
}

// passed are the variables of our environment that a plugin gets. Everything else may be a secret.
var passed = []string{"PATH", "HOME", "TMPDIR", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR"}

func environment() (environ []string) {
	for _, name := range passed {
		if value, ok := os.LookupEnv(name); ok {
			environ = append(environ, name+"="+value)
		}
	}
	return environ
}

// launch starts the process and gives it its configuration, within the time that a start may take.
func (h *Host) launch(ctx context.Context, b *binary, spec *Spec, log *slog.Logger) (_ *instance, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.opts.Limits.Start)
	defer cancel()
	sockets, desk, remove, err := h.openDesk(spec, log)
	if err != nil {
		return nil, err
	}
	v := h.voice(spec, log)
	said, complained := &output{voice: v, level: slog.LevelInfo}, &output{voice: v, level: slog.LevelWarn}
	cmd := exec.Command(b.path)
	cmd.Args[0], cmd.Dir, cmd.SysProcAttr, cmd.ExtraFiles = spec.Path, spec.Dir, attributes(), []*os.File{h.lock}
	p, err := newProcess(cmd, said, complained)
	if err != nil {
		remove()
		return nil, err
	}
	p.sockets, p.plain, p.quota = sockets, spec.Plain, quota{memory: spec.Memory, openFiles: spec.OpenFiles}
	i := &instance{process: p, voice: v, limits: h.opts.Limits, code: b.code(), desk: desk, remove: remove}
	i.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: map[int]goplugin.PluginSet{wire.Version: wire.Set(nil)},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, with *exec.Cmd, _ string) (runner.Runner, error) {
			cmd.Env = slices.Concat(environment(), p.quota.environ(), with.Env)
			return p, nil
		},
		AutoMTLS: !spec.Plain, SkipHostEnv: true, StartTimeout: 2 * h.opts.Limits.Start, // ours comes first, and says so
		GRPCDialOptions:  wire.DialOptions(),
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: sockets},
		Logger:           hclog.NewNullLogger(), SyncStdout: said, SyncStderr: complained,
	})
	defer context.AfterFunc(ctx, p.kill)() // which ends whatever is waited for
	if err := i.begin(ctx, spec); err != nil {
		if i.ID() == "" { // there never was a process
			err = unrunnable(spec.Path, b.path, err)
		} else {
			err = i.startError(ctx, err)
		}
		i.end(false)
		return nil, err
	}
	return i, nil
}

func (i *instance) begin(ctx context.Context, spec *Spec) error {
	client, err := i.client.Client()
	if err != nil {
		return err
	}
	if i.wire, err = wire.Dispense(client); err != nil {
		return err
	}
	if c, ok := client.(*goplugin.GRPCClient); ok { // no other protocol is allowed
		i.conn = c.Conn
	}
	return i.configure(ctx, spec)
}

// configure gives the process its configuration.
func (i *instance) configure(ctx context.Context, spec *Spec) (err error) {
	if i.manifest, err = i.wire.Configure(context.WithoutCancel(ctx), wire.Setup{
		Kind: spec.Kind, Name: spec.Name, Config: spec.Config, Secrets: spec.Secrets, Host: i.desk.where(),
	}); err != nil {
		return i.hidden(refusal(err))
	}
	return nil
}

// isOver reports whether the process has ended, or ends about now.
func (i *instance) isOver() bool {
	timer := time.NewTimer(endsAbout)
	defer timer.Stop()
	select {
	case <-i.ended:
		return true
	case <-timer.C:
		return false
	}
}

// endsAbout is how much later than its connections a process may end.
const endsAbout = 500 * time.Millisecond

// lastWords are the status of a process that has ended, and why it says so.
func (i *instance) lastWords() string {
	text := "exit status 0"
	if i.status != nil {
		text = i.status.Error()
	}
	reason, lacks := i.voice.reason()
	switch {
	case i.killedByOthers():
		text = "it was killed (SIGKILL) from outside; perhaps memory ran out"
	case reason != "":
		text += " (" + reason + ")"
	}
	if met := i.quota.met(lacks, i.most()); met != "" {
		text = met + ": " + text
	}
	return text
}

// call makes a call about an event. A plugin that does not answer soon after the deadline is ended, with
// all that it does at the moment. do returns the error of a call that failed.
func (i *instance) call(ctx context.Context, event string, do func(ctx context.Context, timeout time.Duration) error) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		return errors.New("a plugin is not called without a deadline")
	}
	timeout := time.Until(deadline)
	if timeout <= 0 {
		return context.DeadlineExceeded // ctx may not have noticed
	}
	timeout = i.granted(timeout)
	patient, _, end := i.waiting(ctx, timeout)
	defer end()
	err := do(patient, timeout)
	if err == nil {
		i.didAnswer()
		return nil
	}
	return i.callError(ctx, patient, timeout, event, err)
}

// batch makes a call about several events, each of which has the timeout from when the one before it has
// ended: who is silent for longer hangs. done is called with their results.
func (i *instance) batch(ctx context.Context, timeout time.Duration, all []wire.Given, done func(r wire.Result)) error {
	timeout = i.granted(timeout)
	patient, clock, end := i.waiting(ctx, timeout)
	defer end()
	next := 0
	err := i.wire.Handle(patient, timeout, all, func(at int, r wire.Result) {
		clock.Stop() // what is done with it is not the plugin's time
		i.didAnswer()
		next = min(at+1, len(all)-1)
		done(r)
		clock.Reset(timeout + i.limits.Answer)
	})
	if err == nil {
		return nil
	}
	return i.callError(ctx, patient, timeout, all[next].Event.ID, err)
}

// granted is how long a call may take: as long as it likes in a debugger.
func (i *instance) granted(timeout time.Duration) time.Duration {
	if i.attached != nil {
		return patience
	}
	return timeout
}

// waiting is the context of a call: it ends when nobody waits any more, or by the clock, when the plugin
// hangs. It has no deadline: the plugin's end would hear of it, and break off the call on its own.
func (i *instance) waiting(ctx context.Context, timeout time.Duration) (patient context.Context, clock *time.Timer, end func()) {
	patient, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	clock = time.AfterFunc(timeout+i.limits.Answer, func() { cancel(errHangs) })
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			cancel(ctx.Err())
		}
	})
	return patient, clock, func() {
		stop()
		clock.Stop()
		cancel(nil)
	}
}

func (i *instance) didAnswer() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answered++
}

// callError says what came of a call that failed.
func (i *instance) callError(ctx, patient context.Context, timeout time.Duration, event string, err error) error {
	switch {
	case context.Cause(patient) == errHangs:
		within := timeout.Round(time.Millisecond)
		i.condemn(fmt.Sprintf("it did not answer within %s (event %s)", within, event))
		return hungError{failed(fmt.Sprintf("the plugin did not answer within %s and was ended", within))}
	case patient.Err() != nil:
		return ctx.Err()
	}
	return i.broken(err)
}

var errHangs = errors.New("no answer")

// hungError is that of a call that was not answered.
type hungError struct{ error }

func (e hungError) Unwrap() error { return e.error }

// broken says what a call that failed means. Those that we have brought about are no one's crash.
func (i *instance) broken(err error) error {
	over := i.isOver()
	if over && i.attached != nil {
		return errDetached
	}
	if why := i.condemned(); why != "" {
		return failed("the plugin was ended during the call, because " + why)
	}
	if over {
		return &core.Error{Kind: core.Crashed, Msg: "the plugin ended during the call: " + i.lastWords()}
	}
	i.condemn(whyBroken)
	return i.hidden(fmt.Errorf("the plugin was ended, because a call to it failed: %w", err))
}

// whyBroken is why a process is ended that has answered what is no answer, with an error of gRPC for instance.
const whyBroken = "a call to it failed"

func failed(msg string) error { return &core.Error{Kind: core.Failed, Msg: msg} }

// condemn kills the process at once.
func (i *instance) condemn(why string) {
	i.mu.Lock()
	if i.why == "" && !i.over() {
		i.why = why
	}
	i.mu.Unlock()
	i.kill()
}

// over reports whether the process has ended.
func (i *instance) over() bool {
	select {
	case <-i.ended:
		return true
	default:
		return false
	}
}

// lost reports whether nothing can be expected of it any more.
func (i *instance) lost() bool { return i.over() || i.condemned() != "" }

func (i *instance) condemned() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.why
}

// hung reports whether we have ended it because it did not answer, or has to stop.
func (i *instance) hung() bool {
	why := i.condemned()
	return why != "" && why != whyBroken
}

// handled is how many calls it has answered.
func (i *instance) handled() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.answered
}

// end ends the process, gently if there is time, and releases what it had.
func (i *instance) end(gently bool) {
	if !gently || i.attached != nil {
		i.kill()
	}
	if i.attached != nil {
		<-i.ended
		i.remove()
		return
	}
	done := make(chan struct{})
	go func() { // ends when the process has
		i.client.Kill() // it waits for an answer for ever
		close(done)
	}()
	timer := time.NewTimer(i.limits.End)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		i.kill()
		<-done
	}
	if i.ID() != "" {
		<-i.ended
	}
	i.endStrays()
	i.remove()
}
