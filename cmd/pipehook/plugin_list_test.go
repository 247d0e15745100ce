package main

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func listed(t *testing.T) (plugins []listedPlugin, why string) {
	t.Helper()
	var answer struct {
		Plugins []listedPlugin
		Asked   bool
		Why     string
	}
	if err := json.Unmarshal([]byte(says(t, exitDone, []string{"plugin", "list", "--json"})), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Asked != (answer.Why == "") {
		t.Errorf("asked %t, and %q", answer.Asked, answer.Why)
	}
	return answer.Plugins, answer.Why
}

func TestPluginsAreListedWithWhoUsesThemAndHowTheyDo(t *testing.T) {
	const pin = "sha256 = \"PIN\""
	p := labProject(t, "[plugins]\ndir = \"plugins/bin\"\n"+moody("first", "good", "")+moody("pinned", "good", pin))
	sum := sumOf(t, "plugins/bin/lab")
	edit(t, p.config, pin, `sha256 = "`+sum+`"`)
	p.write(t, "plugins/bin/README", "no program")
	plugins, why := listed(t)
	if len(plugins) != 4 || !strings.HasPrefix(why, "pipehook does not run here") {
		t.Fatalf("%s: %+v", why, plugins)
	}
	for i, name := range []string{"first", "pinned", "", ""} {
		if one := plugins[i]; one.Name != name || one.SHA256 != sum || one.Running != nil || (one.Matches != nil) != (name == "pinned") {
			t.Errorf("%+v", one)
		}
	}
	says(t, exitDone, []string{"plugin", "list"}, "PLUGIN      USED BY          STATE    PID", "labsources  nobody           unknown  –", "lab         listener pinned  unknown  –", sum[:12]+", pinned", "state is not known: pipehook does not run here")

	p.serve(t)
	eventually(t, "both run", func() bool {
		plugins, _ = listed(t)
		return plugins[0].Running != nil && plugins[0].Running.State == "running" && plugins[1].Running != nil && plugins[1].Running.State == "running"
	})
	s := plugins[0].Running
	if s.PID == 0 || s.Version != "1.2.3" || s.Contract != "1.2" || s.SHA256 != sum || s.Since.IsZero() || s.Restarts != 0 || !slices.Equal(s.Does, []string{"listener"}) || s.PID == plugins[1].Running.PID {
		t.Errorf("%+v", s)
	}
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another runs", func() bool {
		plugins, _ = listed(t)
		now := plugins[0].Running
		return now.State == "running" && now.PID != s.PID && now.Restarts == 1
	})
	says(t, exitDone, []string{"plugin", "list"}, "lab         listener first   running      ", "1.2.3", "labsources  nobody           not running  –", " it ended: it was killed (SIGKILL) from outside")
	says(t, exitDone, []string{"plugin", "debug", "first"}, "the process of listener first that runs now:", "dlv attach ")
	p.installText(t, "lab", "no program")
	eventually(t, "both refuse the new file", func() bool {
		plugins, _ = listed(t)
		return plugins[0].Running.Refused != "" && plugins[1].Running.Refused != ""
	})
	if first := plugins[0].Running; !strings.Contains(first.Refused, "is not a program for ") || first.RefusedAt.Before(first.ErrorAt) || first.State != "running" {
		t.Errorf("it says %+v", first)
	}
	says(t, exitDone, []string{"plugin", "list"}, " the new file is not used: ", ", not the pinned "+sum[:11])
}

func TestThePluginsOfAProcessAreBehindItsToken(t *testing.T) {
	p := labProject(t, moody("first", "good", ""))
	edit(t, p.config, "[admin]\n", "[admin]\ntoken = \"c4n4ry-of-the-tests\"\n")
	p.serve(t)
	resp, err := http.Get("http://" + p.admin + pluginsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusUnauthorized || strings.Contains(string(body), "first") {
		t.Errorf("%d %s %v", resp.StatusCode, body, err)
	}
	if plugins, why := listed(t); why != "" || plugins[0].Running == nil {
		t.Errorf("with the token: %s %+v", why, plugins)
	}
	edit(t, p.config, "c4n4ry-of-the-tests", "another")
	if _, why := listed(t); !strings.Contains(why, "has another admin.token") {
		t.Errorf("with another: %s", why)
	}
	edit(t, p.config, p.admin, p.hooks) // who answers there is no admin
	if _, why := listed(t); !strings.Contains(why, "is no pipehook that knows of this: it says 404") {
		t.Errorf("elsewhere: %s", why)
	}
}
