package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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
	case "broken":
		return errors.New("the database is away")
	case "ended":
		os.Exit(3)
	}
	return nil
}

func (l *lab) Handle(ctx context.Context, ev sdk.Event) error {
	slog.Info("handling", "event", ev.ID, "object", ev.ObjectID, "secret", l.host.Secret("api"))
	fmt.Println("printed")
	switch ev.Object {
	case "person":
		return sdk.Permanent(errors.New("no persons"))
	case "organization":
		return sdk.RetryAfter(time.Minute, errors.New("later"))
	}
	return nil
}

func (l *lab) Process(_ context.Context, ev *sdk.Event) (sdk.Verdict, error) {
	switch ev.Object {
	case "person":
		ev.Remark("no persons")
		return sdk.Drop, nil
	case "organization":
		return sdk.Continue, sdk.Reject(422, "no organizations")
	case "lead":
		return sdk.Continue, errors.New("it does not know")
	}
	ev.Labels = map[string]string{"mood": "good"}
	return sdk.Continue, nil
}

func (l *lab) Name(_ context.Context, ev *sdk.Event) error {
	if len(ev.Body) < 10 {
		return sdk.Reject(400, "it is too short")
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

func TestAPluginIsStartedToSeeWhatItOffers(t *testing.T) {
	labProject(t, moody("good", "good", "")+moody("bad", "bad", "")+moody("broken", "broken", "")+moody("ended", "ended", "")+
		moody("other", "good", `sha256 = "`+strings.Repeat("0", 64)+`"`)+moody("slip", "good", `sha = "x"`)+
		"[[listener]]\nname = \"gone\"\nplugin = \"gone\"\n")
	sum := sumOf(t, "plugins/bin/lab")
	for name, test := range map[string]struct {
		code int
		args []string
		want []string
	}{
		"it is good":                {exitDone, []string{"good"}, []string{"✓ listener good  lab 1.2.3, a listener, contract 1.1, started in ", "plugins/bin/lab  its configuration is taken", `  info  starting  mood=good`, `sha256 = "` + sum + `"`}},
		"its configuration is not":  {exitUsage, []string{"bad"}, []string{"✗ listener bad", `sha256 = "` + sum + `"`, "pipeline.toml:", "listener[1].config.mood: must not be bad"}},
		"it fails":                  {exitFailed, []string{"broken"}, []string{"✗ listener broken", "listener broken does not start: ", "the database is away"}},
		"it ends":                   {exitFailed, []string{"ended"}, []string{"✗ listener ended", "exit status 3"}},
		"it is another":             {exitUsage, []string{"other"}, []string{"✗ listener other", "listener[4].sha256: ", "has the SHA-256 " + sum}},
		"its table is wrong":        {exitUsage, []string{"slip"}, []string{"✗ listener slip", "listener[5].sha: unknown key"}},
		"it is not there":           {exitUsage, []string{"gone"}, []string{"✗ listener gone", "listener[6].plugin: there is no ", "pipehook: hint: build the plugin"}},
		"only one of two is good":   {exitUsage, []string{"good", "bad"}, []string{"✓ listener good", "✗ listener bad"}},
		"one fails, one is refused": {exitFailed, []string{"bad", "broken"}, []string{"✗ listener bad", "✗ listener broken", "must not be bad", "is away"}},
		"a stage that nobody uses":  {exitDone, []string{"labstage"}, []string{"✓ labstage  lab 1.2.3, a stage, contract 1.1", "no place of the configuration names it"}},
		"a source by its path":      {exitDone, []string{"./plugins/bin/labsources"}, []string{"✓ labsources  lab 1.2.3, a source"}},
		"a slip":                    {exitUsage, []string{"borken"}, []string{"there is no plugin borken", `pipehook: hint: did you mean "broken"?`}},
		"a binary by its name":      {exitFailed, []string{"lab"}, []string{"✓ listener good", "✗ listener broken", "✗ listener other"}},
		"all":                       {exitFailed, nil, []string{"✓ listener good", "✗ listener gone"}},
	} {
		t.Run(name, func(t *testing.T) {
			says(t, test.code, append([]string{"plugin", "check"}, test.args...), test.want...)
		})
	}
	var checked []checkedPlugin
	if err := json.Unmarshal([]byte(says(t, exitUsage, []string{"plugin", "check", "good", "bad", "--json"}, "1 of 2 plugins failed")), &checked); err != nil {
		t.Fatal(err)
	}
	good, bad := checked[0], checked[1]
	if !good.OK || good.SHA256 != sum || good.Version != "1.2.3" || good.Contract != "1.1" || !slices.Equal(good.Does, []string{"listener"}) || good.StartUS == 0 || len(good.Logs) != 1 || good.Key != "listener[0]" {
		t.Errorf("%+v", good)
	}
	if bad.OK || len(bad.Mistakes) != 1 || bad.Mistakes[0].Key != "listener[1].config.mood" || bad.Mistakes[0].Line == 0 {
		t.Errorf("%+v", bad)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "pipehook-plugins-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestNoPluginIsNothingWrong(t *testing.T) {
	inFolder(t)
	says(t, exitDone, []string{"plugin", "check"}, "no plugins: pipeline.toml names none")
	says(t, exitDone, []string{"plugin", "list"}, "no plugins")
	says(t, exitUsage, []string{"plugin", "check", "audit"}, "there is no plugin audit", "pipehook: hint: pipehook plugin new audit")
}

func TestAPluginIsTriedWithEvents(t *testing.T) {
	p := labProject(t, moody("told", "good", "match = [\"*.deal\"]"))
	says(t, exitDone, []string{"plugin", "test", "told"}, "✓ told  updated.deal trial-1", "info  handling", "object=8", "info  printed", "1 event, 0 failed. Nothing was stored")
	p.write(t, "body.json", string(sampleBody(t)))
	out := says(t, exitFailed, []string{"plugin", "test", "told", "--event", "body.json", "--event", "added.person", "--event", `{"action":"added","object":"organization"}`, "--json"}, "2 of 3 events failed")
	var answer struct {
		Kind   string
		Events []triedEvent
		Failed int
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Kind != "listener" || answer.Failed != 2 || len(answer.Events) != 3 || strings.Contains(out, "c4n4ry") {
		t.Fatalf("%s", out)
	}
	good, bad, later := answer.Events[0], answer.Events[1], answer.Events[2]
	if !good.OK || good.Type != "updated.deal" || len(good.Logs) != 2 || good.TookUS == 0 {
		t.Errorf("%+v", good)
	}
	if bad.Error == nil || bad.Error.Message != "no persons" || !bad.Error.Permanent || bad.Event != "trial-2" || len(bad.Logs) != 2 {
		t.Errorf("%+v", bad)
	}
	if later.Error == nil || later.Error.RetryAfter != 60 {
		t.Errorf("%+v", later)
	}
	says(t, exitDone, []string{"plugin", "test", "labstage"}, "✓ labstage  updated.deal", `returned {"labels":{"mood":"good"}}`)
	says(t, exitFailed, []string{"plugin", "test", "labstage", "--event", "added.person", "--event", "added.organization", "--event", `{"action":"added","object":"lead"}`},
		"dropped: no persons", "rejected with 422: no organizations", "✗ labstage  added.lead trial-3", "failed: it does not know")
	says(t, exitDone, []string{"plugin", "test", "labsources", "--event", "body.json"}, `returned {"action":"added","key":"k","object":"thing","objectId":"7"}`)
	says(t, exitFailed, []string{"plugin", "test", "labsources", "--event", `{"a":1}`}, "✗ labsources", "failed: it is too short")
	for name, test := range map[string]struct {
		code int
		args []string
		want []string
	}{
		"a source without a body":  {exitUsage, []string{"labsources"}, []string{"what a source's sender sends is not known", "pipehook: hint: give a body"}},
		"a sample that is none":    {exitUsage, []string{"told", "--event", "updated.deel"}, []string{`there is no sample of "updated.deel"`, "pipehook: hint: did you mean"}},
		"events chosen twice":      {exitUsage, []string{"told", "--event", "updated.deal", "--last", "3"}, []string{"--event names events", "pipehook: hint: "}},
		"no store":                 {exitUsage, []string{"told", "--last", "3"}, []string{"there is no store here", "pipehook: hint: use --event"}},
		"a plugin that is none":    {exitUsage, []string{"tolt"}, []string{"there is no plugin tolt", `did you mean "told"?`}},
		"a pattern that is none":   {exitUsage, []string{"told", "--match", "deal", "--store", p.storeURL}, []string{"there is no store here"}},
		"nothing is said of which": {exitUsage, nil, []string{"accepts 1 arg(s)"}},
	} {
		t.Run(name, func(t *testing.T) { says(t, test.code, append([]string{"plugin", "test"}, test.args...), test.want...) })
	}
}

func TestAPluginIsTriedWithStoredEvents(t *testing.T) {
	p := labProject(t, moody("told", "good", "match = [\"*.nothing\"]"))
	stop := p.serve(t)
	for n := range 3 {
		want(t, p.post(t, sampleOf(t, n)), 200, "accepted")
	}
	stop()
	stored := p.events(t)
	out := says(t, exitDone, []string{"plugin", "test", "told", "--last", "2"}, "2 events, 0 failed")
	first, second := strings.Index(out, stored[1].ID), strings.Index(out, stored[0].ID)
	if first < 0 || second < first || strings.Contains(out, stored[2].ID) {
		t.Errorf("the newest two, the oldest first: %s", out)
	}
	says(t, exitDone, []string{"plugin", "test", "told", "--match", "*.deal"}, "3 events, 0 failed")
	says(t, exitDone, []string{"plugin", "test", "told", "--match", "added.nothing"}, "0 events, 0 failed")
	says(t, exitDone, []string{"plugin", "test", "told", "--event", stored[0].ID}, stored[0].ID, "1 event, 0 failed")
	says(t, exitUsage, []string{"plugin", "test", "told", "--match", "deal"}, "--match: ", "pipehook: hint: write it as action.object")
}

func listed(t *testing.T) (plugins []listedPlugin, why string) {
	t.Helper()
	var answer struct {
		Plugins []listedPlugin
		Asked   bool
		Why     string
	}
	if err := json.Unmarshal([]byte(says(t, exitDone, []string{"plugin", "list", "--json"})), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Asked != (answer.Why == "") {
		t.Errorf("asked %t, and %q", answer.Asked, answer.Why)
	}
	return answer.Plugins, answer.Why
}

func TestPluginsAreListedWithWhoUsesThemAndHowTheyDo(t *testing.T) {
	const pin = "sha256 = \"PIN\""
	p := labProject(t, "[plugins]\ndir = \"plugins/bin\"\n"+moody("first", "good", "")+moody("pinned", "good", pin))
	sum := sumOf(t, "plugins/bin/lab")
	edit(t, p.config, pin, `sha256 = "`+sum+`"`)
	p.write(t, "plugins/bin/README", "no program")
	plugins, why := listed(t)
	if len(plugins) != 4 || !strings.HasPrefix(why, "pipehook does not run here") {
		t.Fatalf("%s: %+v", why, plugins)
	}
	for i, name := range []string{"first", "pinned", "", ""} {
		if one := plugins[i]; one.Name != name || one.SHA256 != sum || one.Running != nil || (one.Matches != nil) != (name == "pinned") {
			t.Errorf("%+v", one)
		}
	}
	says(t, exitDone, []string{"plugin", "list"}, "PLUGIN      USED BY          STATE  PID", "labsources  nobody           –", "lab         listener pinned  –", sum[:12]+", pinned", "state is not known: pipehook does not run here")

	p.serve(t)
	eventually(t, "both run", func() bool {
		plugins, _ = listed(t)
		return plugins[0].Running != nil && plugins[0].Running.State == "running" && plugins[1].Running != nil && plugins[1].Running.State == "running"
	})
	s := plugins[0].Running
	if s.PID == 0 || s.Version != "1.2.3" || s.Contract != "1.1" || s.SHA256 != sum || s.Since.IsZero() || s.Restarts != 0 || !slices.Equal(s.Does, []string{"listener"}) || s.PID == plugins[1].Running.PID {
		t.Errorf("%+v", s)
	}
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another runs", func() bool {
		plugins, _ = listed(t)
		now := plugins[0].Running
		return now.State == "running" && now.PID != s.PID && now.Restarts == 1
	})
	says(t, exitDone, []string{"plugin", "list"}, "lab         listener first   running  ", "1.2.3")
	says(t, exitDone, []string{"plugin", "debug", "first"}, "the process of listener first that runs now:", "dlv attach ")
}

func TestThePluginsOfAProcessAreBehindItsToken(t *testing.T) {
	p := labProject(t, moody("first", "good", ""))
	edit(t, p.config, "[admin]\n", "[admin]\ntoken = \"c4n4ry-of-the-tests\"\n")
	p.serve(t)
	resp, err := http.Get("http://" + p.admin + pluginsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusUnauthorized || strings.Contains(string(body), "first") {
		t.Errorf("%d %s %v", resp.StatusCode, body, err)
	}
	if plugins, why := listed(t); why != "" || plugins[0].Running == nil {
		t.Errorf("with the token: %s %+v", why, plugins)
	}
	edit(t, p.config, "c4n4ry-of-the-tests", "another")
	if _, why := listed(t); !strings.Contains(why, "has another admin.token") {
		t.Errorf("with another: %s", why)
	}
	edit(t, p.config, p.admin, p.hooks) // who answers there is no admin
	if _, why := listed(t); !strings.Contains(why, "is no pipehook that knows of this: it says 404") {
		t.Errorf("elsewhere: %s", why)
	}
}

func TestHowToDebugAPluginIsSaid(t *testing.T) {
	labProject(t, moody("first", "good", "timeout = \"7s\""))
	says(t, exitDone, []string{"plugin", "debug", "first"},
		"build it anew, since its code is optimized", "go build -gcflags='all=-N -l' -o ", "    dlv exec plugins/bin/lab -- --debug\n    PIPEHOOK_REATTACH='…' pipehook dev\n",
		"no process of it is known to run now")
	var answer debugging
	if err := json.Unmarshal([]byte(says(t, exitDone, []string{"plugin", "debug", "lab", "--json"})), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Exec != "dlv exec plugins/bin/lab -- --debug" || answer.Why == "" || len(answer.Running) != 0 {
		t.Errorf("%+v", answer)
	}
	says(t, exitUsage, []string{"plugin", "debug", "nosuch"}, "there is no plugin nosuch", "pipehook: hint: known here: first, lab")

	inFolder(t)
	made := makePlugin(t, "deal-audit")
	shell(t, made.Next[2])
	says(t, exitDone, []string{"plugin", "debug", "deal-audit"}, "go -C plugins/deal-audit build -gcflags='all=-N -l' -o ../bin/deal-audit .")
	shell(t, "go -C plugins/deal-audit build -gcflags='all=-N -l' -o ../bin/deal-audit .")
	if out := says(t, exitDone, []string{"plugin", "debug", "deal-audit"}); strings.Contains(out, "build it anew") {
		t.Errorf("it is good now: %s", out)
	}
}
