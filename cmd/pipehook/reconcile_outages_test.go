package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

func TestSeveralFailuresInARowHaveTheAPILeftAlone(t *testing.T) {
	a := newTroubled(t, simulate.Options{}, "")
	a.fails(t, simulate.Fault{Kind: "503"}, func(r *http.Request) bool { return r.URL.Path != "/api/v1/users/me" })
	code, said := a.types(t, "sync")
	if n := len(a.every()) - 1; n < 8 || n > 10 { // three objects are read side by side: two may have asked meanwhile
		t.Errorf("it asked %d times for records, want 8 to 10", n)
	}
	for _, want := range []string{"Pipedrive failed so often that it is left alone for a while; try again in 30s", "error: not all was read", "hint: in 30s: pipehook sync, which goes on there"} {
		if code != exitFailed || !strings.Contains(said, want) {
			t.Errorf("exit code %d, and it does not say %q:\n%s", code, want, said)
		}
	}
	a.heals()
	if code, said := a.types(t, "sync"); code != exitDone {
		t.Errorf("once more: exit code %d\n%s", code, said)
	}
}

func TestADayWithoutTokensIsNamedWithItsEnd(t *testing.T) {
	a := newTroubled(t, simulate.Options{Daily: 32}, "sync = { objects = [\"person\"] }\n")
	a.create(t, "person", 1600)
	end := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1).Format(time.RFC3339)
	says := func(args ...string) {
		t.Helper()
		code, said := a.types(t, args...)
		for _, want := range []string{"the day's tokens are spent", "until " + end, "try again in ", "pipehook: hint: in "} {
			if code != exitFailed || !strings.Contains(said, want) {
				t.Errorf("%v: exit code %d, and it does not say %q:\n%s", args, code, want, said)
			}
		}
	}
	says("sync")
	read := a.asked("GET /api/v2/persons")
	if code, said := a.types(t, "webhooks", "list"); code != exitDone { // a tenth is kept for what can't wait
		t.Errorf("exit code %d\n%s", code, said)
	}
	says("webhooks", "list")
	says("webhooks", "create", "--auto-config", "--event", "*.*")
	says("pipedrive", "fields", "pull")
	says("reconcile")
	a.asked("")
	for day := 1; ; day++ {
		a.day.Add(1)
		code, said := a.types(t, "sync")
		read += a.asked("GET /api/v2/persons")
		if code == exitDone {
			break
		}
		if day == 4 {
			t.Fatalf("it has not come to its end\n%s", said)
		}
	}
	if n := a.rows(t, "person"); n != 1600 || read != 4 {
		t.Errorf("%d persons are in the table, by %d pages, want 1600 by 4", n, read)
	}
}

func TestAListThatGoesRoundInACircleEnds(t *testing.T) {
	a := newTroubled(t, simulate.Options{}, "sync = { objects = [\"person\"] }\n")
	a.create(t, "person", 1200)
	a.fails(t, simulate.Fault{Kind: simulate.FaultRepeat}, secondPage)
	code, said := a.types(t, "sync")
	for _, want := range []string{"the list gives a page again", "hint: pipehook sync, which goes on there; if it does not, with --restart"} {
		if code != exitFailed || !strings.Contains(said, want) {
			t.Errorf("exit code %d, and it does not say %q:\n%s", code, want, said)
		}
	}
	a.heals()
	for _, args := range [][]string{{"sync"}, {"sync", "--restart"}} {
		if code, said := a.types(t, args...); code != exitDone || a.rows(t, "person") != 1200 {
			t.Errorf("%v: exit code %d\n%s", args, code, said)
		}
	}
}

func TestTheFortyFirstWebhookIsRefusedUntilOneIsDeleted(t *testing.T) {
	a := newTroubled(t, simulate.Options{}, "")
	create := []string{"webhooks", "create", "--no-auth", "--event", "*.*", "--url"}
	for n := range 40 {
		if code, said := a.types(t, append(create, fmt.Sprintf("https://hooks.example.com/%d", n))...); code != exitDone {
			t.Fatalf("exit code %d\n%s", code, said)
		}
	}
	code, said := a.types(t, append(create, "https://hooks.example.com/hook")...)
	for _, want := range []string{"no more webhooks: a user has 40 at most (422)", "pipehook webhooks delete --id ID"} {
		if code != exitFailed || !strings.Contains(said, want) {
			t.Errorf("exit code %d, and it does not say %q:\n%s", code, want, said)
		}
	}
	if code, said := a.types(t, "webhooks", "delete", "--id", "7", "--yes"); code != exitDone {
		t.Errorf("exit code %d\n%s", code, said)
	}
	if code, said := a.types(t, append(create, "https://hooks.example.com/hook")...); code != exitDone {
		t.Errorf("exit code %d\n%s", code, said)
	}
}

func TestARecordThatIsGoneBetweenTheListAndTheQuestionIsDeleted(t *testing.T) {
	a := newTroubled(t, simulate.Options{}, "sync = { objects = [\"deal\", \"note\"] }\n")
	a.create(t, "deal", 1)
	a.create(t, "note", 2)
	a.types(t, "sync")
	if err := a.server.CRM().Delete("note", "2", simulate.By{Quiet: true}); err != nil {
		t.Fatal(err)
	}
	if err := a.server.Faults().Add(simulate.Fault{Kind: "404", Path: "/api/v1/notes/"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if code, said := a.types(t, "reconcile", "--deletes"); code != exitDone {
			t.Errorf("exit code %d\n%s", code, said)
		}
		if got := a.told(t); !slices.Equal(got, []string{"deleted.note 2"}) {
			t.Errorf("listeners are told of %v", got)
		}
	}
}

func TestASyncThatIsInterruptedGoesOnThere(t *testing.T) {
	a := newTroubled(t, simulate.Options{}, "sync = { objects = [\"organization\", \"person\"] }\n")
	a.create(t, "organization", 1)
	a.create(t, "person", 2200) // five pages
	for _, want := range []int{3, 3} {
		ctx, interrupt := context.WithCancel(t.Context())
		pages := 0
		a.mu.Lock()
		a.before = func(r *http.Request) {
			if r.URL.Path == "/api/v2/persons" {
				if pages++; pages == 3 { // the first is in the table
					interrupt()
				}
			}
		}
		a.mu.Unlock()
		var out, errs bytes.Buffer
		code := run(ctx, []string{"sync", "--config", a.config}, nil, nil, &out, &errs)
		interrupt()
		if code != exitFailed || !strings.Contains(errs.String(), "error: interrupted\n") || !strings.Contains(errs.String(), "hint: pipehook sync, which goes on there") {
			t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
		}
		if n := a.asked("GET /api/v2/persons"); n != want {
			t.Errorf("%d pages, want %d", n, want)
		}
	}
	a.heals()
	code, said := a.types(t, "sync")
	calls := a.every()
	if code != exitDone || a.rows(t, "person") != 2200 || len(calls) != 4 || calls[0] != "GET /api/v1/users/me" || !strings.Contains(said, "was read already") {
		t.Errorf("exit code %d after %v\n%s", code, calls, said)
	}
}

// With retries, what does not last is not even noticed.
func TestWhatDoesNotLastIsNotNoticed(t *testing.T) {
	for _, f := range []simulate.Fault{{Kind: "503", Next: 2}, {Kind: "429", Next: 1}, {Kind: "cut", Next: 1}, {Kind: "slow", Next: 1, Delay: 5 * time.Second}} {
		t.Run(f.Kind, func(t *testing.T) {
			a := newTroubled(t, simulate.Options{}, "timeout = \"1s\"\nsync = { objects = [\"person\"] }\n")
			a.replace(t, strings.Replace(readFile(t, a.config), "retries = 0\n", "", 1))
			a.create(t, "person", 1200)
			a.fails(t, f, secondPage)
			if code, said := a.types(t, "sync"); code != exitDone || a.rows(t, "person") != 1200 {
				t.Errorf("exit code %d\n%s", code, said)
			}
		})
	}
}
