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
	"github.com/pipehook/pipehook/plugins/sdk/sdktest"
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

// settings is a configuration with values of several sorts.
type settings struct {
	Name  string   `json:"name"`
	Tries int      `json:"tries"`
	Ratio float64  `json:"ratio"`
	On    bool     `json:"on"`
	List  []string `json:"list"`
	Inner struct {
		Max int `json:"max"`
	} `json:"inner"`
}

func TestAConfigIsReadStrictlyOverItsDefaults(t *testing.T) {
	for name, test := range map[string]struct {
		config any
		want   string
	}{
		"nothing":            {nil, ""},
		"everything":         {map[string]any{"name": "a", "tries": 2, "ratio": 1, "on": true, "list": []string{"x"}, "inner": map[string]any{"max": 3}}, ""},
		"an unknown key":     {map[string]any{"nmae": "a"}, "nmae: unknown key"},
		"text for a number":  {map[string]any{"tries": "2"}, "tries: must be a whole number, is text"},
		"a fraction":         {map[string]any{"tries": 1.5}, "tries: must be a whole number, is a number"},
		"a number for text":  {map[string]any{"name": 1}, "name: must be text, is a number"},
		"a list for a table": {map[string]any{"inner": []int{1}}, "inner: must be a table, is a list"},
		"text for a list":    {map[string]any{"list": "x"}, "list: must be a list, is text"},
		"inside a table":     {map[string]any{"inner": map[string]any{"max": true}}, "inner.max: must be a whole number, is true or false"},
	} {
		conf := &settings{Name: "default", Tries: 7}
		_, err := sdktest.TryStart(t, sdk.Plugin{Name: "p", Version: "1", Config: conf, Listener: sdk.ListenerFunc(nil)}, sdktest.Options{Config: test.config})
		if got := textOf(err); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
		if test.config == nil && (conf.Name != "default" || conf.Tries != 7) {
			t.Errorf("%s: %+v", name, conf)
		}
		if name == "everything" && (conf.Tries != 2 || conf.Inner.Max != 3 || !conf.On) {
			t.Errorf("%s: %+v", name, conf)
		}
	}
	if _, err := sdktest.TryStart(t, sdk.Plugin{Name: "p", Version: "1", Listener: sdk.ListenerFunc(nil)}, sdktest.Options{Config: map[string]any{"a": 1}}); textOf(err) != "a: unknown key" {
		t.Errorf("a plugin without a configuration: %v", err)
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
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
