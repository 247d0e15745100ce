package hooks

import (
	"fmt"
	"strings"
	"testing"
)

const here, elsewhere = "https://hooks.example.com/pipedrive/webhook", "https://other.example.com/x"

func event(text string) Event {
	e, err := Parse(text)
	if err != nil {
		panic(err)
	}
	return e
}

func wish(text string, change ...func(*Wanted)) Wanted {
	w := Wanted{Key: "pipedrive.webhook[0]", Event: event(text), URL: here, Version: Version2, AuthUser: "hook"}
	for _, f := range change {
		f(&w)
	}
	return w
}

func there(id int64, text string, change ...func(*Webhook)) Webhook {
	h := Webhook{ID: id, User: 1, Event: event(text), URL: here, Version: Version2, AuthUser: "hook", Active: true, Type: "general"}
	for _, f := range change {
		f(&h)
	}
	return h
}

// said is a plan in a line: what becomes of which webhook.
func said(p Plan) string {
	var all []string
	for _, s := range p {
		text := string(s.Kind)
		if s.Has != nil {
			text += fmt.Sprint(" ", s.Has.ID)
		}
		if s.Twice {
			text += " twice"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func TestWhatIsWantedIsComparedWithWhatThereIs(t *testing.T) {
	named := func(name string) func(*Wanted) { return func(w *Wanted) { w.Name = name } }
	own := func(w *Wanted) { w.Prefix = "pipehook crm " }
	away := func(h *Webhook) { h.URL = elsewhere }
	called := func(name string) func(*Webhook) { return func(h *Webhook) { h.Name = name } }
	for _, test := range []struct {
		name   string
		wanted []Wanted
		has    []Webhook
		want   string
		why    string // of the first step that has a reason
	}{
		{"nothing is wanted and nothing there", nil, nil, "", ""},
		{"there is none", []Wanted{wish("updated.deal")}, nil, "create", ""},
		{"it is there", []Wanted{wish("change.deal")}, []Webhook{there(7, "updated.deal")}, "keep 7", ""},
		{"it is there, and its address is written otherwise", []Wanted{wish("*.*")}, []Webhook{there(7, "*.*", func(h *Webhook) { h.URL = "https://HOOKS.example.com:443/pipedrive/webhook" })}, "keep 7", ""},
		{"it is there under another name", []Wanted{wish("*.*", named("pipehook"))}, []Webhook{there(7, "*.*", called("made by hand"))}, "adopt 7", "its name is made by hand, not pipehook"},
		{"of two alike the one with the name is kept", []Wanted{wish("*.*", named("a"))}, []Webhook{there(7, "*.*", called("b")), there(8, "*.*", called("a"))}, "keep 8, duplicate 7", "webhook 8 brings *.* here already"},
		{"another version", []Wanted{wish("*.*")}, []Webhook{there(7, "*.*", func(h *Webhook) { h.Version = Version1 })}, "replace 7", "version is 1.0, not 2.0"},
		{"another username", []Wanted{wish("*.*")}, []Webhook{there(7, "*.*", func(h *Webhook) { h.AuthUser = "" })}, "replace 7", "the username of HTTP Basic is none, not hook"},
		{"another user", []Wanted{wish("*.*", func(w *Wanted) { w.User = 3 })}, []Webhook{there(7, "*.*")}, "replace 7", "user is 1, not 3"},
		{"any user will do", []Wanted{wish("*.*")}, []Webhook{there(7, "*.*", func(h *Webhook) { h.User = 9 })}, "keep 7", ""},
		{"it is not active any more", []Wanted{wish("*.*")}, []Webhook{there(7, "*.*", func(h *Webhook) { h.Active = false })}, "replace 7", "it is not active"},
		{"its event was changed, and its name tells", []Wanted{wish("*.*", named("a"))}, []Webhook{there(7, "*.deal", called("a"))}, "replace 7", "event is *.deal, not *.*"},
		{"its address was changed, and its name tells", []Wanted{wish("*.*", named("a"))}, []Webhook{there(7, "*.*", called("a"), func(h *Webhook) { h.URL = elsewhere })}, "replace 7", "url is " + elsewhere + ", not " + here},
		{"its event was changed, and nothing tells", []Wanted{wish("*.*")}, []Webhook{there(7, "*.deal")}, "create, leave 7 twice", "some events come twice: *.* is declared, and this brings *.deal"},
		{"it is there twice", []Wanted{wish("*.*")}, []Webhook{there(7, "*.*"), there(8, "*.*")}, "keep 7, duplicate 8", "webhook 7 brings *.* here already"},
		{"the same events in another version are a duplicate", []Wanted{wish("*.*")}, []Webhook{there(6, "*.*", func(h *Webhook) { h.Version = Version1 }), there(7, "*.*")}, "keep 7, duplicate 6", "webhook 7 brings *.* here already"},
		{"another user's is left", []Wanted{wish("*.*")}, []Webhook{there(7, "*.*"), there(8, "*.*", func(h *Webhook) { h.User = 2 })}, "keep 7, leave 8 twice", "it brings *.* here too, of another user (2)"},
		{"what goes elsewhere is left", []Wanted{wish("*.*")}, []Webhook{there(7, "*.*"), there(8, "*.*", func(h *Webhook) { h.URL = elsewhere })}, "keep 7, leave 8", ""},
		{"what comes here and is not declared is left and told of", nil, []Webhook{there(8, "*.*")}, "leave 8", "it comes here and is not declared"},
		{"two that differ find one each", []Wanted{wish("*.deal"), wish("*.person")}, []Webhook{there(7, "*.person"), there(8, "*.deal")}, "keep 8, keep 7", ""},
		{"an automation's is not replaced", []Wanted{wish("*.*")}, []Webhook{there(7, "*.*", func(h *Webhook) { h.Version, h.Type = Version1, "automation" })}, "create, leave 7 twice", "some events come twice: *.* is declared, and this brings *.*"},
		{"an automation's is no duplicate that may be deleted", []Wanted{wish("*.*")}, []Webhook{there(7, "*.*"), there(8, "*.*", func(h *Webhook) { h.Type, h.Version = "automation", Version1 })}, "keep 7, leave 8 twice", "some events come twice: *.* is declared, and this brings *.*"},
		{"its event was changed, and its made-up name tells", []Wanted{wish("*.*", own)}, []Webhook{there(7, "*.deal", called("pipehook crm *.deal"))}, "replace 7", "event is *.deal, not *.*"},
		{"a made-up name of another event tells nothing", []Wanted{wish("*.person", own)}, []Webhook{there(7, "*.deal", called("pipehook crm *.note"))}, "create, leave 7", "it comes here and is not declared"},
		{"a made-up name is of whom it fits best", []Wanted{wish("*.note", own), wish("*.deal", own)}, []Webhook{there(7, "*.deal", called("pipehook crm *.deal"), func(h *Webhook) { h.Version = Version1 })}, "create, replace 7", "version is 1.0, not 2.0"},
		{"two that nobody has declared bring the same", nil, []Webhook{there(7, "*.person"), there(8, "*.person")}, "leave 7, leave 8 twice", "it comes here and is not declared"},
		{"one that nobody has declared covers another", nil, []Webhook{there(7, "added.deal"), there(8, "*.*")}, "leave 7 twice, leave 8", "some events come twice: webhook 8 brings *.* here too"},
		{"two overlap where neither covers the other", nil, []Webhook{there(7, "added.*"), there(8, "*.deal")}, "leave 7, leave 8 twice", "it comes here and is not declared"},
		{"two that come elsewhere are nobody's matter", nil, []Webhook{there(7, "*.*", away), there(8, "*.*", away)}, "leave 7, leave 8", ""},
		{"what version 1 does not have comes once", nil, []Webhook{there(7, "*.*", func(h *Webhook) { h.Version = Version1 }), there(8, "*.lead")}, "leave 7, leave 8", "it comes here and is not declared"},
		{"what is not active brings nothing", nil, []Webhook{there(7, "*.*"), there(8, "*.deal", func(h *Webhook) { h.Active = false })}, "leave 7, leave 8", "it comes here and is not declared"},
		{"two that are declared for two places do not overlap", []Wanted{wish("*.*"), wish("*.*", func(w *Wanted) { w.URL = elsewhere })}, []Webhook{there(7, "*.*"), there(8, "*.*", away)}, "keep 7, keep 8", ""},
		{"two that are declared overlap", []Wanted{wish("*.*"), wish("added.deal")}, []Webhook{there(7, "*.*"), there(8, "added.deal")}, "keep 7, keep 8 twice", "some events come twice: pipedrive.webhook[0] brings *.* here too"},
		{"a wanted one does not take what another is", []Wanted{wish("*.*", named("a")), wish("*.deal")}, []Webhook{there(7, "*.deal", called("a"))}, "create, keep 7 twice", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := Compare(test.wanted, test.has, []string{here})

			if got := said(p); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			why := ""
			for _, s := range p {
				if why == "" && len(s.Why) > 0 {
					why = s.Why[0]
				}
			}
			if test.why != "" && why != test.why {
				t.Errorf("got the reason %q, want %q", why, test.why)
			}
			if inStep := !strings.Contains(test.want, "create") && !strings.Contains(test.want, "replace") && !strings.Contains(test.want, "duplicate") && !strings.Contains(test.want, "twice"); p.InStep() != inStep {
				t.Errorf("in step: %v", p.InStep())
			}
		})
	}
}

func TestWhatBringsTheSameEventsToTheSamePlaceIsNotMadeAgain(t *testing.T) {
	has := []Webhook{there(6, "*.*", func(h *Webhook) { h.URL = elsewhere }), there(7, "*.*", func(h *Webhook) { h.Name = "by hand" })}
	if h, ok := Identical(wish("*.*"), has); !ok || h.ID != 7 {
		t.Errorf("got %d, %v", h.ID, ok)
	}
	if h, ok := Identical(wish("*.deal"), has); ok {
		t.Errorf("%d is taken for another", h.ID)
	}
}
