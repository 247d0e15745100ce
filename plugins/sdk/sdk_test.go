package sdk_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/plugins/sdk"
)

const byHandEnv = "SDK_TEST_BY_HAND"

func TestMain(m *testing.M) {
	if os.Getenv(byHandEnv) != "" {
		sdk.Serve(sdk.Plugin{Name: "greeter", Version: "1.2.3"})
	}
	os.Exit(m.Run())
}

func TestAPluginThatIsRunByHandSaysWhatItIs(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{byHandEnv + "=1"}
	out, err := cmd.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); !ended || !strings.Contains(string(out), "greeter 1.2.3 is a plugin of pipehook") || !strings.Contains(string(out), `plugin = "greeter"`) {
		t.Errorf("%v: %s", err, out)
	}
}

// A plugin that only looks needs no configuration and no type of its own.
func ExampleServe() {
	if os.Getenv("PIPEHOOK_PLUGIN") == "" {
		return // it is not pipehook that runs this example
	}
	sdk.Serve(sdk.Plugin{
		Name: "looker", Version: "1.0.0",
		Listener: sdk.ListenerFunc(func(_ context.Context, ev sdk.Event) error {
			slog.Info("seen", "event", ev.ID, "type", ev.Type())
			return nil
		}),
	})
	// Output:
}
