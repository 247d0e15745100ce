package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/plughost"
)

// labPlugin is a plugin of all kinds that does what the events and its configuration say.
const labPlugin = `package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/pipehook/pipehook/plugins/sdk"
)

type lab struct {
	Mood string
	host *sdk.Host
}

func (l *lab) UnmarshalJSON(text []byte) error {
	var c struct{ Mood string }
	err := json.Unmarshal(text, &c)
	l.Mood = c.Mood
	return err
}

func (l *lab) Start(_ context.Context, host *sdk.Host) error {
	l.host = host
	slog.Info("starting", "mood", l.Mood)
	switch l.Mood {
	case "bad":
		return sdk.Wrong("mood", "must not be bad")
	case "keyless":
		_, err := host.NeedSecret("key")
		return errors.Join(err, sdk.WrongSecret("api", "is too short"))
	case "broken":
		return errors.New("the database is away")
	case "ended":
		os.Exit(3)
	}
	return nil
}

func (l *lab) Handle(ctx context.Context, ev sdk.Event) error {
	slog.Info("handling", "event", ev.ID, "attempt", sdk.Attempt(ctx), "object", ev.ObjectID, "secret", l.host.Secret("api"))
	fmt.Println("printed")
	switch ev.Object {
	case "deal":
		l.host.Count("deals", 1)
		_, emitting := l.host.Emit(ctx, sdk.Emission{Action: "added", Object: "notice", ObjectID: ev.ObjectID})
		return errors.Join(l.host.KV().Set(ctx, "last", ev.ObjectID, 0), emitting)
	case "person":
		return sdk.Permanent(errors.New("no persons"))
	case "organization":
		return sdk.RetryAfter(time.Minute, errors.New("later"))
	}
	return nil
}

func (l *lab) Process(ctx context.Context, ev *sdk.Event) (sdk.Verdict, error) {
	switch ev.Object {
	case "person":
		ev.Remark("no persons")
		return sdk.Drop, nil
	case "organization":
		return sdk.Continue, sdk.Reject(422, "no organizations")
	case "lead":
		return sdk.Continue, errors.New("it does not know")
	case "product":
		ev.Current = []byte("[1,2]")
	case "activity":
		_, err := l.host.Emit(ctx, sdk.Emission{Action: "added", Object: "notice"})
		return sdk.Continue, err
	}
	ev.Labels = map[string]string{"mood": "good"}
	return sdk.Continue, nil
}

func (l *lab) Name(_ context.Context, ev *sdk.Event) error {
	if len(ev.Body) < 10 {
		return sdk.Reject(400, "it is too short")
	}
	if strings.Contains(string(ev.Body), "broken") {
		ev.Current = []byte("{")
	}
	ev.Action, ev.Object, ev.ObjectID, ev.Key = "added", "thing", "7", []byte("k")
	return nil
}

func main() {
	l := &lab{}
	p := sdk.Plugin{Name: "lab", Version: "1.2.3", Config: l}
	switch os.Args[0][len(os.Args[0])-1] { // which of them it is, the name of its file says
	case 'e':
		p.Stage = l
	case 's':
		p.Source = l
	default:
		p.Listener = l
	}
	sdk.Serve(p)
}
`

// labProject has the lab under three names, of which the configuration names what is in more.
func labProject(t *testing.T, more string) *project {
	t.Helper()
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": more})
	lab := filepath.Join(p.dir, "plugins", "bin", "lab")
	buildPlugin(t, lab, "plugins/examples/from_the_tests", labPlugin)
	t.Chdir(p.dir)
	for _, name := range []string{"labstage", "labsources"} {
		if err := os.Link(lab, filepath.Join(p.dir, "plugins", "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// ownTemporary gives the test a folder of temporary files that nobody else uses. It has a short name, since
// sockets are made in it.
func ownTemporary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lab-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", dir)
	return dir
}

func sumOf(t *testing.T, path string) string {
	t.Helper()
	sum, err := plughost.Check(path, "")
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func moody(name, mood, more string) string {
	return "[[listener]]\nname = \"" + name + "\"\nplugin = \"lab\"\nconfig = { mood = \"" + mood + "\" }\n" + more + "\n"
}
