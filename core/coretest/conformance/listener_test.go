package conformance_test

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest"
	"github.com/pipehook/pipehook/core/jshost"
	"github.com/pipehook/pipehook/core/jshost/worker"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// The test's own binary is a plugin, and a script's process, when it is started as one.
func TestMain(m *testing.M) {
	worker.Main()
	if os.Getenv(wire.Handshake.MagicCookieKey) != "" {
		sdk.Serve(obedient)
		return
	}
	goleak.VerifyTestMain(m)
}

var obedient = sdk.Plugin{
	Name: "obedient", Version: "1.0.0",
	Listener: sdk.ListenerFunc(coretest.Obey), Stage: coretest.ObedientStage{Reject: sdk.Reject},
}

// script is what scripts do otherwise than a function in Go.
var script = coretest.Differences{
	Hidden: []string{"remote", "header", "also", "flaw", "key", "time"}, Clock: time.Millisecond, Error: 1 << 10, Drop: 300,
	Unsaid: map[string]string{"origin": "webhook", "fields": "{}", "previousFields": "{}"},
}

// plugin is what plugins do otherwise.
var plugin = coretest.Differences{Error: 16 << 10, Drop: 300}

func TestAFunctionInGoIsAListener(t *testing.T) {
	coretest.Listener(t, coretest.Differences{}, func(*testing.T) core.Listener { return core.ListenerFunc(coretest.Obey) })
}

func TestAScriptIsAListener(t *testing.T) {
	eachScript(t, func(t *testing.T, isolated bool) {
		coretest.Listener(t, script, func(t *testing.T) core.Listener { return startScript(t, "testdata/listener.js", isolated) })
	})
}

func TestAPluginIsAListener(t *testing.T) {
	eachPlugin(t, func(t *testing.T, path string) {
		coretest.Listener(t, plugin, func(t *testing.T) core.Listener { return startPlugin(t, wire.Listener, path) })
	})
}

// eachScript runs a test in both ways in which scripts can be run.
func eachScript(t *testing.T, test func(t *testing.T, isolated bool)) {
	t.Run("here", func(t *testing.T) { test(t, false) })
	t.Run("in a process", func(t *testing.T) { test(t, true) })
}

func startScript(t *testing.T, path string, isolated bool) *jshost.Script {
	t.Helper()
	built, err := jshost.Build(t.Context(), false, path)
	if err == nil {
		err = built[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := jshost.NewScript(built[0].Code, jshost.Setup{Name: "obedient", Size: 4, Isolated: isolated}, jshost.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// eachPlugin runs a test over a plugin as its author builds it, and over this binary as one.
func eachPlugin(t *testing.T, test func(t *testing.T, path string)) {
	t.Run("built", func(t *testing.T) {
		bin := filepath.Join(t.TempDir(), "obedient")
		cmd := exec.Command("go", "build", "-trimpath", "-o", bin, "./testdata/plugin")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
		test(t, bin)
	})
	t.Run("this binary", func(t *testing.T) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		test(t, self)
	})
}

func startPlugin(t *testing.T, kind, path string) *plughost.Plugin {
	t.Helper()
	dir := t.TempDir()
	h, err := plughost.Open(plughost.Options{Dir: filepath.Join(dir, "plugins"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	p := h.Start(plughost.Spec{Kind: kind, Name: "tested", Path: path, Dir: dir})
	if err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}
