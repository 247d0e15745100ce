//go:build unix

package node_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/fixture"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// world is a pipehook around the plugin: what it remembers, measures and logs.
type world struct {
	fixture.Overlay

	mu       sync.Mutex
	log      bytes.Buffer
	measured []effect.Measure
}

func (w *world) KV(ctx context.Context, by effect.Caller, op *effect.KVOp) (*effect.KVResult, error) {
	return w.Do(ctx, by.Name, op)
}

func (w *world) Emit(context.Context, effect.Caller, *effect.Emit) (*effect.Emitted, error) {
	return nil, errors.New("nobody asked for it")
}

func (w *world) Pipedrive(context.Context, effect.Caller, *effect.APICall) (*effect.APIAnswer, error) {
	return nil, errors.New("nobody asked for it")
}

func (w *world) Measure(_ context.Context, _ effect.Caller, measures []effect.Measure) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.measured = append(w.measured, measures...)
	return nil
}

func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func (w *world) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// start runs the plugin in the host that pipehook runs it in. Each limit is far longer than what it bounds
// takes on a slow machine, but for those that the test is about.
func start(t *testing.T, limits plughost.Limits, spec plughost.Spec) (*plughost.Plugin, *world) {
	t.Helper()
	w := &world{}
	limits.Start = time.Minute
	host, err := plughost.Open(plughost.Options{
		Dir: filepath.Join(t.TempDir(), "host"), Limits: limits, Log: slog.New(slog.NewTextHandler(w, nil)),
		Services: func(*plughost.Spec) plughost.Services { return w },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(w.said())
		}
	})
	spec.Kind, spec.Name, spec.Path, spec.Dir = wire.Listener, "loops", churn(t), t.TempDir()
	return host.Start(spec), w
}

// running is a plugin that runs, with a limit of three changes.
func running(t *testing.T, limits plughost.Limits) (*plughost.Plugin, *world) {
	t.Helper()
	p, w := start(t, limits, plughost.Spec{Config: []byte(`{"limit":3}`), Plain: true, Memory: 512 << 20, OpenFiles: 64})
	if err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p, w
}

func handle(t *testing.T, p *plughost.Plugin, id, object string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return p.Handle(ctx, core.Event{ID: id, Action: "updated", Object: "deal", ObjectID: object, ReceivedAt: time.Now()})
}

// count is what pipehook keeps for a record.
func count(t *testing.T, w *world, object string) int {
	t.Helper()
	r, err := w.Do(t.Context(), "loops", &effect.KVOp{Op: "get", Key: "deal:" + object})
	if err != nil {
		t.Fatal(err)
	}
	var kept struct{ Count int }
	if r.OK {
		if err := json.Unmarshal(r.Entry.Value, &kept); err != nil {
			t.Fatal(err)
		}
	}
	return kept.Count
}

func TestARecordThatChangesTooOftenIsToldOnce(t *testing.T) {
	p, w := running(t, plughost.Limits{})
	for _, id := range []string{"a", "b", "b", "c", "d"} { // an event that comes again is no other change
		if err := handle(t, p, id, "7"); err != nil {
			t.Fatal(err)
		}
	}
	if got := count(t, w, "7"); got != 4 {
		t.Errorf("it counted %d changes", got)
	}
	until(t, "the warning", func() bool { return strings.Contains(w.said(), "changes very often") })
	if said := w.said(); strings.Count(said, "changes very often") != 1 || !strings.Contains(said, "level=WARN") || !strings.Contains(said, "event=c ") || !strings.Contains(said, "data.changes=3") {
		t.Errorf("it said\n%s", said)
	}
	if got := fmt.Sprint(w.measured); got != "[{busy_records false 1}]" {
		t.Errorf("it measured %s", got)
	}
}

func TestChangesAtOnceAreAllCounted(t *testing.T) {
	p, w := running(t, plughost.Limits{})
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			if err := handle(t, p, strconv.Itoa(n), "7"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := count(t, w, "7"); got != 20 {
		t.Errorf("it counted %d", got)
	}
}

func TestSeveralEventsAreHandledWithOneMessage(t *testing.T) {
	p, w := running(t, plughost.Limits{})
	var batch []core.Delivery
	for n := range 50 {
		d := core.Delivery{Listener: "loops", Event: core.Event{ID: strconv.Itoa(n), Action: "updated", Object: "deal", ObjectID: strconv.Itoa(n % 5)}}
		if n == 20 {
			d.Event.ObjectID = ""
		}
		batch = append(batch, d)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	next := 0
	p.HandleBatch(ctx, 10*time.Second, batch, func(int) bool { return true }, func(i int, out core.Outcome) {
		if i != next {
			t.Errorf("result %d came after %d", i, next-1)
		}
		next++
		if i == 20 {
			if core.KindOf(out.Err) != core.Permanent || !strings.Contains(out.Err.Error(), "which record") {
				t.Errorf("without a record: %v", out.Err)
			}
		} else if out.Err != nil {
			t.Errorf("event %d: %v", i, out.Err)
		}
		if out.Took <= 0 {
			t.Errorf("event %d took %s", i, out.Took)
		}
	})
	if next != len(batch) || count(t, w, "0") != 9 || count(t, w, "1") != 10 {
		t.Errorf("%d results, and it counted %d and %d", next, count(t, w, "0"), count(t, w, "1"))
	}
}

func TestMistakesOfTheConfigurationAreToldWithTheirKeys(t *testing.T) {
	p, _ := start(t, plughost.Limits{}, plughost.Spec{Config: []byte(`{"limit":0,"windw":1}`), Plain: true})
	refused, ok := errors.AsType[plughost.Refused](p.Ready(t.Context()))
	if got := fmt.Sprint(refused); !ok || len(refused) != 2 || !strings.Contains(got, "limit: must be a whole number above 0") || !strings.Contains(got, "windw: unknown key") {
		t.Errorf("it refused %s", got)
	}
}

func TestItSaysThatItServesWithoutTLS(t *testing.T) {
	p, _ := start(t, plughost.Limits{}, plughost.Spec{})
	if err := p.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), `set tls = "off"`) {
		t.Errorf("error %v", err)
	}
}

// A host that would have to kill it would need a minute.
func TestItEndsWhenItIsAskedTo(t *testing.T) {
	p, w := running(t, plughost.Limits{End: time.Minute})
	began := time.Now()
	p.Stop(t.Context())
	if took := time.Since(began); took > 30*time.Second || !strings.Contains(w.said(), "plugin stopped") {
		t.Errorf("it took %s\n%s", took, w.said())
	}
}

// byHand runs the plugin as pipehook would, from a shell that waits for the end of its input.
type byHand struct {
	socket string
	shell  *exec.Cmd
	in     io.Closer
	said   *bufio.Scanner
}

func runByHand(t *testing.T) *byHand {
	t.Helper()
	dir, err := os.MkdirTemp("", "pipehook-") // a test's own may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &byHand{socket: filepath.Join(dir, "churn.sock"), shell: exec.Command("sh", "-c", `"$0" & echo $!; read -r rest`, churn(t))}
	b.shell.Env = append(os.Environ(), wire.Handshake.MagicCookieKey+"="+wire.Handshake.MagicCookieValue, "PLUGIN_UNIX_SOCKET_DIR="+dir)
	if b.in, err = b.shell.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := b.shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.shell.Start(); err != nil {
		t.Fatal(err)
	}
	b.said = bufio.NewScanner(out)
	pid, err := strconv.Atoi(b.line())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) }) // it has ended, unless the test failed
	if got, want := b.line(), "1|1|unix|"+b.socket+"|grpc"; got != want {
		t.Fatalf("it says %q, want %q", got, want)
	}
	return b
}

func (b *byHand) line() string {
	b.said.Scan()
	return b.said.Text()
}

// end ends the shell, and returns when nobody holds its output any more: the plugin has ended too.
func (b *byHand) end() {
	_ = b.in.Close()
	for b.said.Scan() {
	}
	_ = b.shell.Wait() // read has no line, which is the shell's status
}

func TestItServesUntilItsHostEnds(t *testing.T) {
	b := runByHand(t)
	conn, err := grpc.NewClient("unix:"+b.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := health.NewHealthClient(conn).Check(t.Context(), &health.HealthCheckRequest{Service: "plugin"})
	if err != nil || answer.GetStatus() != health.HealthCheckResponse_SERVING {
		t.Errorf("asked whether it lives: %v, %v", answer, err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	b.end()
}

func TestRunByHandItSaysWhatItIs(t *testing.T) {
	out, err := exec.Command(churn(t)).CombinedOutput()
	if ended, ok := errors.AsType[*exec.ExitError](err); !ok || ended.ExitCode() != 2 || !strings.Contains(string(out), "churn 1.0.0 is a plugin of pipehook") {
		t.Errorf("%v: %s", err, out)
	}
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("not after 30s: %s", what)
		}
	}
}
