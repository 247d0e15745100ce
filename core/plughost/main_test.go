//go:build unix

package plughost_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// hostEnv has the test's binary be a host that is to be killed.
const hostEnv = "PLUGHOST_TEST_HOST"

// The test's own binary is the plugin, when it is started as one.
func TestMain(m *testing.M) {
	if guise := guises[filepath.Base(os.Args[0])]; guise != nil {
		guise()
		vanish()
	}
	switch {
	case os.Getenv(wire.Handshake.MagicCookieKey) != "" && filepath.Base(os.Args[0]) == oldLab:
		serveOld()
		vanish()
	case os.Getenv(wire.Handshake.MagicCookieKey) != "", slices.Contains(os.Args, "--debug"):
		lab()
		if os.Getenv(wire.Handshake.MagicCookieKey) != "" {
			vanish()
		}
	case os.Getenv(hostEnv) != "":
		victim(os.Getenv(hostEnv))
	default:
		goleak.VerifyTestMain(m)
	}
}

// vanish ends a plugin that has done its work. With the race detector an exit takes a second.
func vanish() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }

// victim runs a plugin, tells its process number, and waits to be killed.
func victim(dir string) {
	h, err := plughost.Open(plughost.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		panic(err)
	}
	p := h.Start(labSpec(dir))
	for _, ev := range []core.Event{{ID: "1", Object: "pid"}, {ID: "2", Object: "fork far"}} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		fmt.Println(p.Handle(ctx, ev))
		cancel()
	}
	signal.Ignore(syscall.SIGTERM)
	select {}
}

func labSpec(dir string) plughost.Spec {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return plughost.Spec{Kind: wire.Listener, Name: "tested", Path: self, Dir: dir}
}

// journal is the host's log, as far as it is short: a plugin that babbles must not cost the test what it
// must not cost the host.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
	size int // bytes in all
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.size += len(p); j.size <= 4<<20 {
		j.text.Write(p)
	}
	return len(p), nil
}

func (j *journal) wrote() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// bench is a host in a folder of its own.
type bench struct {
	*plughost.Host
	log journal
	dir string
}

func newBench(t *testing.T, limits plughost.Limits) *bench {
	t.Helper()
	return newServedBench(t, limits, nil)
}

// newServedBench has somebody to answer what plugins ask.
func newServedBench(t *testing.T, limits plughost.Limits, services func(*plughost.Spec) plughost.Services) *bench {
	t.Helper()
	b := &bench{dir: filepath.Join(t.TempDir(), "plugins")}
	var err error
	b.Host, err = plughost.Open(plughost.Options{Dir: b.dir, Log: slog.New(slog.NewJSONHandler(&b.log, nil)), Limits: limits, Services: services})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(b.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder is left behind (%v)", err)
		}
		if t.Failed() {
			t.Log("\n" + b.log.String())
		}
	})
	return b
}

// lab starts the plugin of this file and waits until it runs.
func (b *bench) lab(t *testing.T, config string, with ...func(*plughost.Spec)) *plughost.Plugin {
	t.Helper()
	spec := labSpec(filepath.Dir(b.dir))
	spec.Config = []byte(config)
	for _, change := range with {
		change(&spec)
	}
	p := b.Start(spec)
	if err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// handle hands an event over, with time enough.
func handle(t *testing.T, p *plughost.Plugin, object string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return p.Handle(ctx, core.Event{ID: "event " + object, Object: object})
}

// number is the number that the plugin answers.
func number(t *testing.T, p *plughost.Plugin, object string) int {
	t.Helper()
	n, err := strconv.Atoi(handle(t, p, object).Error())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("not after 10s: %s", what)
		}
	}
}

func alive(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && !onLinux()
	}
	return !strings.Contains(string(status), ") Z ") // a zombie waits for whoever adopted it
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func onLinux() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

func freeze(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}
