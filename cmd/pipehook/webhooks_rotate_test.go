package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/pipedrive/hooks"
	"github.com/pipehook/pipehook/core/rotation"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/store"
)

const firstPassword = "canary-first-password"

// rotating is a project that serves, with its password in .env.
func rotating(t *testing.T) *project {
	t.Helper()
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": account1, "authenticate": `basic = { username = "hook", password = "${HOOK_PASSWORD}" }`})
	p.write(t, ".env", "A=1\nHOOK_PASSWORD="+firstPassword+"\n")
	return p
}

func (p *project) sent(t *testing.T, password string) int {
	t.Helper()
	_, body, _ := samples.For("updated.deal")
	return p.post(t, body, func(r *http.Request) { r.SetBasicAuth("hook", password) }).status
}

func (p *project) rotation(t *testing.T) (v rotationJSON) {
	t.Helper()
	code, out, errs := p.webhooks(t, &fakeAccount{}, "rotate", "--status", "--json")
	if err := json.Unmarshal([]byte(out), &v); code != exitDone || err != nil {
		t.Fatalf("exit code %d, error %v\n%s%s", code, err, out, errs)
	}
	return v
}

func TestAPasswordIsChangedWithoutRefusingAWebhook(t *testing.T) {
	p := rotating(t)
	p.serve(t)
	if v := p.rotation(t); v.State != "none" {
		t.Errorf("before: %+v", v)
	}
	elsewhere := hookHere(9, "*.*")
	elsewhere.URL = "https://elsewhere.example.com/"
	a := &fakeAccount{all: []hooks.Webhook{hookHere(7, "*.deal"), hookHere(8, "*.note"), elsewhere}}

	a.failing = map[string]error{"remove 8": errors.New("no answer")}
	code, out, errs := p.webhooks(t, a, "rotate", "--yes")
	if code != exitFailed || !strings.Contains(errs, "102 was made, but 8 not deleted") || !strings.Contains(errs, "both passwords are good") || !strings.Contains(errs, "webhook 9 (*.* to https://elsewhere.example.com/) has the same username and keeps the old password") {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	made := string(a.passwords[101])
	env, err := os.ReadFile(filepath.Join(p.dir, ".env"))
	if err != nil || string(env) != "A=1\nHOOK_PASSWORD='"+made+"'\n" || len(made) < 40 {
		t.Errorf("got %s, error %v", env, err)
	}
	if strings.Contains(out+errs, made) || strings.Contains(out+errs, "canary") {
		t.Errorf("a password shows\n%s%s", out, errs)
	}
	if v := p.rotation(t); v.State != "known" || v.Configured != "new" || len(v.Made) != 2 {
		t.Errorf("in the middle: %+v", v)
	}
	if old := p.sent(t, firstPassword); old != http.StatusOK {
		t.Errorf("the old password: %d", old)
	}

	delete(a.failing, "remove 8")
	if code, out, errs := p.webhooks(t, a, "rotate", "--yes"); code != exitDone || !strings.Contains(errs, "going on") {
		t.Fatalf("again: exit code %d\n%s%s", code, out, errs)
	}
	a.allHave(t, made, "9 *.*", "101 *.deal", "102 *.note")
	if v := p.rotation(t); v.State != "replaced" || v.NewUsedAt != "" {
		t.Errorf("afterwards: %+v", v)
	}
	if now, wrong := p.sent(t, made), p.sent(t, "canary-guess"); now != http.StatusOK || wrong != http.StatusUnauthorized {
		t.Errorf("the new password: %d, a guess: %d", now, wrong)
	}
	eventually(t, "the use of the new password is known", func() bool { return p.rotation(t).State == "used" })
	if old := p.sent(t, firstPassword); old != http.StatusOK {
		t.Errorf("the old password while retries may come: %d", old)
	}
}

// allHave fails unless these are the webhooks there are, and those that the tests made have the password.
func (a *fakeAccount) allHave(t *testing.T, password string, want ...string) {
	t.Helper()
	var got []string
	for _, h := range a.all {
		got = append(got, fmt.Sprint(h.ID, " ", h.Event))
		if h.ID > 100 && string(a.passwords[h.ID]) != password {
			t.Errorf("webhook %d has an old password", h.ID)
		}
	}
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("there are %q, want %q", got, want)
	}
}

// stopped is an account whose command is ended as soon as a webhook is made.
type stopped struct {
	*fakeAccount
	stop context.CancelFunc
}

func (s *stopped) create(ctx context.Context, w hooks.Wanted, password core.Secret) (hooks.Webhook, error) {
	made, err := s.fakeAccount.create(ctx, w, password)
	s.stop()
	return made, err
}

func TestARotationThatIsInterruptedLeavesNoWebhookDouble(t *testing.T) {
	const password = "canary-of-a-file-that-is-long"
	for name, test := range map[string]struct {
		first func(t *testing.T, p *project, a *fakeAccount, args ...string) int
		want  []string
	}{
		"by a signal": {func(t *testing.T, p *project, a *fakeAccount, args ...string) int {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			c := &cli{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, openAccount: func(*config.Config) (account, error) { return &stopped{a, stop}, nil }}
			return c.run(ctx, append([]string{"webhooks"}, append(args, "--config", p.config)...))
		}, []string{"101 *.deal", "102 *.note"}},
		"by an answer that is lost": {func(t *testing.T, p *project, a *fakeAccount, args ...string) int {
			a.lost = map[string]error{"create *.note": errors.New("no answer")}
			defer func() { a.lost = nil }()
			code, _, _ := p.webhooks(t, a, args...)
			return code
		}, []string{"101 *.deal", "103 *.note"}}, // nobody can see that 102 has the new password
		"by one that stays, and begun anew": {func(t *testing.T, p *project, a *fakeAccount, args ...string) int {
			a.failing = map[string]error{"remove 8": errors.New("no answer")}
			defer func() { a.failing = nil }()
			other := filepath.Join(p.dir, "other")
			p.write(t, "other", "canary-of-another-file\n")
			code, _, _ := p.webhooks(t, a, "rotate", "--yes", "--auth-pass-file", other)
			return code
		}, []string{"103 *.deal", "104 *.note"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := rotating(t)
			p.serve(t)
			p.write(t, "password", password+"\n")
			args := []string{"rotate", "--yes", "--auth-pass-file", filepath.Join(p.dir, "password")}
			a := &fakeAccount{all: []hooks.Webhook{hookHere(7, "*.deal"), hookHere(8, "*.note")}}
			if code := test.first(t, p, a, args...); code == exitDone {
				t.Fatal("it was not interrupted")
			}
			if code, out, errs := p.webhooks(t, a, args...); code != exitDone {
				t.Fatalf("again: exit code %d\n%s%s", code, out, errs)
			}
			a.allHave(t, password, test.want...)
			if v := p.rotation(t); v.State != "replaced" || len(v.Made) != 2 {
				t.Errorf("afterwards: %+v", v)
			}
		})
	}
}

// Nobody can see which password a webhook has, and somebody may make one by hand while a rotation waits to go on.
func TestAWebhookThatSomebodyElseMadeIsNotTakenForOneWithTheNewPassword(t *testing.T) {
	for _, test := range []struct {
		call string // that fails in the first run
		want []string
	}{
		{"create *.note", []string{"101 *.deal", "103 *.note"}},          // it was about to be made anew
		{"remove 7", []string{"101 *.deal", "103 *.note", "104 *.note"}}, // it waited
	} {
		t.Run(test.call, func(t *testing.T) {
			p := rotating(t)
			p.serve(t)
			const password = "canary-of-a-file-that-is-long"
			p.write(t, "password", password+"\n")
			args := []string{"rotate", "--yes", "--auth-pass-file", filepath.Join(p.dir, "password")}
			a := &fakeAccount{all: []hooks.Webhook{hookHere(7, "*.deal"), hookHere(8, "*.note")}}
			a.failing = map[string]error{test.call: errors.New("no answer")}
			if code, out, errs := p.webhooks(t, a, args...); code != exitFailed {
				t.Fatalf("exit code %d\n%s%s", code, out, errs)
			}
			a.failing = nil
			note := a.all[slices.IndexFunc(a.all, func(h hooks.Webhook) bool { return h.ID == 8 })]
			byHand := hooks.Wanted{Event: note.Event, Name: note.Name, URL: note.URL, Version: note.Version, User: note.User, AuthUser: note.AuthUser}
			if _, err := a.create(t.Context(), byHand, firstPassword); err != nil {
				t.Fatal(err)
			}
			if code, out, errs := p.webhooks(t, a, args...); code != exitDone {
				t.Fatalf("again: exit code %d\n%s%s", code, out, errs)
			}
			a.allHave(t, password, test.want...)
			if v := p.rotation(t); v.State != "replaced" || len(v.Made) != len(test.want) || len(v.Waiting) > 0 {
				t.Errorf("afterwards: %+v", v)
			}
		})
	}
}

func TestNothingIsChangedWhileNoServerKnows(t *testing.T) {
	p := rotating(t)
	p.serve(t)() // it makes the store, and stops
	a := &fakeAccount{all: []hooks.Webhook{hookHere(7, "*.deal")}}
	code, _, errs := p.webhooks(t, a, "rotate", "--yes")
	if code != exitFailed || !strings.Contains(errs, "no server has taken notice") || a.calls != nil {
		t.Errorf("exit code %d, calls %v\n%s", code, a.calls, errs)
	}
	if strings.Contains(errs, "deadline") {
		t.Errorf("the wait shows\n%s", errs)
	}
	if v := p.rotation(t); v.State != "none" {
		t.Errorf("left is %+v", v)
	}
	r := p.rotationOf(t, nil, "canary-that-nobody-knows", time.Time{}) // it could not be taken back
	if code, out, _ := p.webhooks(t, a, "rotate", "--status"); code != exitDone || !strings.Contains(out, "rotate begins again") || strings.Contains(out, "to the new one") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if v := p.rotation(t); v.State != "begun" || v.Configured != "old" || len(r.Made) > 0 {
		t.Errorf("got %+v", v)
	}
	if code, _, errs := p.webhooks(t, a, "create", "--auto-config", "--event", "*.note"); code != exitUsage || !strings.Contains(errs, "was changed by webhooks rotate") {
		t.Errorf("a webhook is made with the old password: exit code %d\n%s", code, errs)
	}
}

// rotationOf keeps a rotation from the first password, as a command would.
func (p *project) rotationOf(t *testing.T, st *rotation.Status, password core.Secret, replaced time.Time) rotation.Rotation {
	t.Helper()
	conf, err := (&cli{stderr: io.Discard, path: p.config}).load(nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.OpenManager(t.Context(), storeURL(conf))
	if err != nil {
		t.Fatal(err)
	}
	r := st.Begin("hook", password, []rotation.Credential{{Username: "hook", Password: firstPassword}}, time.Now())
	r.ReplacedAt = replaced
	if err := errors.Join(r.Save(t.Context(), m, conf.Pipelines[0].Name), m.Close()); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAPasswordThatWasChangedByHandAfterARotationIsToldOf(t *testing.T) {
	p := rotating(t)
	p.serve(t)()
	p.rotationOf(t, nil, "canary-made-by-rotate", time.Now())
	a := &fakeAccount{}
	for password, told := range map[string]bool{"canary-made-by-rotate": false, firstPassword: false, "canary-by-hand": true} {
		p.write(t, ".env", "A=1\nHOOK_PASSWORD="+password+"\n")
		code, out, errs := p.webhooks(t, a, "rotate", "--status")
		if got := strings.Contains(out, "another password than the one that pipehook made"); code != exitDone || got != told {
			t.Errorf("%s: exit code %d\n%s%s", password, code, out, errs)
		}
	}
}

func TestAPasswordThatCanNotBeHandedOutIsNotMade(t *testing.T) {
	p := connected(t, "") // its password stands in the file
	p.serve(t)()
	a := &fakeAccount{all: []hooks.Webhook{hookHere(7, "*.deal")}}
	short := filepath.Join(p.dir, "short")
	p.write(t, "short", "too short\n")
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"rotate", "--yes"}, "--auth-pass-file FILE"},
		{[]string{"rotate", "--yes", "--prompt"}, "no terminal"},
		{[]string{"rotate", "--yes", "--auth-pass-file", short}, "shorter than 16"},
	} {
		if code, _, errs := p.webhooks(t, a, test.args...); code != exitUsage || !strings.Contains(errs, test.says) || a.calls != nil {
			t.Errorf("%v: exit code %d, calls %v\n%s", test.args, code, a.calls, errs)
		}
	}
}

func TestAPasswordThatAnotherPipelineHasTooIsNotChanged(t *testing.T) {
	p := rotating(t)
	p.serve(t)()
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "pipeline.toml", strings.Replace(string(text), "[pipedrive]\n", "[pipedrive]\npipeline = \"crm\"\n", 1)+"[[pipeline]]\nname = \"shop\"\npath = \"/shop\"\nsource = \"pipedrive\"\n[[pipeline.stage]]\nuse = \"authenticate\"\nbasic = { username = \"shop\", password = \"${HOOK_PASSWORD}\" }\n[[pipeline.stage]]\nuse = \"persist\"\n")
	a := &fakeAccount{all: []hooks.Webhook{hookHere(7, "*.deal")}}
	code, _, errs := p.webhooks(t, a, "rotate", "--yes")
	if code != exitUsage || !strings.Contains(errs, "HOOK_PASSWORD is pipeline[1].stage[0].basic.password too") || a.calls != nil {
		t.Errorf("exit code %d, calls %v\n%s", code, a.calls, errs)
	}
}

// What the API refuses ends in an error that says what to type next.
func TestWhatPipedriveRefusesIsSaidWithTheNextCommand(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		args   []string
		says   string
	}{
		{401, `{"success":false,"error":"unauthorized access","errorCode":401}`, []string{"list"}, "pipedrive.api_token"},
		{403, `{"success":false,"message":"Forbidden"}`, []string{"list"}, "scope admin"},
		{404, `{"status":"error","success":false,"errors":{"id":["not found"]}}`, []string{"list"}, "webhooks list"},
		{422, `{"status":"error","success":false,"errors":{"limit":["reached"]}}`, []string{"create", "--auto-config", "--event", "*.*", "--force"}, "a user can have 40 webhooks"},
		{400, `{"status":"error","success":false,"errors":{"subscription_url":["invalid or non-reachable URL"]}}`, []string{"create", "--auto-config", "--event", "*.*"}, "webhooks test"},
		{400, `{"status":"error","success":false,"error":"Bad request","errors":{"event_object":["must be one of: deal, note"]}}`, []string{"create", "--auto-config", "--event", "*.file"}, "choose another event"},
		{400, `{"status":"error","success":false,"error":"Bad request","errors":{"event_object":["must be one of: deal, note"]}}`, []string{"create", "--auto-config", "--event", "*.file"}, "event_object: must be one of: deal, note"},
	} {
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if test.args[0] == "create" && r.Method == http.MethodGet {
				_, _ = io.WriteString(w, `{"status":"ok","success":true,"data":[]}`)
				return
			}
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, test.body)
		}))
		p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": account1 + "base_url = \"" + api.URL + "\"\n"})
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"webhooks"}, append(test.args, "--config", p.config)...), nil, nil, &out, &errs)
		if code != exitFailed || !strings.Contains(errs.String(), test.says) || strings.Contains(errs.String(), "canary") || strings.Count(errs.String(), "set pipedrive.api_token") > 1 {
			t.Errorf("%d: exit code %d\n%s%s", test.status, code, &out, &errs)
		}
		api.Close()
	}
}

func TestNoPasswordIsSentToAnAddressThatIsUnfitForIt(t *testing.T) {
	var asked atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer receiver.Close()
	p := connected(t, "")
	for address, says := range map[string]string{
		receiver.URL + "/hook": "is not encrypted",
		strings.Replace(receiver.URL, "//", "//hook:canary-in-the-url@", 1) + "/hook": "holds a username or a password",
	} {
		for _, args := range [][]string{{"test", "--url", address}, {"test", "--url", address, "--json"}} {
			code, out, errs := p.webhooks(t, &fakeAccount{}, args...)
			if code != exitFailed || !strings.Contains(out, says) || !strings.Contains(out, "was not sent") || strings.Contains(out+errs, "canary") {
				t.Errorf("exit code %d\n%s%s", code, out, errs)
			}
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestTheAddressIsTriedAsPipedriveWouldUseIt(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": account1 + "base_url = \"http://127.0.0.1:1\"\n"})
	p.serve(t)
	code, out, errs := p.webhooks(t, &fakeAccount{}, "test", "--url", "http://"+p.hooks+"/hook", "--json")
	var answer struct {
		OK     bool      `json:"ok"`
		Checks []finding `json:"checks"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitDone || !answer.OK || len(answer.Checks) != 3 {
		t.Errorf("exit code %d, error %v\n%s%s", code, err, out, errs)
	}
	for _, f := range answer.Checks {
		if f.Verdict != "good" {
			t.Errorf("%+v", f)
		}
	}
	if events := p.events(t); len(events) != 1 || events[0].Object != "webhook" {
		t.Errorf("stored are %v", events)
	}
	for path, says := range map[string]string{"/nosuch": "is not there", "/away": "redirects"} {
		away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/away") {
				http.Redirect(w, r, "/other", http.StatusFound)
				return
			}
			http.NotFound(w, r)
		}))
		code, out, errs := p.webhooks(t, &fakeAccount{}, "test", "--url", away.URL+path)
		if code != exitFailed || !strings.Contains(out, says) {
			t.Errorf("%s: exit code %d\n%s%s", path, code, out, errs)
		}
		away.Close()
	}
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	if code, out, _ := p.webhooks(t, &fakeAccount{}, "create", "--test-url", "--url", secure.URL, "--event", "*.*", "--auth-user", "hook"); code != exitFailed || out != "" {
		t.Errorf("a certificate that nobody has signed: exit code %d\n%s", code, out)
	}
}
