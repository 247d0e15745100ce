package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/effect"
)

// What counts towards a ban is seen by who looks at the process, and by the next process.
func TestFailedFirstAttemptsShowInReadinessAndMetricsAndOutliveTheProcess(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := newProject(t, url, fullChain, nil)
		stop := p.serve(t)
		send := func(agent string) {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.hooks+"/hook", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("User-Agent", agent)
			req.SetBasicAuth("hook", "wrong")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Fatalf("answer %d", resp.StatusCode)
			}
		}
		shows := func(path, want string, status int) {
			t.Helper()
			var text string
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
				resp, err := http.Get("http://" + p.admin + path)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if text = string(body); err == nil && resp.StatusCode == status && strings.Contains(text, want) {
					return
				}
			}
			t.Errorf("%s lacks %q:\n%s", path, want, text)
		}
		for range 20 {
			send("curl/8")
		}
		for range 6 {
			send("Pipedrive Webhooks")
		}
		shows("/readyz", "6 of 10 first attempts failed", http.StatusOK)
		shows("/metrics", `pipehook_pipedrive_failed_first_attempts{pipeline="crm"} 6`, http.StatusOK)
		stop()
		p.serve(t)
		shows("/readyz", "6 of 10 first attempts failed", http.StatusOK)
		for range 4 {
			send("Pipedrive Webhooks")
		}
		shows("/readyz", "has probably silenced a webhook", http.StatusOK)
		shows("/metrics", `pipehook_pipedrive_ban_suspected{pipeline="crm"} 1`, http.StatusOK)
	})
}

// An account's webhook may have fallen silent while nobody served, and what a process before this one saw be long past.
func TestTheAccountsWebhooksAreAskedForAtTheStart(t *testing.T) {
	_, account := standInFor(t)
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	text := fmt.Sprintf("[pipedrive]\nbase_url = %q\napi_token = %q\npublic_url = \"http://%s/\"\n", account.Pipedrive.BaseURL, accountToken, p.hooks)
	conf, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	stop := p.serve(t) // without an account
	stop()
	p.write(t, "pipeline.toml", string(conf)+text)
	stop = p.serve(t) // sees that there is none
	metrics := func(line string) func() bool {
		return func() bool {
			resp, err := http.Get("http://" + p.admin + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			return err == nil && strings.Contains(string(body), line)
		}
	}
	stop()
	h := askingPipedrive(account).user(hostSpec{name: "l"})
	activeAt := func(address, object string) (shows func() bool) {
		t.Helper()
		made, err := h.Pipedrive(t.Context(), callOf("l", address), &effect.APICall{Method: "POST", Path: "/api/v1/webhooks", Body: fmt.Appendf(nil,
			`{"name":"all","event_action":"*","event_object":%q,"subscription_url":"http://%s/hook"}`, object, address)})
		if err != nil {
			t.Fatal(err)
		}
		var is struct{ ID int64 }
		if err := json.Unmarshal(made.Data, &is); err != nil {
			t.Fatal(err)
		}
		return metrics(fmt.Sprintf(`pipehook_pipedrive_webhook_active{webhook="%d"} 1`, is.ID))
	}
	first := activeAt(p.hooks, "*")
	stop = p.serve(t)
	eventually(t, "the webhook is active", first)
	stop()
	second := activeAt("elsewhere.test", "deal")
	p.write(t, "pipeline.toml", string(conf)+strings.Replace(text, p.hooks, "elsewhere.test", 1))
	p.serve(t)
	eventually(t, "the one that comes to the other address is active", second)
	if _, text := p.readiness(t); first() || strings.Contains(text, "deleted") {
		t.Errorf("the first one does not come here any more, but is there: %s", text)
	}
}

func TestAWebhookComesHereHoweverItsAddressIsWritten(t *testing.T) {
	conf := &config.Config{
		Pipedrive: config.Pipedrive{PublicURL: "https://hooks.example.com/"},
		Pipelines: []config.Pipeline{{Name: "crm", Source: "pipedrive", Path: "/hook"}, {Name: "shop", Source: "shop", Path: "/shop"}},
	}
	for target, want := range map[string]string{
		"https://hooks.example.com/hook": "crm", "https://HOOKS.example.com:443/hook": "crm", "https://hooks.example.com/shop": "",
		"https://other.example.com/hook": "", "https://hooks.example.com/hook?x=1": "", "::": "",
	} {
		if got := pipelineAt(conf, target); got != want {
			t.Errorf("%s: %q", target, got)
		}
	}
}
