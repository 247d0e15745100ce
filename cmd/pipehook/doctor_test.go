package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/hooks"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

// examined is what doctor says with --json.
func examined(t *testing.T, p *project, args ...string) (code int, found []diagnosis) {
	t.Helper()
	code, out, errs := command(t, append([]string{"doctor", "--json", "--config", p.config}, args...)...)
	var all diagnosesJSON
	if err := json.Unmarshal([]byte(out), &all); err != nil || all.OK != (code == exitDone) {
		t.Fatalf("exit code %d, error %v\n%s%s", code, err, out, errs)
	}
	return code, all.Checks
}

// finds fails unless a check came to a verdict with words, and whatever is not good says what to do.
func finds(t *testing.T, all []diagnosis, check, verdict, text string) {
	t.Helper()
	for _, one := range all {
		if one.Check == check && one.Verdict == verdict && strings.Contains(one.Says, text) {
			if (verdict == bad || verdict == warning) && one.Fix == "" && check != "configuration" {
				t.Errorf("%s: %q has no next step", check, one.Says)
			}
			return
		}
	}
	t.Errorf("no %s of %s with %q in\n%+v", verdict, check, text, all)
}

// healthy is a project that serves, is connected to a stand-in, and has its webhook.
func healthy(t *testing.T) (*project, *appStandIn) {
	t.Helper()
	s := newAppStandIn(t, simulate.Options{Daily: 10_000})
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	p.write(t, "pipeline.toml", readFile(t, p.config)+fmt.Sprintf(
		"\n[pipedrive]\nbase_url = %q\napi_token = %q\npublic_url = \"http://%s\"\n[[pipedrive.webhook]]\nevent = \"*.*\"\n", s.url, accountToken, p.hooks))
	p.write(t, "scripts/deals.js", "export const match = 'updated.deal';\nexport default () => {}")
	p.serve(t)
	p.done(t, "apply", "--yes")
	return p, s
}

// changing is what is another in each run.
var changing = regexp.MustCompile(`127\.0\.0\.1:\d+|[\d.]+ [KMG]iB|\(\d+ %\)|\d+ of 10000|\S*/\S+\.(toml:|db|spool)|at /\S+`)

const goldenDoctor = `✓ configuration   … 1 pipeline
✓ scripts         1 listener: deals
– plugins         none is configured
✓ store           … is read and written: …, 0 deliveries pending
✓ disk            the store: … free … …
✓                 the spool: … free … …
✓ spool           empty
✓ server          it serves and is ready
✓ clock           agrees with 127.0.0.1 to 1s
✓ address         127.0.0.1
✓                 http://…/hook/health answers
✓                 a stranger is refused
✓                 it answers within a second
✓                 it is this pipehook: what it refuses stands in this store
✓                 the credentials of this configuration are accepted, and what is no event is refused
✓ account         the credentials are those of Ada Admin <Ada@example.com>, company acme (acme)
✓ tokens          … left today
✓ webhooks        1 webhook active here, nothing delivered yet
✓                 as the configuration declares them

all is well
`

func TestWhoIsWellIsToldSo(t *testing.T) {
	p, s := healthy(t)
	code, out, errs := command(t, "doctor", "--config", p.config)
	shown := strings.ReplaceAll(changing.ReplaceAllString(out, "…"), "… … at …", "… … …")
	if code != exitDone || strings.Contains(out, "✗") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if full := regexp.MustCompile(`(?m)^! disk .*\n.*\n`); !full.MatchString(out) && shown != goldenDoctor {
		t.Errorf("got\n%s\nwant\n%s", shown, goldenDoctor)
	}
	s.keepsSecrets(t, out, errs)
	if events := p.events(t); len(events) != 0 {
		t.Errorf("it stored %v", events)
	}
	code, found := examined(t, p, "--offline")
	finds(t, found, "account", skipped, "needs the network")
	finds(t, found, "store", good, "read and written")
	if code != exitDone {
		t.Errorf("exit code %d", code)
	}
}

func TestDiagnosesAreShownWithMarksAndAsJSON(t *testing.T) {
	all := []diagnosis{
		{"configuration", good, "pipeline.toml: 1 pipeline", ""}, {"store", warning, "nearly\nfull", "make room"},
		{"store", bad, "away\x1b[2J", "start it\nor another"}, {"account", skipped, "none", ""},
	}
	var out bytes.Buffer
	c := &cli{stdout: &out}
	if err := c.printDiagnoses(all); err == nil || err.Error() != "exit code 1" {
		t.Errorf("got %v", err)
	}
	want := "✓ configuration   pipeline.toml: 1 pipeline\n! store           nearly\n                  full\n                  → make room\n" +
		"✗                 away�[2J\n                  → start it\n                    or another\n– account         none\n\n1 wrong, 1 warning\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	c.json = true
	if err := c.printDiagnoses(all[:2]); err != nil {
		t.Error(err)
	}
	want = `{
  "ok": true,
  "wrong": 0,
  "warnings": 1,
  "checks": [
    {
      "check": "configuration",
      "verdict": "good",
      "says": "pipeline.toml: 1 pipeline"
    },
    {
      "check": "store",
      "verdict": "warning",
      "says": "nearly\nfull",
      "fix": "make room"
    }
  ]
}
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestWhatIsMissingBeforeTheFirstStart(t *testing.T) {
	p := newProject(t, "sqlite:"+filepath.Join(t.TempDir(), "none.db"), fullChain, nil)
	code, found := examined(t, p)
	finds(t, found, "store", warning, "there is no database")
	finds(t, found, "server", warning, "does not run here")
	finds(t, found, "address", skipped, "public_url is not set")
	finds(t, found, "account", skipped, "no account is configured")
	finds(t, found, "webhooks", skipped, "no account is configured")
	finds(t, found, "clock", skipped, "nobody to compare with")
	finds(t, found, "scripts", skipped, "no listener")
	if code != exitDone {
		t.Errorf("exit code %d", code)
	}
}

func TestMistakesOfTheConfigurationLeaveTheOtherChecks(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "[log]\nlevle = \"info\"\n"})
	says(t, exitDone, []string{"migrate", "--store", p.storeURL, "--config", p.config})
	code, found := examined(t, p)
	finds(t, found, "configuration", bad, "log.levle: unknown key")
	finds(t, found, "store", good, "read and written")
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	p.write(t, "pipeline.toml", "[store")
	code, found = examined(t, p)
	finds(t, found, "store", skipped, "the configuration of it is wrong")
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	p.config = filepath.Join(p.dir, "none.toml")
	_, found = examined(t, p)
	finds(t, found, "configuration", bad, "there is no "+p.config)
}

func TestEachCheckFindsWhatIsWrongOnThisMachine(t *testing.T) {
	for _, test := range []struct {
		name                 string
		damage               func(t *testing.T, p *project)
		check, verdict, text string
	}{
		{"an order that costs", func(t *testing.T, p *project) { edit(t, p.config, `use = "dispatch"`, `use = "persist"`) }, "configuration", warning, "persist stands more than once"},
		{"a script that does not compile", func(t *testing.T, p *project) { p.write(t, "scripts/a.js", "export default () => {") }, "scripts", bad, "a.js"},
		{"a plugin that is not there", func(t *testing.T, p *project) {
			p.write(t, "pipeline.toml", readFile(t, p.config)+"\n[[listener]]\nname = \"audit\"\nplugin = \"audit\"\nmatch = [\"*.*\"]\n")
		}, "plugins", bad, "audit"},
		{"a file that is no database", func(t *testing.T, p *project) {
			p.write(t, "x.db", strings.Repeat("no database ", 1000))
			edit(t, p.config, p.storeURL, "sqlite:x.db")
		}, "store", bad, "database"},
		{"a PostgreSQL that is not there", func(t *testing.T, p *project) { edit(t, p.config, p.storeURL, "postgres://u:canary@127.0.0.1:1/d") }, "store", bad, "refused"},
		{"an event that waits", func(t *testing.T, p *project) { p.write(t, "pipehook.spool/1/00000001.spool", "x") }, "spool", warning, "events wait for the store"},
		{"an event that was put aside", func(t *testing.T, p *project) { p.write(t, "pipehook.spool/1/00000001-x.refused", "x") }, "spool", warning, "1 file put aside"},
		{"a server that is not ready", func(t *testing.T, p *project) {
			admin(t, p, http.StatusServiceUnavailable, `{"status":"not ready","causes":{"store":"the store is away"}}`)
		}, "server", bad, "the store is away"},
		{"a ban that is near", func(t *testing.T, p *project) {
			admin(t, p, http.StatusOK, `{"status":"ready","causes":{"pipedrive":"Pipedrive has probably silenced a webhook"}}`)
		}, "server", warning, "silenced"},
		{"something else at admin.listen", func(t *testing.T, p *project) { admin(t, p, http.StatusOK, "hello") }, "server", warning, "nobody answers as it"},
		{"no admin listener", func(t *testing.T, p *project) { edit(t, p.config, `"`+p.admin+`"`, `""`) }, "server", skipped, "admin.listen is not set"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newProject(t, testdb.SQLite(t), fullChain, nil)
			says(t, exitDone, []string{"migrate", "--config", p.config})
			test.damage(t, p)
			code, found := examined(t, p, "--offline")
			finds(t, found, test.check, test.verdict, test.text)
			if wrong := test.verdict == bad; wrong != (code == exitFailed) {
				t.Errorf("exit code %d: %+v", code, found)
			}
			if text := fmt.Sprint(found); strings.Contains(text, "canary") {
				t.Errorf("a password shows in %s", text)
			}
		})
	}
}

// admin answers in place of a process that serves.
func admin(t *testing.T, p *project, status int, ready string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/readyz":
			w.WriteHeader(status)
			_, _ = w.Write([]byte(ready))
		case strings.HasPrefix(ready, "{"):
			_, _ = w.Write([]byte(`{"status":"ok"}`))
		default:
			_, _ = w.Write([]byte(ready))
		}
	}))
	t.Cleanup(s.Close)
	edit(t, p.config, p.admin, strings.TrimPrefix(s.URL, "http://"))
}

func TestAnAPIThatCannotBeReachedHasANextStepThatIsAnother(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "[pipedrive]\nbase_url = \"" + nobodysAPI + "\"\napi_token = \"t\"\nretries = 0\n"})
	const want = "curl -sS -I " + nobodysAPI
	_, found := examined(t, p)
	for _, one := range found {
		if (one.Check == "account" || one.Check == "webhooks") && !strings.Contains(one.Fix, want) {
			t.Errorf("%s: %q: %q", one.Check, one.Says, one.Fix)
		}
	}
	code, _, errs := command(t, "pipedrive", "status", "--config", p.config)
	if code != exitFailed || !strings.Contains(errs, want) || strings.Contains(errs, "pipehook doctor") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

// A stranger may have raised the alarm.
func TestASuspectedBanIsHeldAgainstWhatPipedriveSays(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name   string
		hook   hooks.Webhook
		denied bool
	}{
		{"active and answered", hooks.Webhook{Active: true, LastStatus: 200, LastDelivery: now}, true},
		{"answered long ago", hooks.Webhook{Active: true, LastStatus: 200, LastDelivery: now.Add(-time.Hour)}, false},
		{"never used", hooks.Webhook{Active: true}, false},
		{"refused", hooks.Webhook{Active: true, LastStatus: 401, LastDelivery: now}, false},
		{"not active", hooks.Webhook{LastStatus: 200, LastDelivery: now}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "[pipedrive]\npublic_url = \"http://127.0.0.1:1\"\n"})
			conf, err := (&cli{path: p.config}).loadServing(nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := registrarOf(conf)
			if err != nil {
				t.Fatal(err)
			}
			d := &doctor{conf: conf, now: func() time.Time { return now }}
			test.hook.URL = "http://127.0.0.1:1/hook"
			d.coming(r, []hooks.Webhook{test.hook})
			all := []diagnosis{{"server", warning, "ready: pipedrive: Pipedrive has probably silenced a webhook", "look"}}
			d.compared(all)
			if got := strings.Contains(all[0].Says, "but Pipedrive says now"); got != test.denied {
				t.Errorf("it says %q", all[0].Says)
			}
		})
	}
}

func TestADiskThatIsNearlyFullIsAWarning(t *testing.T) {
	const gib = 1 << 30
	for _, test := range []struct {
		free, total uint64
		want        string
	}{{50 * gib, 100 * gib, good}, {9 * gib, 100 * gib, warning}, {gib / 2, gib, warning}, {10 << 20, 100 * gib, bad}, {0, 0, bad}} {
		if got := diskVerdict(place{"the store", "/x"}, test.free, test.total); got.Verdict != test.want || (got.Verdict != good) != (got.Fix != "") {
			t.Errorf("%d of %d: %+v", test.free, test.total, got)
		}
	}
	if got := diskOf(place{"the spool", filepath.Join(t.TempDir(), "not", "there", "yet")}); got.Verdict == bad && !strings.Contains(got.Says, "free") {
		t.Errorf("got %+v", got)
	}
}

func TestACheckThatHangsIsLeftAlone(t *testing.T) {
	d := &doctor{within: time.Millisecond}
	hang := make(chan struct{})
	defer close(hang)
	got := d.timed(t.Context(), checkUp{run: func(context.Context) []diagnosis { <-hang; return nil }})
	if len(got) != 1 || got[0].Verdict != bad || !strings.Contains(got[0].Says, "took longer than 1ms") {
		t.Errorf("got %+v", got)
	}
	got = d.timed(t.Context(), checkUp{run: func(ctx context.Context) []diagnosis { <-ctx.Done(); return seen(bad, "slow", "wait") }})
	if len(got) != 1 || got[0].Says != "slow" {
		t.Errorf("got %+v", got)
	}
}

func TestTheDaysTokensAreJudged(t *testing.T) {
	for _, test := range []struct {
		left, limit int64
		want        string
	}{{-1, 0, skipped}, {0, 1000, bad}, {99, 1000, warning}, {100, 1000, good}, {5, 0, good}} {
		if got := tokensLeft(pipedrive.BudgetState{DailyLeft: test.left, DailyLimit: test.limit}); got.Verdict != test.want {
			t.Errorf("%d of %d: %+v", test.left, test.limit, got)
		}
	}
}

func TestTheCredentialsOfAnAccountAreJudged(t *testing.T) {
	for _, test := range []struct {
		name                 string
		more                 string
		answer               string // in place of the stand-in's about the user
		check, verdict, text string
	}{
		{"another company", "company = \"other\"", "", "account", bad, "pipedrive.company is other"},
		{"a user who is no admin", "", `{"success":true,"data":{"id":2,"name":"Bob","company_domain":"acme","is_admin":0,"active_flag":true}}`, "account", warning, "Bob is no admin"},
		{"no webhook here", "public_url = \"http://127.0.0.1:1\"", "", "webhooks", bad, "no webhook comes to http://127.0.0.1:1/hook"},
		{"no public address", "", "", "webhooks", warning, "which come here is not known"},
		{"declared and not made", "public_url = \"http://127.0.0.1:1\"\n[[pipedrive.webhook]]\nevent = \"*.*\"", "", "webhooks", bad, "1 to create"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newAppStandIn(t, simulate.Options{})
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if test.answer != "" && strings.HasSuffix(r.URL.Path, "/users/me") {
					_, _ = w.Write([]byte(test.answer))
					return
				}
				s.ServeHTTP(w, r)
			}))
			defer api.Close()
			p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": fmt.Sprintf("[pipedrive]\nbase_url = %q\napi_token = %q\n%s\n", api.URL, accountToken, test.more)})
			_, found := examined(t, p)
			finds(t, found, test.check, test.verdict, test.text)
		})
	}
	p, s := healthy(t)
	edit(t, p.config, accountToken, "wrong-token")
	code, found := examined(t, p)
	finds(t, found, "account", bad, "the token is not accepted")
	finds(t, found, "webhooks", bad, "the token is not accepted")
	finds(t, found, "address", good, "it is this pipehook")
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	s.keepsSecrets(t, fmt.Sprint(found))
}

func TestWebhooksThatComeHereAreJudged(t *testing.T) {
	p := connected(t, "")
	c := &cli{path: p.config}
	conf, err := c.load(nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := registrarOf(conf)
	if err != nil {
		t.Fatal(err)
	}
	d := &doctor{conf: conf, now: time.Now}
	inactive, failing, elsewhere := hookHere(1, "*.*"), hookHere(2, "*.deal"), hookHere(3, "*.*")
	inactive.Active, inactive.RemovedReason, failing.LastStatus, elsewhere.URL = false, "too many failures", 500, "https://elsewhere.example.com/"
	found := d.coming(r, []hooks.Webhook{inactive, failing, elsewhere})
	if len(found) != 2 || found[0].Verdict != bad || found[1].Verdict != warning || !strings.Contains(found[0].Says, "too many failures") || !strings.Contains(found[1].Says, "answered 500") {
		t.Errorf("got %+v", found)
	}
	well := hookHere(4, "*.*")
	well.LastDelivery = time.Now()
	if found := d.coming(r, []hooks.Webhook{well}); len(found) != 1 || found[0].Verdict != good || !strings.Contains(found[0].Says, "last delivery") {
		t.Errorf("got %+v", found)
	}
	twice := doubles(hooks.Compare(nil, []hooks.Webhook{well, failing, elsewhere}, []string{r.address()}))
	if len(twice) != 1 || twice[0].Verdict != warning || !strings.Contains(twice[0].Says, "webhook 2: some events come twice: webhook 4 brings *.* here too") {
		t.Errorf("got %+v", twice)
	}
}

func TestAPasswordThatStandsNowhereAndIsGoodIsJudged(t *testing.T) {
	p := rotating(t)
	p.serve(t)()
	p.rotationOf(t, nil, "canary-made-by-rotate", time.Now())
	for password, want := range map[string]int{"canary-made-by-rotate": 0, "canary-by-hand": 1} {
		p.write(t, ".env", "HOOK_PASSWORD="+password+"\n")
		conf, err := (&cli{path: p.config}).load(nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := registrarOf(conf)
		if err != nil {
			t.Fatal(err)
		}
		if found := passwords(t.Context(), r); len(found) != want || want > 0 && found[0].Verdict != warning {
			t.Errorf("%s: got %+v", password, found)
		}
	}
}
