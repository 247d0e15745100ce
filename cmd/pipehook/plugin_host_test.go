package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
)

// bookkeeper asks for all there is to ask for, fails at its first attempt, and tells everybody its secret.
const bookkeeper = `package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/pipehook/pipehook/plugins/sdk"
)

type bookkeeper struct{ host *sdk.Host }

func (b *bookkeeper) Start(ctx context.Context, host *sdk.Host) error {
	b.host = host
	return host.SharedKV().Set(ctx, "opened", true, 0)
}

func (b *bookkeeper) Handle(ctx context.Context, ev sdk.Event) error {
	if err := b.host.KV().Set(ctx, "deal/"+ev.ObjectID, sdk.Attempt(ctx), 0); err != nil {
		return err
	}
	for i := range 2 {
		if _, err := b.host.Emit(ctx, sdk.Emission{Action: "added", Object: "invoice", ObjectID: fmt.Sprint(i), Current: map[string]any{"deal": ev.ObjectID}}); err != nil {
			return err
		}
	}
	b.host.Count("booked", 1.5)
	b.host.Gauge("attempt", float64(sdk.Attempt(ctx)))
	secret := b.host.Secret("api")
	b.host.Log().Warn("the secret is "+secret, "secret", secret, "within", []string{secret})
	fmt.Fprintln(os.Stderr, "here too: "+secret)
	if sdk.Attempt(ctx) == 1 {
		return errors.New("once more with " + secret)
	}
	return nil
}

func main() {
	sdk.Serve(sdk.Plugin{Name: "bookkeeper", Version: "1.0.0", Listener: &bookkeeper{}})
}
`

func TestAPluginRemembersEmitsCountsAndKeepsItsSecret(t *testing.T) {
	const canary = "c4n4ry \"of\" the plugin"
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": pluginListener("books",
		`match = ["*.deal"]`+"\n"+`retry = { attempts = 3, first = "10ms", max = "10ms" }`+"\n"+`secrets = { api = '`+canary+`' }`)})
	buildPlugin(t, filepath.Join(p.dir, "plugins", "bin", "books"), "plugins/examples/from_the_documents", bookkeeper)
	pr := launch(t, p, exec.Command(buildBinary(t), "serve", "--config", p.config))
	accepted := p.post(t, sampleOf(t, 4))
	eventually(t, "the second attempt is done", func() bool {
		for _, ev := range p.events(t) {
			if len(ev.Deliveries) == 1 && ev.Deliveries[0].State == core.Done && ev.Deliveries[0].Attempts == 2 {
				return true
			}
		}
		return false
	})
	invoices := 0
	for _, ev := range p.events(t) {
		if ev.Object == "invoice" {
			invoices++
		}
	}
	if invoices != 2 {
		t.Errorf("%d invoices were emitted, want 2", invoices)
	}
	eventually(t, "what it counts is shown", func() bool {
		return strings.Contains(p.metrics(t), `pipehook_plugin_count_total{name="booked",plugin="books"} 3`)
	})
	for series, want := range map[string]string{
		`pipehook_plugin_gauge{name="attempt",plugin="books"}`: "2", `pipehook_plugin_up{plugin="books"}`: "1", `pipehook_plugin_restarts_total{plugin="books"}`: "0",
	} {
		if got := p.metric(t, series); got != want {
			t.Errorf("%s is %s, want %s", series, got, want)
		}
	}
	code, out, errs := command(t, "kv", "list", "--json", "--config", p.config)
	var entries []kvJSON
	if err := json.Unmarshal([]byte(out), &entries); err != nil || code != exitDone {
		t.Fatalf("kv list: exit code %d, %v\n%s%s", code, err, out, errs)
	}
	found := map[string]string{}
	for _, e := range entries {
		found[e.Script+" "+e.Key] = string(e.Value)
	}
	if len(found) != 2 || found[" opened"] != "true" || found["books deal/1004"] != "2" {
		t.Errorf("it remembers %v", found)
	}
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGTERM)
	<-pr.exit
	_, shown, _ := command(t, "events", "show", accepted.ID, "--config", p.config)
	for place, text := range map[string]string{"the log": pr.text(t), "events": shown} {
		if strings.Contains(text, "c4n4ry") {
			t.Errorf("its secret is in %s:\n%s", place, text)
		}
	}
	if !regexp.MustCompile(`attempt 1 .* code [0-9a-f]{12} `).MatchString(shown) {
		t.Errorf("which binary made the attempt is not shown:\n%s", shown)
	}
	if !strings.Contains(shown, "once more with [redacted]") {
		t.Errorf("the attempt's error is not shown:\n%s", shown)
	}
	if text := pr.text(t); strings.Count(text, "[redacted]") < 6 {
		t.Errorf("what it says is not in the log:\n%s", text)
	}
}

// fragile waits until it may go on, and ends with the deals that it can't bear.
const fragile = `package main

import (
	"context"
	"os"
	"time"

	"github.com/pipehook/pipehook/plugins/sdk"
)

func main() {
	sdk.Serve(sdk.Plugin{Name: "fragile", Version: "1.0.0", Listener: sdk.ListenerFunc(func(ctx context.Context, ev sdk.Event) error {
		for _, err := os.Stat("go"); err != nil && ctx.Err() == nil; _, err = os.Stat("go") {
			time.Sleep(time.Millisecond)
		}
		switch ev.ObjectID {
		case "1150", "1222", "1223":
			panic("not this one")
		}
		return ctx.Err()
	})})
}
`

// Events that end the plugin are found among those that they are handled with, which are not blamed.
func TestOnlyTheEventsThatEndAPluginAreQuarantined(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": pluginListener("fragile",
		`timeout = "1m"`+"\n"+`concurrency = 2`+"\n"+`retry = { attempts = 10, first = "10ms", max = "10ms" }`)})
	buildPlugin(t, filepath.Join(p.dir, "plugins", "bin", "fragile"), "plugins/examples/from_the_documents", fragile)
	pr := launch(t, p, exec.Command(buildBinary(t), "serve", "--config", p.config))
	const events = 300
	for i := range events {
		p.post(t, sampleOf(t, i))
	}
	p.write(t, "go", "")
	var quarantined []string
	all := p.events(t)
	for _, ev := range all {
		d := ev.Deliveries[0]
		switch {
		case d.State == core.Quarantined:
			quarantined = append(quarantined, ev.ObjectID)
		case d.State != core.Done || d.Crashes != 0 || d.Attempts != 1:
			t.Errorf("deal %s: %s after %d attempts and %d crashes: %s", ev.ObjectID, d.State, d.Attempts, d.Crashes, d.LastError)
		}
	}
	slices.Sort(quarantined)
	if want := []string{"1150", "1222", "1223"}; !slices.Equal(quarantined, want) || len(all) != events {
		t.Errorf("of %d events %v are quarantined, want %v", len(all), quarantined, want)
	}
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGTERM)
	<-pr.exit
}
