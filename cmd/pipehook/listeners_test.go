package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/testdb"
)

const moodyListener = "[[listener]]\nname = \"moody\"\nscript = \"moody.js\"\nretry = { attempts = 3, first = \"1h\" }\n"

func TestEveryPendingDeliverySaysWhatItWaitsFor(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := newProject(t, url, fullChain, map[string]string{"": moodyListener})
		p.write(t, "moody.js", `export default () => { throw new Error("not today") }`)
		p.write(t, "scripts/calm.js", `export default () => {}`)
		stop := p.serve(t)
		if code, out, errs := command(t, "listeners", "pause", "calm", "--reason", "moving", "--config", p.config); code != exitDone || out != "listener calm paused, 0 pending\n" {
			t.Fatalf("exit %d: %s%s", code, out, errs)
		}
		eventually(t, "the process has heard of the pause", func() bool { return p.metric(t, `pipehook_listener_paused{listener="calm"}`) == "1" })
		body := sampleBody(t)
		first := p.post(t, body).ID
		second := p.post(t, again(t, body)).ID
		why := func(id, listener string) string {
			t.Helper()
			var shown eventJSON
			var told explanation
			for _, view := range []struct {
				name string
				into any
			}{{"show", &shown}, {"explain", &told}} {
				code, out, errs := command(t, "events", view.name, id, "--json", "--config", p.config)
				if err := json.Unmarshal([]byte(out), view.into); err != nil || code != exitDone {
					t.Fatalf("%s: exit %d, %v: %s%s", view.name, code, err, out, errs)
				}
			}
			var text string
			for _, d := range shown.Deliveries {
				if d.Listener == listener {
					text = d.Why
				}
			}
			for _, l := range told.Listeners {
				if l.Listener == listener && l.Outcome == "pending" && l.Why != text {
					t.Errorf("show says %q, explain %q", text, l.Why)
				}
			}
			if text != "" {
				if _, out, _ := command(t, "events", "show", id, "--config", p.config); !strings.Contains(out, text) {
					t.Errorf("no %q in\n%s", text, out)
				}
			}
			return text
		}
		says := func(id, listener, want string) {
			t.Helper()
			eventually(t, id+" says "+want, func() bool { return strings.Contains(why(id, listener), want) })
		}
		says(first, "calm", "the listener is paused: moving")
		says(first, "moody", "it is attempted again at ")
		says(first, "moody", "; the last attempt: ")
		says(second, "moody", "it waits behind event "+first+" of its record, which has failed (once)")
		stop()
		p.replace(t, strings.Replace(readFile(t, p.config), moodyListener, "", 1))
		says(first, "moody", "there is no such listener any more")
		if code, _, _ := command(t, "listeners", "resume", "calm", "--config", p.config); code != exitDone {
			t.Errorf("exit code %d", code)
		}
		says(first, "calm", "it is due")
	})
}

// again is another event of the same record.
func again(t *testing.T, body []byte) []byte {
	t.Helper()
	var of, other struct {
		Data map[string]any `json:"data"`
	}
	next := map[string]any{}
	fresh := sampleBody(t)
	for _, one := range []struct {
		text []byte
		into any
	}{{body, &of}, {fresh, &other}, {fresh, &next}} {
		if err := json.Unmarshal(one.text, one.into); err != nil {
			t.Fatal(err)
		}
	}
	other.Data["id"] = of.Data["id"]
	next["data"] = other.Data
	if meta, ok := next["meta"].(map[string]any); ok {
		meta["entity_id"] = of.Data["id"]
	}
	text, err := json.Marshal(next)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestListenersAreListedWithWhatIsPausedAndPending(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": moodyListener})
	p.write(t, "moody.js", `export default () => { throw new Error("not today") }`)
	p.write(t, "scripts/calm.js", `export default () => {}`)
	stop := p.serve(t)
	p.post(t, sampleBody(t))
	stop()
	if code, _, errs := command(t, "listeners", "pause", "clam", "--config", p.config); code != exitDone || !strings.Contains(errs, "warning: there is no listener clam") {
		t.Errorf("a name that nobody has: exit %d: %s", code, errs)
	}
	if code, out, errs := command(t, "listeners", "pause", "moody", "--reason", "a test", "--json", "--config", p.config); code != exitDone || errs != "" || !strings.Contains(out, `"pending": 1`) {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	code, out, errs := command(t, "listeners", "list", "--json", "--config", p.config)
	var all []listenerJSON
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != exitDone || len(all) != 3 {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
	}
	if calm := all[0]; calm.Listener != "calm" || calm.Paused || !*calm.Exists {
		t.Errorf("calm: %+v", calm)
	}
	if clam := all[1]; clam.Listener != "clam" || !clam.Paused || *clam.Exists {
		t.Errorf("clam: %+v", clam)
	}
	if moody := all[2]; moody.Listener != "moody" || !moody.Paused || moody.Reason != "a test" || moody.Pending != 1 {
		t.Errorf("moody: %+v", moody)
	}
	if _, out, _ := command(t, "listeners", "list", "--config", p.config); !strings.Contains(out, "moody     1        yes     a test") {
		t.Errorf("it lists\n%s", out)
	}
}

func TestAnEventThatIsNotThereIsAnError(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	p.write(t, "scripts/calm.js", `export default () => {}`)
	stop := p.serve(t)
	id := p.post(t, sampleBody(t)).ID
	p.events(t)
	stop()
	for _, args := range [][]string{{"events", "replay"}, {"deliveries", "retry"}, {"deliveries", "cancel"}, {"deliveries", "list"}} {
		code, out, errs := command(t, append(args, id, "nosuch", "--config", p.config)...)
		if code != exitFailed || out != "" || !strings.Contains(errs, `there is no event "nosuch"`) || !strings.Contains(errs, "pipehook: hint: pipehook events list") {
			t.Errorf("%v: exit %d: %s%s", args, code, out, errs)
		}
	}
}
