package sdk_test

import (
	"errors"
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
