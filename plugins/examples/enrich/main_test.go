package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/sdktest"
)

const owners = "user_id,team,tier\n12415231,north,gold\n14542087,south,silver\n"

// start runs the stage over a table of owners, which it returns the path of.
func start(t *testing.T, table string, config map[string]any) (*sdktest.Plugin, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "owners.csv")
	write(t, path, table)
	all := map[string]any{"owners": path}
	maps.Copy(all, config)
	e := &enrich{}
	p, err := sdktest.TryStart(t, sdk.Plugin{Name: "enrich", Version: "0", Config: e, Stage: e}, sdktest.Options{Config: all})
	return p, path, err
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAnEventOfADealIsJudged(t *testing.T) {
	config := map[string]any{"required": []string{"title"}, "test_users": []string{"666"}, "closed": true}
	for name, test := range map[string]struct {
		ev      sdk.Event
		verdict sdk.Verdict
		typ     string
		labels  map[string]string
		status  int
		message string
	}{
		"a deal gets its owner's labels": {
			ev:  sdk.Event{Action: "added", Object: "deal", Current: []byte(`{"title":"a","owner_id":12415231}`)},
			typ: "added.deal", labels: map[string]string{"team": "north", "tier": "gold"},
		},
		"so does one of Pipedrive's first format": {
			ev:  sdk.Event{Action: "added", Object: "deal", Current: []byte(`{"title":"a","user_id":14542087}`)},
			typ: "added.deal", labels: map[string]string{"team": "south", "tier": "silver"},
		},
		"labels of other stages stay": {
			ev:  sdk.Event{Action: "added", Object: "deal", Current: []byte(`{"title":"a","owner_id":12415231}`), Labels: map[string]string{"size": "large"}},
			typ: "added.deal", labels: map[string]string{"size": "large", "team": "north", "tier": "gold"},
		},
		"an owner whom nobody knows gives no labels": {
			ev:  sdk.Event{Action: "added", Object: "deal", Current: []byte(`{"title":"a","owner_id":1}`)},
			typ: "added.deal",
		},
		"a deal that was deleted is its last owner's": {
			ev:  sdk.Event{Action: "deleted", Object: "deal", Previous: []byte(`{"owner_id":12415231}`)},
			typ: "deleted.deal", labels: map[string]string{"team": "north", "tier": "gold"},
		},
		"a deal that is won has an action of its own": {
			ev:  sdk.Event{Action: "updated", Object: "deal", Current: []byte(`{"title":"a","status":"won"}`), Previous: []byte(`{"status":"open"}`)},
			typ: "won.deal",
		},
		"one that was won before has not": {
			ev:  sdk.Event{Action: "updated", Object: "deal", Current: []byte(`{"title":"a","status":"won"}`), Previous: []byte(`{"title":"b"}`)},
			typ: "updated.deal",
		},
		"what a test user does ends here": {
			ev:      sdk.Event{Action: "added", Object: "deal", Current: []byte(`{"title":"a"}`)},
			verdict: sdk.Drop, typ: "added.deal",
		},
		"a deal without a title is turned away": {
			ev:  sdk.Event{Action: "added", Object: "deal", Current: []byte(`{"title":null}`)},
			typ: "added.deal", status: 422, message: "a deal needs a title",
		},
		"so is one that is no object": {
			ev:  sdk.Event{Action: "added", Object: "deal", Current: []byte(`[1]`)},
			typ: "added.deal", status: 422, message: "a deal must be a JSON object",
		},
		"a person goes on as it is": {
			ev:  sdk.Event{Action: "added", Object: "person", Current: []byte(`{"owner_id":12415231}`)},
			typ: "added.person",
		},
	} {
		t.Run(name, func(t *testing.T) {
			stage, _, err := start(t, owners, config)
			if err != nil {
				t.Fatal(err)
			}
			ev := test.ev
			if test.verdict == sdk.Drop {
				ev.Facts.UserID = "666"
			}
			verdict, err := stage.Process(t.Context(), &ev)
			status, rejected := sdktest.Status(err)
			switch {
			case test.status != 0 && (status != test.status || err.Error() != test.message):
				t.Errorf("%d: %v, want %d: %s", status, err, test.status, test.message)
			case test.status == 0 && (rejected || err != nil || verdict != test.verdict):
				t.Errorf("verdict %s, error %v, want %s", verdict, err, test.verdict)
			}
			if ev.Type() != test.typ || !maps.Equal(ev.Labels, test.labels) {
				t.Errorf("it is %s with %v, want %s with %v", ev.Type(), ev.Labels, test.typ, test.labels)
			}
			if got := ev.TakeRemark(); (got == "user 666 tests") != (test.verdict == sdk.Drop) {
				t.Errorf("remark %q", got)
			}
		})
	}
}

func TestARecordedDealIsLabelled(t *testing.T) {
	stage, _, err := start(t, owners, nil)
	if err != nil {
		t.Fatal(err)
	}
	ev := sdktest.Event(t, "added.deal")
	if _, err := stage.Process(t.Context(), &ev); err != nil || ev.Labels["team"] != "north" {
		t.Errorf("labels %v, %v", ev.Labels, err)
	}
	ev = sdk.Event{Action: "added", Object: "deal", Current: []byte(`{"owner_id":1}`)}
	if _, err := stage.Process(t.Context(), &ev); err != nil || stage.Count("unknown_owners") != 1 {
		t.Errorf("it counted %v, %v", stage.Count("unknown_owners"), err)
	}
}

func TestTheTableIsReadAgainWhenItChanges(t *testing.T) {
	stage, path, err := start(t, owners, nil)
	if err != nil {
		t.Fatal(err)
	}
	team := func() string {
		ev := sdk.Event{Action: "added", Object: "deal", Current: []byte(`{"owner_id":12415231}`)}
		if _, err := stage.Process(t.Context(), &ev); err != nil {
			t.Fatal(err)
		}
		return ev.Labels["team"]
	}
	for n, step := range []struct{ table, want string }{
		{owners, "north"},
		{"user_id,team,tier\n12415231,west,gold\n", "west"},
		{"user_id,team\n12415231,east\n", "west"}, // a mistake changes nothing
		{"", "west"},
		{"user_id,team,tier\n12415231,east,gold\n", "east"},
	} {
		write(t, path, step.table)
		if err := os.Chtimes(path, time.Time{}, time.Unix(int64(n), 0)); err != nil {
			t.Fatal(err)
		}
		if got := team(); got != step.want {
			t.Errorf("step %d: team %q, want %q", n, got, step.want)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := team(); got != "east" {
		t.Errorf("without the file: team %q", got)
	}
}

func TestATableThatIsWrongIsAMistakeOfTheConfiguration(t *testing.T) {
	for name, test := range map[string]struct {
		table  string
		config map[string]any
		want   string
	}{
		"no file":     {owners, map[string]any{"owners": ""}, "owners: must not be empty"},
		"not there":   {owners, map[string]any{"owners": "/nowhere"}, "owners: stat /nowhere: no such file"},
		"other heads": {"id,team,tier\n", nil, `the first line must be ["user_id" "team" "tier"]`},
		"short lines": {"user_id,team,tier\n1,north\n", nil, "wrong number of fields"},
	} {
		_, _, err := start(t, test.table, test.config)
		if err == nil || !strings.HasPrefix(err.Error(), "owners: ") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}
