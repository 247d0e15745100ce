package watch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// account is what the API says. What does not go to "other" comes here.
type account struct {
	whose string
	all   []Webhook
	err   error
}

func (a *account) Webhooks(context.Context) (string, []Webhook, error) {
	all := slices.Clone(a.all)
	for i, h := range all {
		if h.Pipeline == "" && !strings.Contains(h.URL, "other") {
			all[i].Pipeline = "crm"
		}
	}
	return a.whose, all, a.err
}

// comes is an active webhook that comes here.
func comes(id int64, event string) Webhook {
	return Webhook{ID: id, Event: event, URL: "https://a/hook", Active: true}
}

func TestTheAccountIsAskedBeforeABanIsCalledProbable(t *testing.T) {
	for _, test := range []struct {
		name      string
		active    bool
		last      int
		err       error
		suspected bool
		says      string
	}{
		{"it says that all is well", true, 200, nil, false, "webhook 7 is active, last answered 200"},
		{"its last delivery failed", true, 401, nil, true, "webhook 7 is active, last answered 401"},
		{"the webhook is not active", false, 401, nil, true, "webhook 7 is not active, last answered 401"},
		{"it can't be asked", true, 200, errors.New("away"), true, "the account can't be asked"},
	} {
		t.Run(test.name, func(t *testing.T) {
			api := &account{all: []Webhook{comes(7, "*.*")}}
			b := newBench(t, &shelf{}, api)
			b.step(t.Context())
			for range 10 {
				b.answered(500, nil)
			}
			if b.Pipelines()["crm"].Suspected || b.said("ERROR") != 0 {
				t.Errorf("told before it was asked\n%s", b.log)
			}
			api.all[0].Active, api.all[0].LastStatus, api.err = test.active, test.last, test.err
			b.step(t.Context())
			if s := b.Pipelines()["crm"]; s.Suspected != test.suspected || s.Denied == test.suspected || s.Failed != 10 {
				t.Errorf("%+v", s)
			}
			if err := b.Check(); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("it is %v", err)
			}
			if got := strings.Contains(b.log.String(), "has probably silenced"); got != test.suspected || !strings.Contains(b.log.String(), test.says) {
				t.Errorf("the log says\n%s", b.log)
			}
			said := b.log.Len()
			b.answered(500, nil)
			b.step(t.Context())
			if b.log.Len() != said {
				t.Errorf("it is told again\n%s", b.log.String()[said:])
			}
		})
	}
}

// Nobody could clear an alarm about webhooks that nobody asks about.
func TestWhatTheAccountSaidHoldsWhileItIsAsked(t *testing.T) {
	api := &account{all: []Webhook{comes(7, "*.deal"), comes(8, "*.note")}}
	b := newBench(t, &shelf{}, api)
	b.step(t.Context())
	api.all = api.all[:1]
	api.all[0].Active = false
	b.later(t, b.every)
	alarm := func(when string, want bool) {
		t.Helper()
		err, n := b.Check(), len(b.Webhooks())
		if is := err != nil && strings.Contains(err.Error(), "webhook 7 is not active") && strings.Contains(err.Error(), "webhook 8 was deleted"); is != want || is != (n == 1) || !want && err != nil {
			t.Errorf("%s: %v, of %d webhooks", when, err, n)
		}
	}
	alarm("asked", true)
	b.every = 0
	alarm("not asked any more", false)
	b.every = 10 * time.Minute
	alarm("asked again", true)
	api.err = errors.New("away")
	b.later(t, b.every)
	alarm("away for a moment", true)
	b.later(t, 3*b.every)
	alarm("away for long", false)
	api.err = nil
	b.later(t, b.every)
	alarm("there again", true)
}

func TestHowOftenTheAccountIsAskedIsAsAReloadSays(t *testing.T) {
	api := &account{all: []Webhook{comes(7, "*.*")}}
	b := newBench(t, &shelf{}, api)
	b.every = 0
	b.later(t, time.Hour)
	if !b.tried.IsZero() {
		t.Error("it was asked")
	}
	b.every = time.Hour
	b.later(t, time.Second)
	if b.tried != b.now {
		t.Error("it was not asked")
	}
	b.every = time.Minute
	b.later(t, time.Minute)
	if b.tried != b.now {
		t.Error("it was not asked as often")
	}
}

func TestAnAccountThatTurnsOutToRefuseIsBelievedLater(t *testing.T) {
	api := &account{all: []Webhook{{ID: 7, Event: "*.*", URL: "https://a/hook", Active: true, LastStatus: 200}}}
	b := newBench(t, &shelf{}, api)
	for range 10 {
		b.answered(500, nil)
	}
	b.step(t.Context())
	if !b.Pipelines()["crm"].Denied {
		t.Fatalf("%+v", b.Pipelines()["crm"])
	}
	api.all[0].LastStatus = 500
	b.now = b.now.Add(askCalmly)
	b.answered(500, nil)
	b.step(t.Context())
	if !b.Pipelines()["crm"].Suspected || !strings.Contains(b.log.String(), "has probably silenced") {
		t.Errorf("%+v\n%s", b.Pipelines()["crm"], b.log)
	}
}

func TestAProcessAsksTheAccountAtItsStart(t *testing.T) {
	api := &account{}
	s := &shelf{}
	b := newBench(t, s, api)
	b.step(t.Context())
	if !strings.Contains(b.log.String(), "none of the account's webhooks comes here") {
		t.Errorf("it says\n%s", b.log)
	}
	api.all = []Webhook{{ID: 7, Event: "*.*", URL: "https://a/hook"}}
	for range 2 { // the second finds what the first has kept
		next := newBench(t, s, api)
		next.now = b.now.Add(time.Minute)
		next.step(t.Context())
		if next.Check() == nil || !strings.Contains(next.log.String(), "a webhook is not active") {
			t.Errorf("%v\n%s", next.Check(), next.log)
		}
	}
	away := newBench(t, &shelf{}, api)
	api.err = errors.New("away")
	away.step(t.Context())
	api.err = nil
	away.later(t, askAgain)
	if len(away.Webhooks()) != 1 {
		t.Error("an account that was away is not asked again soon")
	}
}

func TestTheAccountsWebhooksAreWatched(t *testing.T) {
	api := &account{all: []Webhook{
		comes(1, "*.deal"), comes(2, "*.person"),
		{ID: 3, Event: "*.*", URL: "https://other/hook", Active: true},
	}}
	s := &shelf{}
	b := newBench(t, s, api)
	look := func() { t.Helper(); b.later(t, 10*time.Minute) }
	look()
	if len(b.Webhooks()) != 2 || b.Check() != nil || b.said("ERROR") != 0 {
		t.Fatalf("%v, %v", b.Webhooks(), b.Check())
	}
	last := b.now
	api.all = api.all[1:]
	api.all[0].Active = false
	look()
	if err := b.Check(); err == nil || !strings.Contains(err.Error(), "webhook 1 was deleted") || !strings.Contains(err.Error(), "webhook 2 is not active") {
		t.Errorf("%v", err)
	}
	if b.said("ERROR") != 2 || !strings.Contains(b.log.String(), "pipehook webhooks apply") || len(b.gaps) != 1 || !strings.HasPrefix(b.gaps[0], last.Format(time.TimeOnly)) {
		t.Errorf("told of %v\n%s", b.gaps, b.log)
	}
	look() // nothing new
	api.err = errors.New("away")
	look()
	if b.said("ERROR") != 3 || b.Check() == nil { // the third is that the account can't be asked
		t.Errorf("it says\n%s", b.log)
	}
	api.err = nil
	api.all = []Webhook{comes(2, "*.person"), comes(9, "*.deal")}
	look()
	if err := b.Check(); err != nil || len(b.gaps) != 3 { // two have ended
		t.Errorf("%v, told of %v", err, b.gaps)
	}
	// One that was deleted while no process ran is missed too.
	next := newBench(t, s, api)
	next.now = b.now.Add(time.Hour)
	api.all = api.all[:1]
	next.step(t.Context())
	if err := next.Check(); err == nil || !strings.Contains(err.Error(), "webhook 9 was deleted") {
		t.Errorf("%v", err)
	}
}

func TestAWebhookThatAnotherStandsForIsNotMissed(t *testing.T) {
	api := &account{all: []Webhook{comes(1, "*.deal"), comes(2, "*.person")}}
	b := newBench(t, &shelf{}, api)
	look := func(after time.Duration) { t.Helper(); b.later(t, after) }
	look(10 * time.Minute)
	api.all = []Webhook{comes(2, "*.person"), comes(3, "*.deal")}
	look(10 * time.Minute) // as webhooks rotate does it
	if b.Check() != nil || b.said("ERROR") != 0 {
		t.Errorf("one that was made anew: %v\n%s", b.Check(), b.log)
	}
	api.all = []Webhook{comes(4, "*.*")}
	look(10 * time.Minute)
	if b.Check() != nil || b.said("ERROR") != 0 {
		t.Errorf("one for everything stands for two: %v\n%s", b.Check(), b.log)
	}
	api.all = nil
	look(10 * time.Minute)
	if b.Check() == nil || b.said("ERROR") != 1 {
		t.Errorf("the last one is gone: %v\n%s", b.Check(), b.log)
	}
	look(25 * time.Hour)
	if err := b.Check(); err != nil {
		t.Errorf("told for ever of one that somebody meant to delete: %v", err)
	}
}

// Until a deleted webhook is made again nothing brings its events, however long that takes.
func TestWhatADeletedWebhookHasMissedIsToldOnceItIsMadeAgain(t *testing.T) {
	for _, after := range []time.Duration{4 * time.Hour, 3 * 24 * time.Hour} {
		api := &account{all: []Webhook{comes(1, "*.deal")}}
		s := &shelf{}
		b := newBench(t, s, api)
		b.step(t.Context())
		api.all = nil
		b.later(t, 10*time.Minute)
		next := benchAt(t, s, api, b.now.Add(time.Minute))
		next.step(t.Context())
		if len(next.gaps) != 0 || next.said("ERROR") != 0 {
			t.Errorf("the next process tells of %v\n%s", next.gaps, next.log)
		}
		both := func(after time.Duration) { b.later(t, after); next.later(t, after) }
		b.gaps = nil
		both(after)
		api.all = []Webhook{comes(2, "*.*")}
		both(10 * time.Minute)
		both(10 * time.Minute)
		want := []string{"12:10:00 webhook 1 was deleted"}
		if told := append(b.gaps, next.gaps...); !slices.Equal(told, want) || b.Check() != nil || next.Check() != nil {
			t.Errorf("after %s: told of %v, want %v", after, told, want)
		}
	}
}

func TestADeletedWebhookIsToldOfByEveryProcessForADay(t *testing.T) {
	api := &account{all: []Webhook{comes(1, "*.deal")}}
	s := &shelf{}
	a, b := newBench(t, s, api), newBench(t, s, api)
	both := func(after time.Duration) { a.later(t, after); b.later(t, after) }
	both(0)
	api.all = nil
	both(10 * time.Minute)
	next := benchAt(t, s, &account{err: errors.New("away")}, b.now.Add(time.Minute)) // which knows it from the others
	next.step(t.Context())
	for name, w := range map[string]*bench{"one": a, "the other": b, "the next": next} {
		if err := w.Check(); err == nil || !strings.Contains(err.Error(), "webhook 1 was deleted") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := a.said("ERROR") + b.said("ERROR"); n != 1 {
		t.Errorf("told %d times\n%s%s", n, a.log, b.log)
	}
	both(regret)
	next.now = b.now
	for name, w := range map[string]*bench{"one": a, "the other": b, "the next": next} {
		if err := w.Check(); err != nil {
			t.Errorf("%s tells for ever of one that somebody meant to delete: %v", name, err)
		}
	}
}

func TestAWebhookThatDoesNotComeHereAnyMoreWasNotDeleted(t *testing.T) {
	api := &account{all: []Webhook{comes(1, "*.deal")}}
	b := newBench(t, &shelf{}, api)
	look := func() { t.Helper(); b.later(t, 10*time.Minute) }
	look()
	api.all[0].URL = "https://other/hook" // as when pipedrive.public_url is another
	look()
	if b.Check() != nil || b.said("ERROR") != 0 || len(b.gaps) != 0 || !strings.Contains(b.log.String(), "none of the account's webhooks comes here") {
		t.Errorf("%v, told of %v\n%s", b.Check(), b.gaps, b.log)
	}
	api.all[0].URL = "https://a/hook"
	look()
	api.all = []Webhook{{ID: 2, Event: "*.deal", URL: "https://b/hook", Active: true}} // and webhooks apply has moved it
	look()
	if b.Check() != nil || b.said("ERROR") != 0 || len(b.gaps) != 1 {
		t.Errorf("%v, told of %v\n%s", b.Check(), b.gaps, b.log)
	}
	api.all = []Webhook{{ID: 3, Event: "*.deal", URL: "https://b/hook", Active: true, Pipeline: "sales"}} // and the pipeline was renamed
	look()
	if b.Check() != nil || b.said("ERROR") != 0 || len(b.gaps) != 2 {
		t.Errorf("%v, told of %v\n%s", b.Check(), b.gaps, b.log)
	}
}

// An app does not see what a token has made, and another company has nothing of it.
func TestWhatOtherCredentialsDoNotSeeWasNotDeleted(t *testing.T) {
	api := &account{whose: "a token's", all: []Webhook{comes(1, "*.deal")}}
	b := newBench(t, &shelf{}, api)
	b.step(t.Context())
	api.whose, api.all = "an app's", nil
	for range 2 {
		b.later(t, 10*time.Minute)
	}
	if b.Check() != nil || b.said("ERROR") != 0 || len(b.gaps) != 0 || strings.Count(b.log.String(), "none of the account's webhooks comes here") != 1 {
		t.Errorf("%v, told of %v\n%s", b.Check(), b.gaps, b.log)
	}
}
