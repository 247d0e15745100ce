package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/testdb"
)

// command runs the program once.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, nil, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestTheExampleIsTheOneThatIsHandedOut(t *testing.T) {
	example, err := os.ReadFile("../../pipeline.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(example, exampleConfig) {
		t.Error("copy pipeline.example.toml to cmd/pipehook/example/pipeline.toml")
	}
	if code, out, errs := command(t, "check", "--config", "../../pipeline.example.toml"); code != exitDone || strings.Contains(out, "warning") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

func TestWrongUsageIsExitCode2WithAHint(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, test := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"an unknown command":            {[]string{"srve"}, exitUsage, []string{`pipehook: error: unknown command "srve"`, "pipehook: hint: pipehook serve"}},
		"an unknown flag":               {[]string{"check", "--nope"}, exitUsage, []string{"pipehook: error: unknown flag: --nope", "pipehook: hint: pipehook check --help"}},
		"too many arguments":            {[]string{"version", "x"}, exitUsage, []string{"pipehook: error:", "pipehook: hint: pipehook version --help"}},
		"no configuration":              {[]string{"serve"}, exitUsage, []string{"pipehook: error: there is no pipeline.toml here", "pipehook: hint: pipehook init"}},
		"no configuration to check":     {[]string{"check", "-c", "nofile.toml"}, exitUsage, []string{"pipehook: error: there is no nofile.toml here", "pipehook: hint: pipehook init, or name the file with --config"}},
		"no database yet":               {[]string{"events", "list"}, exitFailed, []string{"pipehook: error: there is no database at"}},
		"a slip in a sample":            {[]string{"trigger", "updated.dael"}, exitUsage, []string{`there is no sample of "updated.dael"`, `pipehook: hint: did you mean "updated.deal"?`}},
		"an unknown sample":             {[]string{"trigger", "a.b"}, exitUsage, []string{`there is no sample of "a.b"`, "pipehook: hint: known here: added.activity"}},
		"nothing listens":               {[]string{"trigger", "--url", "http://127.0.0.1:1/"}, exitFailed, []string{"pipehook: error:", "pipehook: hint: is pipehook dev"}},
		"an unknown command of a group": {[]string{"listeners", "pauze", "x"}, exitUsage, []string{`unknown command "pauze" of pipehook listeners`, "pipehook: hint: pipehook listeners pause"}},
		"one that is near nothing":      {[]string{"events", "foo"}, exitUsage, []string{`unknown command "foo" of pipehook events`, "pipehook: hint: pipehook events --help"}},
		"a slip in deliveries":          {[]string{"deliveries", "lst"}, exitUsage, []string{"pipehook: hint: pipehook deliveries list"}},
		"a negative time":               {[]string{"deliveries", "cancel", "--since", "-1h"}, exitUsage, []string{`"-1h" for "--since" flag: must be above 0`}},
		"no time":                       {[]string{"events", "replay", "--until=0s"}, exitUsage, []string{"must be above 0"}},
		"a negative time of events":     {[]string{"events", "list", "--since", "-7d"}, exitUsage, []string{`"-7d"`}},
		"an error as JSON":              {[]string{"events", "list", "--json"}, exitFailed, []string{`{"error":{"message":"there is no database at `, `,"hint":"pipehook migrate makes it`}},
		"wrong usage as JSON":           {[]string{"--json", "check", "--nope"}, exitUsage, []string{`{"error":{"message":"unknown flag: --nope","hint":"pipehook check --help"}}`}},
		"a time in days":                {[]string{"events", "list", "--since", "7d"}, exitFailed, []string{"there is no database at"}},
		"a state that is none":          {[]string{"deliveries", "retry", "--state", "bogus"}, exitUsage, []string{"it is one of pending, done"}},
		"a limit below 1":               {[]string{"events", "list", "--limit", "-1"}, exitUsage, []string{"must be a number above 0"}},
		"no limit":                      {[]string{"deliveries", "list", "--limit", "0"}, exitUsage, []string{"must be a number above 0"}},
		"to retry what is dead":         {[]string{"deliveries", "retry", "--state", "dead"}, exitUsage, []string{"what is dead can't be retried", "pipehook: hint: pipehook events replay --state dead"}},
		"to cancel what is done":        {[]string{"deliveries", "cancel", "--state", "done"}, exitUsage, []string{"what is done can't be cancelled"}},
		"to replay what is pending":     {[]string{"events", "replay", "--state", "pending"}, exitUsage, []string{"what is pending can't be replayed", "pipehook: hint: pipehook deliveries retry --state pending"}},
		"a limit of refused requests":   {[]string{"events", "refused", "--limit", "-1"}, exitUsage, []string{"must be a number above 0"}},
		"a status that refuses nothing": {[]string{"events", "refused", "--status", "99"}, exitUsage, []string{"must be a status from 400 to 599"}},
		"refused requests of days":      {[]string{"events", "refused", "--since", "7d"}, exitFailed, []string{"there is no database at"}},
		"a pattern that is none":        {[]string{"events", "list", "--match", "deal"}, exitUsage, []string{`--match: pattern "deal" is not action.object`}},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := command(t, test.args...)
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			for _, want := range test.want {
				if !strings.Contains(errs, want) {
					t.Errorf("no %q in\n%s", want, errs)
				}
			}
		})
	}
}

func TestHelpShowsAFlagOfYesOrNoByItsNameAlone(t *testing.T) {
	_, out, _ := command(t, "sync", "--help")
	for _, want := range []string{"\n      --json            print JSON", "\n      --since time   only what changed", "\n      --restart      begin anew", "\n  -h, --help         help for"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestCheckListsEveryMistakeAtOnce(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), "authenticate dedupe dispach", map[string]string{
		"authenticate": `basic = { username = "hook", password = "" }`, "dedupe": `windwo = "24h"`, "": "[log]\nlevle = \"info\"\n",
	})
	p.write(t, "scripts/broken.js", "export default (event) => {\n  const = 1;\n}")
	code, _, errs := command(t, "check", "--config", p.config)
	for _, want := range []string{
		`log.levle: unknown key`, `pipehook: hint: did you mean "level"?`,
		p.config + ":14:14: pipeline[0].stage[0]: basic.password is empty",
		p.config + ":19:3: pipeline[0].stage[1].windwo: unknown key",
		p.config + `:20:14: pipeline[0].stage[2]: unknown stage kind "dispach"; there are authenticate, dedupe, dispatch, echo, persist, plugin, script, validate`,
		filepath.Join(p.dir, "scripts", "broken.js") + ":2:9: ",
	} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
	if code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	edit(t, p.config, "levle", "level")
	edit(t, p.config, `password = ""`, `password = "good"`)
	edit(t, p.config, "windwo", "window")
	edit(t, p.config, "dispach", "dispatch")
	code, _, errs = command(t, "check", "--config", p.config)
	if code != exitUsage || !strings.Contains(errs, filepath.Join(p.dir, "scripts", "broken.js")+":2:9: ") {
		t.Errorf("a script that does not compile: exit code %d\n%s", code, errs)
	}
}

func TestCheckFindsThatAFileSaysWhatItMatchesAndHasNoFunction(t *testing.T) {
	inFolder(t, "scripts/told.js", "export const match = 'updated.deal';\nexport function handler() {}", "scripts/data.js", "export const rate = 2;",
		"pipeline.toml", "[[pipeline]]\nname = \"crm\"\npath = \"/crm\"\nsource = \"pipedrive\"\n[[pipeline.stage]]\nuse = \"persist\"\n")
	out := says(t, exitUsage, []string{"check"}, "scripts/told.js: it exports no function: write export default function (event, ctx)")
	if strings.Contains(out, "data.js") {
		t.Errorf("a file of data is taken for a listener: %s", out)
	}
}

func TestCheckRefusesRulesThatWhatAScriptMatchesCanNeverFulfil(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "[[listener]]\nname = \"new\"\nscript = \"new.js\"\nchanged = [\"stage_id\"]\nwhere = { \"previous.title\" = \"x\" }\n"})
	p.write(t, "new.js", `export const match = ["added.deal"]; export default () => {}`)
	code, _, errs := command(t, "check", "--config", p.config)
	for _, want := range []string{p.config + ":10:1: listener[0].changed: can never hold: ", p.config + ":11:", "listener[0].where.\"previous.title\": can never hold: ", "let new.js match"} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
	if code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	p.write(t, "new.js", `export const match = ["updated.deal"]; export default () => {}`)
	if code, _, errs := command(t, "check", "--config", p.config); code != exitDone {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

func TestCheckReportsARuleOnceAndWithItsPlace(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "[[listener]]\nname = \"new\"\nscript = \"new.js\"\nwhere = { \"current.value\" = { gt = 5, lt = 3 } }\n" +
		"[[listener]]\nname = \"added\"\nscript = \"new.js\"\nwhere = { \"previous.title\" = \"x\" }\n"})
	p.write(t, "new.js", `export const match = ["added.deal"]; export default () => {}`)
	code, out, _ := command(t, "check", "--config", p.config, "--json")
	var answer struct{ Mistakes []complaint }
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitUsage || len(answer.Mistakes) != 2 {
		t.Fatalf("exit code %d (%v)\n%s", code, err, out)
	}
	for i, key := range []string{`listener[0].where."current.value"`, `listener[1].where."previous.title"`} {
		if m := answer.Mistakes[i]; m.Key != key || m.Line != 10+i*4 || m.Column < 2 || m.File != p.config || m.Hint == "" || !strings.HasPrefix(m.Message, "can never hold: ") {
			t.Errorf("mistake %+v", m)
		}
	}
}

func TestFieldsThatChangeAreNamedAlone(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "[[listener]]\nname = \"new\"\nscript = \"new.js\"\nchanged = [\"title\", \"current.stage_id\", \"previous.custom_fields.a\", \"meta.user_id\", \"custom_fields.b\"]\n"})
	p.write(t, "new.js", `export default () => {}`)
	code, _, errs := command(t, "check", "--config", p.config)
	for _, want := range []string{`listener[0].changed[1]: `, `did you mean "stage_id"?`, `did you mean "custom_fields.a"?`, "listener[0].changed[3]: ", p.config + ":10:21: "} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
	if code != exitUsage || strings.Count(errs, "pipehook: error: ") != 3 {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

func TestAScriptsFolderThatIsNotThereIsAWarning(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	if _, out, _ := command(t, "check", "--config", p.config); strings.Contains(out, "scripts.dir") {
		t.Errorf("nobody asked for the folder: %s", out)
	}
	pr := launch(t, p, exec.Command(buildBinary(t), "serve", "--config", p.config))
	p.replace(t, readFile(t, p.config)+"[scripts]\ndir = \"nosuch\"\n")
	const warning = "scripts.dir: there is no folder "
	if code, out, _ := command(t, "check", "--config", p.config); code != exitDone || !strings.Contains(out, "warning: "+warning+filepath.Join(p.dir, "nosuch")) {
		t.Errorf("exit code %d: %s", code, out)
	}
	pr.says(t, warning, 1)
	pr.stop(t, p, pr.cmd.Process.Pid)
	pr = launch(t, p, exec.Command(pr.cmd.Path, "serve", "--config", p.config))
	pr.says(t, warning, 1)
	pr.stop(t, p, pr.cmd.Process.Pid)
}

func TestCheckFindsThatThereIsNoPipeline(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	const none = "pipeline: there is none"
	for text, mistakes := range map[string]int{"": 1, "[log]\nlevle = \"info\"\n": 2, "[pipeline]\nname = \"crm\"\n": 1} {
		p.write(t, "pipeline.toml", text)
		code, out, errs := command(t, "check", "--config", p.config)
		if code != exitUsage || strings.Count(errs, "pipehook: error: ") != mistakes || strings.Contains(errs, none) == strings.Contains(text, "pipeline") {
			t.Errorf("%q: exit code %d\n%s%s", text, code, out, errs)
		}
	}
}

func TestCheckSaysWhomAnAuthenticateStageLetsIn(t *testing.T) {
	const signed, open = "authenticate asks for a signature, and Pipedrive signs nothing", "authenticate has none = true: anyone"
	for _, test := range []struct{ name, basic, source, want string }{
		{"a signature of Pipedrive's", `signature = { header = "X-Signature", secret = "0123456789abcdef" }`, "pipedrive", signed},
		{"a signature of another sender's", `signature = { header = "X-Signature", secret = "0123456789abcdef" }`, "script\"\nscript = \"names.js", ""},
		{"everybody", "none = true", "pipedrive", open},
		{"a password", `basic = { username = "hook", password = "secret" }`, "pipedrive", ""},
	} {
		p := newProject(t, testdb.SQLite(t), fullChain, nil)
		p.write(t, "names.js", `export default () => ({ action: "added", object: "deal", objectId: "1" })`)
		p.write(t, "pipeline.toml", "[[pipeline]]\nname = \"crm\"\npath = \"/crm\"\nsource = \""+test.source+"\"\n[[pipeline.stage]]\nuse = \"authenticate\"\n"+
			test.basic+"\n[[pipeline.stage]]\nuse = \"dedupe\"\n[[pipeline.stage]]\nuse = \"persist\"\n[[pipeline.stage]]\nuse = \"dispatch\"\n")
		out := says(t, exitDone, []string{"check", "--config", p.config}, test.want)
		if test.want == "" && strings.Contains(out, "authenticate") {
			t.Errorf("%s: %s", test.name, out)
		}
	}
}

func TestAnActionThatNobodySendsIsAWarning(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "[[listener]]\nname = \"moved\"\nscript = \"moved.js\"\nmatch = [\"update.deal\", \"change.deal\", \"*.deal\"]\n"})
	p.write(t, "moved.js", `export const match = ["mrged.deal"]; export default () => {}`)
	p.write(t, "scripts/new.js", `export const match = ["creatd.deal", "merged.person", "restored.deal"]; export default () => {}`)
	code, out, errs := command(t, "check", "--config", p.config)
	for _, want := range []string{
		`warning: listener moved: match update.deal: update is no known action; did you mean "updated"?`,
		`warning: listener new: match creatd.deal: creatd is no known action; did you mean "create"?`,
		`warning: listener new: match restored.deal: restored is no known action; known here: added, change, create`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code != exitDone || strings.Count(out, "warning: ") != 3 {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

func TestAKeyThatIsAlmostUseIsNamed(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	edit(t, p.config, `use = "persist"`, `uses = "persist"`)
	code, _, errs := command(t, "check", "--config", p.config)
	if code != exitUsage || strings.Count(errs, "pipehook: error: ") != 1 || !strings.Contains(errs, `pipeline[0].stage[3].uses: unknown key`) || !strings.Contains(errs, `did you mean "use"?`) {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

func TestNamesFromTheEnvironmentAreNotRepeated(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	edit(t, p.config, `source = "pipedrive"`, `source = "${CANARY}"`)
	edit(t, p.config, `use = "persist"`, `use = "${CANARY}"`)
	p.write(t, ".env", "CANARY=c4n4ry\n")
	code, _, errs := command(t, "check", "--config", p.config)
	if code != exitUsage || strings.Contains(errs, "c4n4ry") || !strings.Contains(errs, "pipeline[0].source: ") || !strings.Contains(errs, "pipeline[0].stage[3]: ") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

func TestCheckSaysWhatAnOrderCosts(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), "authenticate dedupe dispatch persist", nil)
	code, out, _ := command(t, "check", "--config", p.config, "--json")
	var answer struct {
		OK       bool     `json:"ok"`
		Warnings []string `json:"warnings"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitDone || !answer.OK {
		t.Fatalf("exit code %d (%v)\n%s", code, err, out)
	}
	if len(answer.Warnings) != 1 || !strings.HasPrefix(answer.Warnings[0], "pipeline crm: dispatch before persist: a listener may run for an event that is then lost") {
		t.Errorf("warnings %q", answer.Warnings)
	}
}

func TestABrokenScriptDoesNotStopTheOthers(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	p.write(t, "scripts/broken.js", "export default (event) => {")
	p.write(t, "scripts/good.js", "export default () => {}")
	stop := p.serve(t)
	want(t, p.post(t, sampleBody(t)), 200, "accepted")
	if ds := p.events(t)[0].Deliveries; len(ds) != 1 || ds[0].Listener != "good" {
		t.Errorf("deliveries %+v", ds)
	}
	stop()
}

func TestASecretNeverShows(t *testing.T) {
	const canary = "c4n4ry-of-the-tests"
	logFile := filepath.Join(t.TempDir(), "log.json")
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{
		"authenticate": `basic = { username = "hook", password = "` + canary + `" }`,
		"":             "[log]\nlevel = \"debug\"\nfile = \"" + logFile + "\"\n",
	})
	p.write(t, "scripts/quiet.js", "export default () => {}")
	stop := p.serve(t)
	good := func(r *http.Request) { r.SetBasicAuth("hook", canary) }
	want(t, p.post(t, sampleBody(t), good), 200, "accepted")
	want(t, p.post(t, sampleBody(t), wrongPassword), 401, "unauthenticated")
	id := p.events(t)[0].ID
	_, shown, errs := command(t, "events", "show", id, "--json", "--config", p.config)
	metrics, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = metrics.Body.Close() }()
	figures, err := io.ReadAll(metrics.Body)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	logged, err := os.ReadFile(logFile)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join([]string{shown, errs, string(figures), string(logged)}, "\n")
	if strings.Contains(all, canary) || strings.Contains(all, "aG9vazpjNG40cnk") {
		t.Error("the password shows")
	}
	for _, text := range []string{`pipehook_authentication_failures_total{method="basic",pipeline="crm",reason="wrong"} 1`, `"stage":"dedupe"`, `"verdict":"continue"`} {
		if !strings.Contains(all, text) {
			t.Errorf("no %s", text)
		}
	}
}

// gate is a way to a server that can be shut.
type gate struct {
	net.Listener
	to    string
	mu    sync.Mutex
	shut  bool
	conns []net.Conn
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Listener: ln, to: to}
	t.Cleanup(func() { _ = ln.Close(); g.set(true) })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			g.pass(conn)
		}
	}()
	return g
}

func (g *gate) pass(near net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	far, err := net.Dial("tcp", g.to)
	if g.shut || err != nil {
		_ = near.Close()
		return
	}
	g.conns = append(g.conns, near, far)
	for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			_ = pair[0].Close()
		}()
	}
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	if shut {
		for _, c := range g.conns {
			_ = c.Close()
		}
		g.conns = nil
	}
}
