package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/coretest/testdb"
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

func TestAWebhookComesHereHoweverItsAddressIsWritten(t *testing.T) {
	conf := &config.Config{Pipedrive: config.Pipedrive{PublicURL: "https://hooks.example.com/"}, Pipelines: []config.Pipeline{{Source: "pipedrive", Path: "/hook"}, {Source: "shop", Path: "/shop"}}}
	for target, want := range map[string]bool{
		"https://hooks.example.com/hook": true, "https://HOOKS.example.com:443/hook": true, "https://hooks.example.com/shop": false,
		"https://other.example.com/hook": false, "https://hooks.example.com/hook?x=1": false, "::": false,
	} {
		if got := comesHere(conf, target); got != want {
			t.Errorf("%s: %v", target, got)
		}
	}
}
