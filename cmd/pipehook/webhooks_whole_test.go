package main

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

// standIn is a project that serves, connected to a stand-in for Pipedrive.
func standIn(t *testing.T) (*project, *simulate.Server) {
	t.Helper()
	s := simulate.New(simulate.Options{Token: "canary-token"})
	api := httptest.NewServer(s)
	ctx, end := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() {
		end()
		wg.Wait()
		api.Close()
	})
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "BEFORE", "authenticate": `basic = { username = "hook", password = "${HOOK_PASSWORD}" }`})
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	own := "[pipedrive]\napi_token = \"canary-token\"\nbase_url = \"" + api.URL + "\"\npublic_url = \"http://" + p.hooks + "\"\n[[pipedrive.webhook]]\nevent = \"*.person\"\n"
	p.write(t, "pipeline.toml", strings.Replace(string(text), "BEFORE", own, 1))
	p.write(t, ".env", "HOOK_PASSWORD="+firstPassword+"\n")
	p.serve(t)
	return p, s
}

// done runs a command of webhooks that must succeed.
func (p *project) done(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	code, out, errs := command(t, append([]string{"webhooks"}, append(args, "--config", p.config)...)...)
	if code != exitDone {
		t.Fatalf("%v: exit code %d\n%s%s", args, code, out, errs)
	}
	return out
}

func TestWebhooksAreMadeComparedAndGivenAnotherPasswordAtAStandIn(t *testing.T) {
	p, s := standIn(t)
	p.done(t, "create", "--auto-config", "--event", "updated.deal")
	p.done(t, "create", "--auto-config", "--event", "change.deal") // is there already
	if code, out, _ := command(t, "webhooks", "plan", "--config", p.config); code != exitUsage || !strings.Contains(out, "1 to create") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	p.done(t, "apply", "--yes")
	p.done(t, "plan")
	person := func(name string, total int) {
		t.Helper()
		if _, err := s.CRM().Create("person", simulate.Record{"name": name}, simulate.By{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, name+" arrives", func() bool { return len(p.events(t)) == total })
	}
	person("before", 1)
	p.done(t, "rotate", "--yes")
	person("after", 2)
	eventually(t, "the new password is in use", func() bool {
		var v rotationJSON
		return json.Unmarshal([]byte(p.done(t, "rotate", "--status", "--json")), &v) == nil && v.State == "used" && v.Configured == "new"
	})
	if env, err := os.ReadFile(filepath.Join(p.dir, ".env")); err != nil || strings.Contains(string(env), firstPassword) {
		t.Errorf("got %s, error %v", env, err)
	}
	var all []webhookJSON
	if err := json.Unmarshal([]byte(p.done(t, "list", "--json")), &all); err != nil || len(all) != 2 || !all[0].Here || !all[1].Here {
		t.Errorf("got %+v, error %v", all, err)
	}
	p.done(t, "test")
}
