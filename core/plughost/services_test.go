//go:build unix

package plughost_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// clerk notes what is asked for. A key "block" is not answered until nobody waits.
type clerk struct {
	entered, left chan struct{}
	faulty        bool // panics when Pipedrive is asked

	mu    sync.Mutex
	asked []string
}

func newClerk() *clerk {
	return &clerk{entered: make(chan struct{}, 100), left: make(chan struct{}, 100)}
}

func (c *clerk) services(*plughost.Spec) plughost.Services { return c }

func (c *clerk) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, fmt.Sprintf(format, args...))
}

func (c *clerk) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.asked)
}

func (c *clerk) KV(ctx context.Context, by effect.Caller, op *effect.KVOp) (*effect.KVResult, error) {
	event := "none"
	if by.Event != nil {
		event = by.Event.ID
	}
	c.note("%s of %s %s %s=%s %s #%d", op.Op, by.Name, event, op.Key, op.Value, op.TTL, by.Number)
	if op.Key == "block" {
		c.entered <- struct{}{}
		<-ctx.Done()
		c.left <- struct{}{}
		return nil, ctx.Err()
	}
	return &effect.KVResult{OK: true}, nil
}

func (c *clerk) Emit(_ context.Context, by effect.Caller, e *effect.Emit) (*effect.Emitted, error) {
	c.note("emit of %s %s %s.%s %s %s %d #%d", by.Name, by.Event.ID, e.Action, e.Object, e.ObjectID, e.Current, e.Ordinal, by.Number)
	if e.Ordinal > 0 {
		return nil, &effect.Error{Code: "ELIMIT", Msg: "that is enough"}
	}
	return &effect.Emitted{ID: "e1"}, nil
}

func (c *clerk) Measure(_ context.Context, by effect.Caller, measures []effect.Measure) error {
	for _, m := range measures {
		c.note("measure of %s %s %t %g", by.Name, m.Name, m.Gauge, m.Value)
	}
	return nil
}

func (c *clerk) Pipedrive(_ context.Context, by effect.Caller, a *effect.APICall) (*effect.APIAnswer, error) {
	c.note("pipedrive of %s %s %s %s", by.Name, by.Event.ID, a.Method, a.Path)
	if c.faulty {
		panic("it does not know what to do")
	}
	return &effect.APIAnswer{Status: 200}, nil
}

func TestAPluginAsksForEffects(t *testing.T) {
	t.Parallel()
	c := newClerk()
	b := newServedBench(t, plughost.Limits{}, c.services)
	spec := labSpec(filepath.Dir(b.dir))
	spec.Config, spec.Secrets = []byte(`{"greeting": "ask"}`), map[string]string{"word": "mum"}
	p := b.Start(spec)
	if err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := deliveries("remember", "emit")
	all[1].Tried = 6
	outs, _ := handleAll(t, t.Context(), p, 20*time.Second, all, 2)
	if outs[0].Err != nil || outs[1].Err == nil || outs[1].Err.Error() != "e1<nil>, that is enough" {
		t.Errorf("results %+v", outs)
	}
	if err := handle(t, p, "look up"); err != nil {
		t.Error(err)
	}
	if err := handle(t, p, "count"); err != nil {
		t.Error(err)
	}
	p.Stop(t.Context()) // what was measured is told at the latest
	want := []string{
		`set of tested none started="an event is emitted while another is handled: give Emit the context that Handle got" 0s #0`,
		`set of tested 0 0="mum" 1m0s #1`,
		`emit of tested 1 added.thing 1 {"n":7} 0 #1`, `emit of tested 1 added.thing 1 {"n":7} 1 #2`,
		`measure of tested handled false 2`, `measure of tested level true 3.5`,
	}
	got := strings.ReplaceAll(strings.Join(c.all(), "\n"), `\u003c`, "<")
	want = append(want, "GET /api/v2/deals/1")
	for _, line := range want {
		if !strings.Contains(got, line) {
			t.Errorf("no %s in\n%s", line, got)
		}
	}
	if len(c.all()) != len(want) {
		t.Errorf("asked\n%s", got)
	}
}

// pipehook knows about which event something is asked, however many are handled at once.
func TestWhatIsAskedIsAskedForTheEventThatIsHandled(t *testing.T) {
	t.Parallel()
	c := newClerk()
	p := newServedBench(t, plughost.Limits{}, c.services).lab(t, "")
	const lanes, size = 4, 50
	var wait sync.WaitGroup
	for lane := range lanes {
		wait.Go(func() {
			all := make([]core.Delivery, size)
			for i := range all {
				all[i].Event = core.Event{ID: fmt.Sprint(lane, ".", i), Object: "remember"}
			}
			outs, _ := handleAll(t, t.Context(), p, 20*time.Second, all, size)
			if got := strings.Count(words(outs), "well"); got != size {
				t.Errorf("%d ended well: %s", got, words(outs))
			}
		})
	}
	wait.Wait()
	for _, line := range c.all() {
		words := strings.Fields(line) // set of tested EVENT KEY="" …
		if key, _, _ := strings.Cut(words[4], "="); key != words[3] {
			t.Errorf("asked for another event: %s", line)
		}
	}
	if got := len(c.all()); got != lanes*size {
		t.Errorf("%d times asked", got)
	}
}

func TestACallThatHasEndedCanAskForNothing(t *testing.T) {
	t.Parallel()
	c := newClerk()
	p := newServedBench(t, plughost.Limits{}, c.services).lab(t, "")
	if err := handle(t, p, "keep"); err != nil {
		t.Fatal(err)
	}
	if err := handle(t, p, "keep"); err == nil || err.Error() != "the call that this is asked for has ended" {
		t.Errorf("error %v", err)
	}
	if got := c.all(); len(got) != 0 {
		t.Errorf("asked %v", got)
	}
}

func TestAFaultInAnAnswerEndsNeitherPipehookNorThePlugin(t *testing.T) {
	t.Parallel()
	c := newClerk()
	c.faulty = true
	b := newServedBench(t, plughost.Limits{}, c.services)
	p := b.lab(t, "")
	if err := handle(t, p, "look up"); err == nil || !strings.Contains(err.Error(), "which is in its log") {
		t.Errorf("error %v", err)
	}
	if text := b.log.String(); !strings.Contains(text, "it does not know what to do") || !strings.Contains(text, "services_test.go") {
		t.Errorf("the log does not say what and where:\n%s", text)
	}
	if err := handle(t, p, "remember"); err != nil {
		t.Error(err)
	}
}

// What is asked for ends with the call and with the process.
func TestWhatIsAskedForEndsWithWhoAsks(t *testing.T) {
	t.Parallel()
	c := newClerk()
	p := newServedBench(t, plughost.Limits{}, c.services).lab(t, "")
	pid := number(t, p, "pid")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := p.Handle(ctx, core.Event{ID: "1", Object: "abandon"}); err != nil {
		t.Errorf("error %v", err)
	}
	<-c.left
	<-c.entered
	var killed sync.WaitGroup
	killed.Go(func() {
		if err := handle(t, p, "abandon"); core.KindOf(err) != core.Crashed {
			t.Errorf("error %v", err)
		}
	})
	<-c.entered
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	<-c.left
	killed.Wait()
}

func TestWhoDoesNotKnowTheTokenIsNotAnswered(t *testing.T) {
	t.Parallel()
	c := newClerk()
	b := newServedBench(t, plughost.Limits{}, c.services)
	p := b.lab(t, "")
	sockets, err := filepath.Glob(filepath.Join(b.dir, "*", "host"))
	if err != nil || len(sockets) != 1 {
		t.Fatalf("sockets %v (%v)", sockets, err)
	}
	for _, token := range []string{"", "guessed"} {
		client, err := wire.DialHost(wire.Address{Path: sockets[0], Token: token})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.KV(t.Context(), 0, &effect.KVOp{Op: "get", Key: "a"})
		if e, ok := errors.AsType[*effect.Error](err); !ok || !strings.Contains(e.Msg, "Unauthenticated") {
			t.Errorf("token %q: %v", token, err)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := c.all(); len(got) != 0 {
		t.Errorf("asked %v", got)
	}
	p.Stop(t.Context())
	if left, err := filepath.Glob(filepath.Join(b.dir, "*", "host")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

// What a plugin says is read by people, who are not to read its secrets.
func TestASecretIsTakenOutOfAllThatAPluginSays(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{})
	spec := labSpec(filepath.Dir(b.dir))
	spec.Secrets = map[string]string{"word": "c4n4ry \"quoted\"", "short": "log"}
	p := b.Start(spec)
	for _, object := range []string{"tell", "tell and die"} {
		err := handle(t, p, object)
		if err == nil || strings.Contains(err.Error(), "c4n4ry") || !strings.Contains(err.Error(), "[redacted]") {
			t.Errorf("%s: error %v", object, err)
		}
		outs, _ := handleAll(t, t.Context(), p, 20*time.Second, deliveries("nothing", object, "nothing"), 3)
		if err := outs[1].Err; err == nil || strings.Contains(err.Error(), "c4n4ry") || !strings.Contains(err.Error(), "[redacted]") {
			t.Errorf("%s, in a batch: error %v", object, err)
		}
	}
	spec.Config = []byte(`{"greeting": "tell"}`)
	if err := b.Start(spec).Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "greeting: is not [redacted]") {
		t.Errorf("error %v", err)
	}
	until(t, "all is logged", func() bool { return strings.Count(b.log.String(), "log [redacted]") >= 4 })
	if text := b.log.String(); strings.Contains(text, "c4n4ry") {
		t.Errorf("the log has it:\n%s", text)
	}
}
