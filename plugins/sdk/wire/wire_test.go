package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// fake fails each event with the error of its id.
type fake map[string]error

func (f fake) Configure(context.Context, wire.Setup) (wire.Manifest, error) {
	return wire.Manifest{Does: []string{wire.Listener}}, f["configure"]
}

func (f fake) Handle(_ context.Context, _ wire.Call, ev core.Event) error { return f[ev.ID] }

func (f fake) Process(_ context.Context, _ wire.Call, ev *core.Event) (core.Verdict, error) {
	return core.Continue, f[ev.ID]
}

func (f fake) Name(_ context.Context, _ wire.Call, ev *core.Event) error { return f[ev.ID] }

func connect(t *testing.T, s wire.Server) *wire.Client {
	t.Helper()
	client, stop, err := wire.Loop(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return client
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handle hands events over and returns what came of each.
func handle(t *testing.T, client *wire.Client, events ...core.Event) []error {
	t.Helper()
	if _, err := client.Configure(t.Context(), wire.Setup{}); err != nil {
		t.Log(err) // which some of them are about
	}
	given, errs := make([]wire.Given, len(events)), make([]error, len(events))
	for i := range events {
		given[i] = wire.Given{Event: &events[i], Call: wire.Call{ID: uint64(i) + 1, Attempt: 1}}
	}
	if err := client.Handle(t.Context(), time.Second, given, func(i int, r wire.Result) { errs[i] = r.Err }); err != nil {
		t.Fatal(err)
	}
	return errs
}

func TestEachEventOfACallHasItsOwnResult(t *testing.T) {
	client := connect(t, fake{
		"failed": errors.New("no \xff luck"), "never": &core.Error{Kind: core.Permanent, Msg: "never"},
		"later":   fmt.Errorf("wrapped: %w", &core.Error{Kind: core.Failed, Msg: "later", RetryAfter: time.Hour}),
		"ages":    &core.Error{Kind: core.Failed, Msg: "ages", RetryAfter: 1000 * 24 * time.Hour},
		"silent":  errors.New(""),
		"verbose": errors.New(strings.Repeat("x", 1<<20)),
	})
	var events []core.Event
	for _, id := range []string{"done", "failed", "never", "later", "ages", "silent", "verbose"} {
		events = append(events, core.Event{ID: id})
	}
	errs := handle(t, client, events...)
	if errs[0] != nil {
		t.Errorf("a success came as %v", errs[0])
	}
	for i, want := range []core.Error{
		1: {Kind: core.Failed, Msg: "no \ufffd luck"}, 2: {Kind: core.Permanent, Msg: "never"},
		3: {Kind: core.Failed, Msg: "wrapped: later", RetryAfter: time.Hour}, 4: {Kind: core.Failed, Msg: "ages", RetryAfter: 30 * 24 * time.Hour},
		5: {Kind: core.Failed, Msg: "the plugin failed and did not say why"}, 6: {Kind: core.Failed, Msg: strings.Repeat("x", 16<<10) + "…"},
	} {
		if i == 0 {
			continue
		}
		if got, ok := errs[i].(*core.Error); !ok || *got != want {
			t.Errorf("%s came as %.200v", events[i].ID, errs[i])
		}
	}
}

// seeing says what it sees of an event's labels, as its failure.
type seeing struct{ fake }

func (seeing) Handle(_ context.Context, _ wire.Call, ev core.Event) error {
	return fmt.Errorf("%v %q", ev.Labels, ev.Overlay)
}

func TestAPluginSeesLabels(t *testing.T) {
	client := connect(t, seeing{})
	errs := handle(t, client, core.Event{ID: "a", Labels: map[string]string{"size": "large"}, Overlay: "{}"}, core.Event{ID: "b"})
	if got := fmt.Sprint(errs); got != `[map[size:large] "" map[] ""]` {
		t.Errorf("it sees %s", got)
	}
}

func TestMistakesKeepTheirKeys(t *testing.T) {
	client := connect(t, fake{"configure": errors.Join(&wire.ConfigError{Key: "a.b", Msg: "is wrong"}, errors.New("so is all of it"), &wire.ConfigError{Key: "api", Msg: "is short", Secret: true})})
	_, err := client.Configure(t.Context(), wire.Setup{})
	if wrong, ok := errors.AsType[*wire.ConfigError](err); !ok || wrong.Key != "a.b" || err.Error() != "a.b: is wrong\nso is all of it\nsecrets.api: is short" {
		t.Errorf("error %v", err)
	}
}

// The generated code is that of plugin.proto, for the generators that go.mod pins.
func TestTheGeneratedCodeIsCurrent(t *testing.T) {
	if _, err := exec.LookPath("protoc"); err != nil {
		t.Skip("there is no protoc here (Debian: protobuf-compiler), so whether the generated code is current was NOT checked")
	}
	dir := t.TempDir()
	if out, err := exec.Command("./generate", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"plugin.pb.go", "plugin_grpc.pb.go"} {
		want, err := os.ReadFile(filepath.Join(dir, "pluginv1", name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("pluginv1", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(withoutProtoc(got), withoutProtoc(want)) {
			t.Errorf("pluginv1/%s is not what plugin.proto gives: run go generate ./plugins/sdk/wire", name)
		}
	}
}

// withoutProtoc leaves out the line that names protoc, which every system has in another version.
func withoutProtoc(text []byte) []byte {
	var kept []byte
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte("//")) || !bytes.Contains(line, []byte(" protoc  ")) {
			kept = append(kept, line...)
		}
	}
	return kept
}
