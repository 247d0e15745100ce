package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/hooks"
)

// hungUp is an account whose command is to end while it makes a webhook: who gives the request up never hears of it.
type hungUp struct {
	*fakeAccount
	stop context.CancelFunc
}

func (h *hungUp) create(ctx context.Context, w hooks.Wanted, password core.Secret) (hooks.Webhook, error) {
	made, err := h.fakeAccount.create(ctx, w, password)
	h.stop()
	return made, cmp.Or(ctx.Err(), err)
}

func TestAnApplyThatIsInterruptedLeavesNoWebhookDouble(t *testing.T) {
	p := connected(t, "[[pipedrive.webhook]]\nevent = \"*.deal\"\nname = \"deals\"\n[[pipedrive.webhook]]\nevent = \"*.person\"\n")
	old := hookHere(7, "*.note") // its event was changed since
	old.Name = "deals"
	a := &fakeAccount{all: []hooks.Webhook{old}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	c := &cli{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, openAccount: func(*config.Config) (account, error) { return &hungUp{a, stop}, nil }}
	if code := c.run(ctx, []string{"webhooks", "apply", "--yes", "--config", p.config}); code == exitDone {
		t.Error("what was not made is passed over in silence")
	}
	if len(a.all) != 1 || a.all[0].ID != 101 {
		t.Errorf("left are %+v, calls %v", a.all, a.calls)
	}
}

// slowDown is an account that answers requests of a method with 429 and how long to wait, the given number of times.
type slowDown struct {
	method string
	times  int
	asked  []string
}

func (s *slowDown) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked = append(s.asked, r.Method)
	status, header := http.StatusOK, http.Header{}
	if r.Method == s.method && s.times > 0 {
		s.times--
		status = http.StatusTooManyRequests
		header.Set("Retry-After", "35")
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(`{"data":{"id":101}}`))}, nil
}

func TestAWebhookIsReplacedHoweverLongPipedriveAsksToWaitUntilTheCommandIsToldToEnd(t *testing.T) {
	for _, test := range []struct {
		name  string
		api   slowDown
		end   time.Duration // when it is told to end; 0 for never
		asked []string
		fails string
	}{
		{"the new one has to wait", slowDown{method: "POST", times: 1}, 0, []string{"POST", "POST", "DELETE"}, ""},
		{"the old one has to wait", slowDown{method: "DELETE", times: 1}, 0, []string{"POST", "DELETE", "DELETE"}, ""},
		{"it ends while the new one waits", slowDown{method: "POST", times: 9}, 38 * time.Second, []string{"POST", "POST"}, "30s after it was told to end"},
		{"it ends while the old one waits", slowDown{method: "DELETE", times: 9}, time.Second, []string{"POST", "DELETE"}, "the old one, 7, is still there"},
		{"it ends, and the wait is over in time", slowDown{method: "DELETE", times: 1}, 20 * time.Second, []string{"POST", "DELETE", "DELETE"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, err := pipedrive.New(pipedrive.Options{BaseURL: "https://acme.pipedrive.com", Auth: pipedrive.Token("canary-token"), HTTP: &test.api})
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				if test.end > 0 {
					time.AfterFunc(test.end, stop)
				}
				began, old := time.Now(), hookHere(7, "*.note")
				_, err = (&cli{}).makeWanted(ctx, &registrar{account: &pipedriveAccount{client}}, hooks.Step{Has: &old, Wanted: &hooks.Wanted{Key: "deals"}})
				if took := time.Since(began); test.end > 0 && took > test.end+finishWithin {
					t.Errorf("it ended after %s", took)
				}
				if failed := err != nil; failed != (test.fails != "") || failed && !strings.Contains(err.Error(), test.fails) {
					t.Errorf("got the error %v, want %q in it", err, test.fails)
				}
				if !slices.Equal(test.api.asked, test.asked) {
					t.Errorf("asked were %v, want %v", test.api.asked, test.asked)
				}
			})
		})
	}
}

func TestAWebhookThatCouldNotBeDeletedIsNamedWithTheCommandForIt(t *testing.T) {
	p := connected(t, "[[pipedrive.webhook]]\nevent = \"*.*\"\n")
	old := hookHere(7, "*.*")
	old.Version = "1.0"
	a := &fakeAccount{all: []hooks.Webhook{old}, failing: map[string]error{"remove 7": explainAPI(&pipedrive.Error{Reason: pipedrive.Unavailable, Method: "DELETE"})}}
	if code, _, errs := p.webhooks(t, a, "apply", "--yes"); code != exitFailed || !strings.Contains(errs, "hint: pipehook webhooks delete 7\n") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	if code, out, _ := p.webhooks(t, a, "plan"); code != exitUsage || !strings.Contains(out, "1 duplicate: pipehook webhooks apply --prune") {
		t.Errorf("plan: exit code %d\n%s", code, out)
	}
	if code, out, _ := p.webhooks(t, a, "apply", "--yes"); code != exitDone || !strings.Contains(out, "1 duplicate: pipehook webhooks apply --prune") {
		t.Errorf("a second apply: exit code %d\n%s", code, out)
	}
}

// connectedUnknown is connected without saying how Pipedrive reaches it.
func connectedUnknown(t *testing.T, declared string) *project {
	t.Helper()
	return newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "[pipedrive]\ncompany = \"acme\"\napi_token = \"canary-token\"\n" + declared})
}

func TestAWebhookThatIsDeclaredByItsURLGetsThePipelinesCredentials(t *testing.T) {
	const here, alias, elsewhere = "https://hooks.example.com/hook", "https://192.0.2.1/hook", "https://elsewhere.example.com/x"
	for _, test := range []struct {
		name    string
		project func(*testing.T, string) *project
		url     string
		has     []hooks.Webhook
		code    int    // of apply
		calls   string // of apply
		user    string // of HTTP Basic
		says    string // plan, on either stream
	}{
		{"a good one is kept where public_url is not set", connectedUnknown, here, []hooks.Webhook{hookHere(7, "*.*")}, exitDone, "", "hook", "in step"},
		{"one is made where public_url is not set", connectedUnknown, here, nil, exitDone, "create *.*", "hook", "1 to create"},
		{"one at public_url is made", connected, here, nil, exitDone, "create *.*", "hook", "1 to create"},
		{"one by another name of the host is refused", connected, alias, nil, exitUsage, "", "", "set pipedrive.public_url"},
		{"one that goes elsewhere has none", connected, elsewhere, nil, exitDone, "create *.*", "", "1 to create"},
		{"one that may go elsewhere has none, which is warned of", connectedUnknown, elsewhere, nil, exitDone, "create *.*", "", "warning: pipedrive.webhook[0].url: pipeline crm asks for HTTP Basic"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, a := test.project(t, fmt.Sprintf("[[pipedrive.webhook]]\nevent = \"*.*\"\nurl = %q\n", test.url)), &fakeAccount{all: test.has}
			_, out, errs := p.webhooks(t, a, "plan")
			if !strings.Contains(out+errs, test.says) || strings.Contains(errs, "warning") != strings.Contains(test.says, "warning") {
				t.Errorf("plan\n%s%s", out, errs)
			}
			code, out, errs := p.webhooks(t, a, "apply", "--yes")
			if calls := strings.Join(a.calls, ", "); code != test.code || calls != test.calls {
				t.Errorf("exit code %d, calls %s\n%s%s", code, calls, out, errs)
			}
			for _, h := range a.all {
				if password, made := a.passwords[h.ID]; h.AuthUser != test.user || made && (password != "") != (test.user != "") {
					t.Errorf("webhook %d has the username %q, and a password: %v", h.ID, h.AuthUser, password != "")
				}
			}
		})
	}
}

// What has the pipeline's path and is not declared may be another installation's, which has another password.
func TestWhereTheAddressIsNotSetOnlyDeclaredWebhooksGetAnotherPassword(t *testing.T) {
	p := connectedUnknown(t, "[[pipedrive.webhook]]\nevent = \"*.*\"\nurl = \"https://hooks.example.com/hook\"\n")
	conf, err := (&cli{stderr: io.Discard, path: p.config}).load(nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := registrarOf(conf)
	if err != nil {
		t.Fatal(err)
	}
	another := hookHere(8, "*.*")
	another.URL = "https://staging.example.com/hook"
	ours, left := r.parted([]hooks.Webhook{hookHere(7, "*.*"), another})
	if len(ours) != 1 || ours[0].ID != 7 || len(left) != 1 || left[0].ID != 8 {
		t.Errorf("changed are %+v, left are %+v", ours, left)
	}
}

func TestADeclaredWebhookThatIsRefusedForItsHostIsToldOfByCheck(t *testing.T) {
	p := connected(t, "[[pipedrive.webhook]]\nevent = \"*.*\"\nurl = \"https://192.0.2.1/hook\"\n")
	code, out, errs := command(t, "check", "--config", p.config)
	if code != exitDone || !strings.Contains(out+errs, "pipedrive.webhook[0].url: pipeline crm asks for HTTP Basic") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}
