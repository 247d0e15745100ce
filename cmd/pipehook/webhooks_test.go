package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/pipedrive/hooks"
)

// fakeAccount keeps webhooks in memory.
type fakeAccount struct {
	mu        sync.Mutex
	all       []hooks.Webhook
	passwords map[int64]core.Secret
	last      int64
	calls     []string
	failing   map[string]error // by the call, such as "remove 7"
	lost      map[string]error // of calls that have done what they are for
}

func (a *fakeAccount) call(ctx context.Context, text string) error {
	a.calls = append(a.calls, text)
	return cmp.Or(ctx.Err(), a.failing[text])
}

func (a *fakeAccount) webhooks(context.Context) ([]hooks.Webhook, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.all), a.failing["list"]
}

func (a *fakeAccount) create(ctx context.Context, w hooks.Wanted, password core.Secret) (hooks.Webhook, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.call(ctx, "create "+w.Event.Named(w.Version)); err != nil {
		return hooks.Webhook{}, err
	}
	a.last++
	made := hooks.Webhook{ID: 100 + a.last, User: max(w.User, 1), Name: w.Name, Event: w.Event, URL: w.URL, Version: w.Version, Active: true, AuthUser: w.AuthUser, Type: "general"}
	a.all = append(a.all, made)
	if a.passwords == nil {
		a.passwords = map[int64]core.Secret{}
	}
	a.passwords[made.ID] = password
	return made, a.lost["create "+w.Event.Named(w.Version)]
}

func (a *fakeAccount) remove(ctx context.Context, id int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.call(ctx, fmt.Sprint("remove ", id)); err != nil {
		return err
	}
	a.all = slices.DeleteFunc(a.all, func(h hooks.Webhook) bool { return h.ID == id })
	return nil
}

// webhooksRun runs a command of webhooks against an account.
func webhooksRun(t *testing.T, p *project, a *fakeAccount, stdin io.Reader, stderr io.Writer, args ...string) (code int, stdout string) {
	t.Helper()
	var out bytes.Buffer
	c := &cli{stdin: stdin, stdout: &out, stderr: stderr, openAccount: func(*config.Config) (account, error) { return a, nil }}
	return c.run(t.Context(), append([]string{"webhooks"}, append(args, "--config", p.config)...)), out.String()
}

func (p *project) webhooks(t *testing.T, a *fakeAccount, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var errs bytes.Buffer
	code, stdout = webhooksRun(t, p, a, strings.NewReader(""), &errs, args...)
	return code, stdout, errs.String()
}

const account1 = "[pipedrive]\ncompany = \"acme\"\napi_token = \"canary-token\"\npublic_url = \"https://hooks.example.com\"\n"

func connected(t *testing.T, more string) *project {
	t.Helper()
	return newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": account1 + more})
}

func hookHere(id int64, event string) hooks.Webhook {
	e, err := hooks.Parse(event)
	if err != nil {
		panic(err)
	}
	return hooks.Webhook{ID: id, User: 1, Owner: 1, Name: "by hand", Event: e, URL: "https://hooks.example.com/hook", Version: "2.0", Active: true, AuthUser: "hook", Type: "general", LastStatus: 200}
}

func TestTheListSaysWhichWebhooksComeHereAndAreDeclared(t *testing.T) {
	p := connected(t, "[[pipedrive.webhook]]\nevent = \"updated.deal\"\n")
	other := hookHere(8, "*.*")
	other.URL, other.Version, other.LastStatus, other.Active = "https://other.example.com/x", "1.0", 500, false
	a := &fakeAccount{all: []hooks.Webhook{hookHere(7, "updated.deal"), other}}
	code, out, errs := p.webhooks(t, a, "list")
	want := `ID  EVENT        URL                             VERSION  ACTIVE  LAST STATUS  HERE  DECLARED
7   change.deal  https://hooks.example.com/hook  2.0      yes     200          yes   pipedrive.webhook[0]
8   *.*          https://other.example.com/x     1.0      no      500          no    –
`
	if code != exitDone || out != want {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	code, out, _ = p.webhooks(t, a, "list", "--json")
	var all []webhookJSON
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != exitDone || len(all) != 2 || !all[0].Here || all[0].Declared != "pipedrive.webhook[0]" || all[0].Canonical != "updated.deal" || all[1].Here {
		t.Errorf("exit code %d, error %v\n%s", code, err, out)
	}
	if code, out, _ := p.webhooks(t, a, "list", "--verbose"); code != exitDone || !strings.Contains(out, "by hand") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestAWebhookIsMadeByFlags(t *testing.T) {
	for _, test := range []struct {
		name  string
		args  []string
		code  int
		calls string
		says  string // on either stream
	}{
		{"all from the configuration", []string{"--auto-config", "--event", "*.deal"}, exitDone, "create *.deal", "webhook 101"},
		{"some of it comes already", []string{"--auto-config", "--event", "*.*"}, exitUsage, "", "webhook 7 (*.person) brings some of the events"},
		{"some of it comes already, and that is meant", []string{"--auto-config", "--event", "added.*", "--yes"}, exitDone, "create create.*", "warning: webhook 7 (*.person)"},
		{"in the old vocabulary", []string{"--auto-config", "--event", "updated.deal"}, exitDone, "create change.deal", ""},
		{"of version 1", []string{"--auto-config", "--event", "change.deal", "--webhook-version", "1.0"}, exitDone, "create updated.deal", ""},
		{"one like it is there", []string{"--auto-config", "--event", "*.person"}, exitDone, "", "is there already"},
		{"one like it is there, and another is meant", []string{"--auto-config", "--event", "*.person", "--force"}, exitDone, "create *.person", ""},
		{"nothing is given", nil, exitUsage, "", "--event, --url"},
		{"a merge in version 2", []string{"--auto-config", "--event", "merged.deal"}, exitUsage, "", "subscribe to *.deal"},
		{"an address that is not encrypted", []string{"--url", "http://hooks.example.com/hook", "--event", "*.*"}, exitUsage, "", "not encrypted"},
		{"no credentials for a pipeline that asks for them", []string{"--url", "https://hooks.example.com/hook", "--event", "*.deal"}, exitUsage, "", "--auth-user hook"},
		{"no credentials, by another name of the host", []string{"--url", "https://192.0.2.1/hook", "--event", "*.deal"}, exitUsage, "", "refuses what comes without"},
		{"no credentials, and that is meant", []string{"--url", "https://hooks.example.com/hook", "--event", "*.deal", "--no-auth"}, exitDone, "create *.deal", "warning: pipeline crm asks for HTTP Basic"},
		{"no credentials for somebody else", []string{"--url", "https://elsewhere.example.com/", "--event", "*.deal"}, exitDone, "create *.deal", "warning: pipeline crm asks for HTTP Basic"},
		{"no address", []string{"--url", "nonsense", "--event", "*.deal"}, exitUsage, "", "--url: the address is no address"},
		{"a password that others see", []string{"--url", "https://elsewhere.example.com/", "--event", "*.*", "--auth-user", "x", "--auth-pass", "canary-typed"}, exitDone, "create *.*", "--auth-pass-file"},
		{"a username without a password", []string{"--url", "https://elsewhere.example.com/", "--event", "*.*", "--auth-user", "x"}, exitUsage, "", "no password"},
		{"an object that is not known", []string{"--auto-config", "--event", "added.dealfield"}, exitDone, "create create.dealfield", "warning: pipehook knows no object"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, a := connected(t, ""), &fakeAccount{all: []hooks.Webhook{hookHere(7, "*.person")}}
			code, out, errs := p.webhooks(t, a, append([]string{"create"}, test.args...)...)
			if calls := strings.Join(a.calls, ", "); code != test.code || calls != test.calls || !strings.Contains(out+errs, test.says) {
				t.Errorf("exit code %d, calls %s\n%s%s", code, calls, out, errs)
			}
			if strings.Contains(out+errs, "canary") || strings.Contains(out+errs, "secret of the tests") {
				t.Errorf("a secret shows\n%s%s", out, errs)
			}
			if strings.Contains(test.name, "configuration") && a.passwords[101] != "secret of the tests" {
				t.Error("the password is not that of the pipeline")
			}
		})
	}
}

func TestASampleThatIsNotThereIsAnsweredInALine(t *testing.T) {
	p := connected(t, "")
	code, _, errs := p.webhooks(t, &fakeAccount{}, "test", "--event", "nonsense")
	if code != exitUsage || strings.Contains(errs, "--file") || len(errs) > 300 || !strings.Contains(errs, "updated.deal") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

func TestWebhooksAreDeletedByTheirIDs(t *testing.T) {
	p, a := connected(t, ""), &fakeAccount{all: []hooks.Webhook{hookHere(6, "*.note"), hookHere(7, "*.person"), hookHere(8, "*.deal"), hookHere(9, "*.*")}}
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{nil, exitUsage, "nothing is chosen"},
		{[]string{"--id", "5", "--yes"}, exitFailed, "there is no webhook 5"},
		{[]string{"--id", "7"}, exitUsage, "add --yes"},
		{[]string{"--id", "abc", "--yes"}, exitUsage, `"abc" is no id of a webhook, which is a number`},
		{[]string{"abc", "--yes"}, exitUsage, `"abc" is no id of a webhook, which is a number`},
		{[]string{"6"}, exitUsage, "add --yes"},
		{[]string{"--help"}, exitDone, "--id ID "},
		{[]string{"--id", "7,8", "--id", "7", "--yes"}, exitDone, "2 webhooks deleted"},
		{[]string{"6", "--yes"}, exitDone, "1 webhook deleted"},
	} {
		if code, out, errs := p.webhooks(t, a, append([]string{"delete"}, test.args...)...); code != test.code || !strings.Contains(out+errs, test.says) {
			t.Errorf("%v: exit code %d\n%s%s", test.args, code, out, errs)
		}
	}
	if len(a.all) != 1 || a.all[0].ID != 9 {
		t.Errorf("left are %v", a.all)
	}
}

func TestTheAccountIsMadeAsDeclaredAndOnlyOnce(t *testing.T) {
	p := connected(t, "[[pipedrive.webhook]]\nevent = \"*.deal\"\n[[pipedrive.webhook]]\nevent = \"*.person\"\nname = \"people\"\n")
	old := hookHere(7, "*.deal")
	old.Active = false
	a := &fakeAccount{all: []hooks.Webhook{old, hookHere(8, "*.deal"), hookHere(9, "*.deal"), hookHere(10, "*.note")}}
	code, out, errs := p.webhooks(t, a, "plan")
	want := `= keep      *.deal to https://hooks.example.com/hook (webhook 8)
+ create    *.person to https://hooks.example.com/hook
- duplicate *.deal to https://hooks.example.com/hook (webhook 7)
             webhook 8 brings *.deal here already
- duplicate *.deal to https://hooks.example.com/hook (webhook 9)
             webhook 8 brings *.deal here already
  leave     *.note to https://hooks.example.com/hook (webhook 10)
             it comes here and is not declared
1 to create, 0 to replace, 2 duplicates: pipehook webhooks apply --prune
`
	if code != exitUsage || out != want || errs != "" {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if code, _, errs := p.webhooks(t, a, "apply"); code != exitUsage || !strings.Contains(errs, "--yes") || a.calls != nil {
		t.Errorf("nobody said yes: exit code %d, calls %v\n%s", code, a.calls, errs)
	}
	code, out, errs = p.webhooks(t, a, "apply", "--yes", "--prune", "--json")
	var answer struct {
		Steps []stepJSON `json:"steps"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitDone || len(answer.Steps) != 5 || answer.Steps[1].Made != 101 || !answer.Steps[2].Deleted {
		t.Errorf("exit code %d, error %v\n%s%s", code, err, out, errs)
	}
	if code, out, errs := p.webhooks(t, a, "plan"); code != exitDone || !strings.Contains(out, "in step") {
		t.Errorf("after apply: exit code %d\n%s%s", code, out, errs)
	}
	before := len(a.calls)
	if code, _, errs := p.webhooks(t, a, "apply", "--yes"); code != exitDone || len(a.calls) != before {
		t.Errorf("a second apply: exit code %d, calls %v\n%s", code, a.calls[before:], errs)
	}
}

func TestWhatComesTwiceIsOutOfStep(t *testing.T) {
	for declared, want := range map[string]string{
		"": `  leave     *.* to https://hooks.example.com/hook (webhook 7)
             it comes here and is not declared
! leave     create.deal to https://hooks.example.com/hook (webhook 8)
             some events come twice: webhook 7 brings *.* here too
! leave     *.person to https://hooks.example.com/hook (webhook 9)
             some events come twice: webhook 7 brings *.* here too
2 webhooks bring what others bring too: pipehook webhooks delete ID, or declare less
`,
		"[[pipedrive.webhook]]\nevent = \"*.person\"\n[[pipedrive.webhook]]\nevent = \"added.person\"\n": "some events come twice: pipedrive.webhook[0] brings *.person here too",
	} {
		p := connected(t, declared)
		a := &fakeAccount{all: []hooks.Webhook{hookHere(7, "*.*"), hookHere(8, "added.deal"), hookHere(9, "*.person")}}
		code, out, errs := p.webhooks(t, a, "plan")
		if code != exitUsage || !strings.Contains(out, want) {
			t.Errorf("exit code %d\n%s%s", code, out, errs)
		}
		var answer struct {
			InStep bool       `json:"inStep"`
			Steps  []stepJSON `json:"steps"`
		}
		code, out, _ = p.webhooks(t, a, "plan", "--json")
		if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitUsage || answer.InStep || !strings.Contains(out, `"here": true`) || strings.Contains(out, `"here": false`) {
			t.Errorf("exit code %d, error %v\n%s", code, err, out)
		}
	}
}

func TestAnEventThatWasChangedReplacesTheWebhookThatApplyMade(t *testing.T) {
	p := connected(t, "[[pipedrive.webhook]]\nevent = \"*.person\"\n")
	byHand := hookHere(7, "*.note")
	byHand.Name = "pipehook *.note" // as create calls one
	a := &fakeAccount{all: []hooks.Webhook{byHand}}
	if code, _, errs := p.webhooks(t, a, "apply", "--yes"); code != exitDone {
		t.Fatal(errs)
	}
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "pipeline.toml", strings.Replace(string(text), `event = "*.person"`, `event = "*.deal"`, 1))
	if code, out, _ := p.webhooks(t, a, "plan"); code != exitUsage || !strings.Contains(out, "event is *.person, not *.deal") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, out, errs := p.webhooks(t, a, "apply", "--yes"); code != exitDone || len(a.all) != 2 || a.all[0].ID != 7 || a.all[1].Event.Object != "deal" {
		t.Errorf("exit code %d, left are %+v\n%s%s", code, a.all, out, errs)
	}
}

func TestAnObjectThatIsNotKnownIsWarnedOfWhereItIsDeclared(t *testing.T) {
	p, a := connected(t, "[[pipedrive.webhook]]\nevent = \"added.foo\"\n"), &fakeAccount{}
	const says = `pipedrive.webhook[0].event: pipehook knows no object "foo"`
	if _, _, errs := p.webhooks(t, a, "plan"); !strings.Contains(errs, says) {
		t.Errorf("plan\n%s", errs)
	}
	if _, out, errs := command(t, "check", "--config", p.config); !strings.Contains(out+errs, says) {
		t.Errorf("check\n%s%s", out, errs)
	}
}

func TestWhatDiffersIsMadeAnewBeforeTheOldOneIsDeleted(t *testing.T) {
	p := connected(t, "[[pipedrive.webhook]]\nevent = \"*.*\"\n")
	old := hookHere(7, "*.*")
	old.Version = "1.0"
	a := &fakeAccount{all: []hooks.Webhook{old}, failing: map[string]error{"remove 7": errors.New("no answer")}}
	code, _, errs := p.webhooks(t, a, "apply", "--yes")
	if code != exitFailed || !strings.Contains(errs, "webhook 101 was made; the old one, 7, is still there") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	if got := strings.Join(a.calls, ", "); got != "create *.*, remove 7" {
		t.Errorf("calls %s", got)
	}
	delete(a.failing, "remove 7")
	if code, out, errs := p.webhooks(t, a, "apply", "--yes", "--prune"); code != exitDone || len(a.all) != 1 || a.all[0].ID != 101 {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

func TestAMistakeInWhatIsDeclaredIsFoundByCheck(t *testing.T) {
	p := connected(t, "[[pipedrive.webhook]]\nevent = \"merged.deal\"\n[[pipedrive.webhook]]\nevent = \"deal\"\n")
	code, _, errs := command(t, "check", "--config", p.config)
	if code != exitUsage || !strings.Contains(errs, "pipedrive.webhook[0].event") || !strings.Contains(errs, "pipedrive.webhook[1].event") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

func TestAPlanThatCanNotBeMadeIsNoDifference(t *testing.T) {
	p := connected(t, "[[pipedrive.webhook]]\nevent = \"*.deal\"\nnmae = \"deals\"\n")
	code, out, errs := p.webhooks(t, &fakeAccount{}, "plan")
	if code != exitFailed || out != "" || !strings.Contains(errs, "unknown key") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

func TestAnotherPasswordKeepsTheRestOfDotenv(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/.env"
	text := "# first\nA=1\nexport PASSWORD=\"old\"\nPASSWORD_OLD=x\n\nB='2 3'\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := setDotenv(path, "PASSWORD", "brand new # one"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if want := strings.Replace(text, `"old"`, "'brand new # one'", 1); err != nil || string(got) != want {
		t.Errorf("got %s, error %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o640); err != nil { // a server of another user reads it
		t.Fatal(err)
	}
	owner := os.Getgid()
	if os.Getuid() == 0 {
		owner = 12345
		if err := os.Chown(path, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	if err := setDotenv(path, "PASSWORD", "brand new # one"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 || info.Sys().(*syscall.Stat_t).Gid != uint32(owner) {
		t.Errorf("mode %v, owner %+v, error %v", info.Mode(), info.Sys(), err)
	}
	for _, value := range []core.Secret{"it's", "two\nlines"} {
		if err := setDotenv(path, "PASSWORD", value); value == "it's" && err == nil {
			t.Errorf("%q was written so that it reads otherwise", string(value))
		}
	}
	if err := setDotenv(path, "NOSUCH", "x"); err == nil {
		t.Error("a variable that is not there was set")
	}
}
