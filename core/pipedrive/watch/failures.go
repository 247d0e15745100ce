package watch

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
)

// Pipedrive counts for each webhook the deliveries whose first try fails, by an answer that is no 2xx or none within
// 10 s. At ten it sends nothing for 30 minutes, tells of what happens meanwhile never, and counts from 0 again
// (Guide for Webhooks and Guide for Webhooks v2). Whether a success lowers the count is documented nowhere, so
// it does not here.
const (
	banAt     = 10
	banFor    = 30 * time.Minute
	answerIn  = 10 * time.Second
	firstSign = 5
	lastSign  = 8
	underWay  = time.Minute

	// forget is how long a failure is held against a webhook. Pipedrive names no such time; without one a failure a
	// month would end in an alarm. It keeps a webhook that fails for as many days.
	forget = 3 * 24 * time.Hour
)

// A body may name any webhook, and all that is kept goes into one state: of how many webhooks, an account has 40 for each
// user, and how long their ids may be.
const (
	mostWebhooks = 100
	longestID    = 32
)

// failures are the times of failed first tries, by pipeline and webhook; "" is one that was not told, because the
// request was refused before its body was read.
type failures struct {
	Times   map[string]map[string][]time.Time
	Cleared map[string]time.Time // by pipeline: failures up to then do not count
}

// unread are the deliveries whose body nobody read, by pipeline: only its time tells a first try from one that is made
// again. What another replica refused is not among them.
type unread map[string][]tries

type tries struct {
	made        int
	began, last time.Time
}

// again are the pauses before Pipedrive's further tries. From which try they are counted is documented nowhere: both
// the first one and the one before are taken.
var again = [...]time.Duration{3 * time.Second, 30 * time.Second, 150 * time.Second}

const (
	sooner = time.Second     // a further try may come that much before its time
	late   = 5 * time.Second // or after it
)

// first notes a try that comes now, and reports whether it is the first one of its delivery.
func (u unread) first(pipeline string, now time.Time) bool {
	of := slices.DeleteFunc(u[pipeline], func(t tries) bool {
		return t.made > len(again) || now.Sub(t.last) > again[t.made-1]+late || now.Before(t.last)
	})
	defer func() { u[pipeline] = of }()
	for i := range of {
		t := &of[i]
		soonest := min(t.began.Add(again[t.made-1]).Sub(t.last), again[t.made-1])
		if now.Sub(t.last) >= soonest-sooner {
			t.made, t.last = t.made+1, now
			return false
		}
	}
	if len(of) < mostUnread {
		of = append(of, tries{1, now, now})
	}
	return true
}

// mostUnread bounds what strangers can have remembered. Beyond it every try counts as a first one.
const mostUnread = 1000

// ban is a time in which a pipeline's webhook is probably silenced.
type ban struct {
	pipeline string
	began    time.Time
}

// against are the times that count against one webhook: its own, and those that may be its. They are in order.
func (f *failures) against(pipeline, webhook string, now time.Time) []time.Time {
	of := f.Times[pipeline]
	times := slices.Clone(of[""])
	if webhook != "" {
		times = append(times, of[webhook]...)
	}
	slices.SortFunc(times, time.Time.Compare)
	return slices.DeleteFunc(times, func(t time.Time) bool { return !t.After(f.Cleared[pipeline]) || now.Sub(t) > forget })
}

// counting are the times that count against the webhook of the pipeline that is worst off.
func (f *failures) counting(pipeline string, now time.Time) []time.Time {
	worst := f.against(pipeline, "", now)
	for webhook := range f.Times[pipeline] {
		if times := f.against(pipeline, webhook, now); len(times) > len(worst) {
			worst = times
		}
	}
	return worst
}

// banned reports since when a webhook of the pipeline is probably silenced.
func (f *failures) banned(pipeline string, now time.Time) (began time.Time, ok bool) {
	times := f.counting(pipeline, now)
	if len(times) < banAt {
		return time.Time{}, false
	}
	return times[banAt-1], true
}

// end clears the pipelines whose ban is over.
func (f *failures) end(now time.Time) (over []ban) {
	for _, pipeline := range slices.Sorted(maps.Keys(f.Times)) {
		if began, ok := f.banned(pipeline, now); ok && now.Sub(began) >= banFor {
			f.clear(pipeline, now)
			over = append(over, ban{pipeline, began})
		}
	}
	return over
}

func (f *failures) clear(pipeline string, now time.Time) {
	f.Cleared[pipeline] = now
	delete(f.Times, pipeline)
}

func (f *failures) add(pipeline, webhook string, at time.Time) {
	if f.Times[pipeline] == nil {
		f.Times[pipeline] = map[string][]time.Time{}
	}
	if _, known := f.Times[pipeline][webhook]; !known && f.webhooks() >= mostWebhooks {
		webhook = ""
	}
	times := append(f.Times[pipeline][webhook], at)
	f.Times[pipeline][webhook] = times[:min(len(times), 2*banAt)] // more say nothing more
}

// webhooks is of how many failures are kept.
func (f *failures) webhooks() (n int) {
	for _, of := range f.Times {
		n += len(of)
	}
	return n
}

// join adds what another process has counted.
func (f *failures) join(o failures, now time.Time) {
	for pipeline, at := range o.Cleared {
		if at.After(f.Cleared[pipeline]) {
			f.Cleared[pipeline] = at
		}
	}
	for pipeline, of := range o.Times {
		for webhook, times := range of {
			for _, t := range times {
				if !slices.ContainsFunc(f.Times[pipeline][webhook], t.Equal) {
					f.add(pipeline, webhook, t)
				}
			}
		}
	}
	for pipeline, of := range f.Times {
		for webhook, times := range of {
			of[webhook] = slices.DeleteFunc(times, func(t time.Time) bool { return !t.After(f.Cleared[pipeline]) || now.Sub(t) > forget })
			if len(of[webhook]) == 0 {
				delete(of, webhook)
			}
		}
	}
}

// Seen is told of every answer to a request of a pipeline whose source is Pipedrive. What pipehook made itself and
// what does not come from Pipedrive is passed over: anybody may knock. It does not keep the event.
func (w *Watch) Seen(ev *core.Event, status int, took time.Duration) {
	if ev.Origin != "" || !fromPipedrive(ev, status) {
		return
	}
	now, webhook, first := w.opts.Now(), webhookID(ev.Meta), !ev.IsRetry()
	failed := status/100 != 2 || took > answerIn
	w.mu.Lock()
	if failed && ev.Meta == nil {
		first = w.unread.first(ev.Pipeline, now)
	}
	if w.flows[ev.Pipeline] == nil {
		w.flows[ev.Pipeline] = &flow{}
	}
	resumed := status/100 == 2 && w.came(ev.Pipeline, now)
	began, banned := w.fails.banned(ev.Pipeline, now)
	spoke := banned && first && !failed && sentSince(ev, began, now) && len(w.fails.against(ev.Pipeline, webhook, now)) >= banAt
	if spoke {
		w.fails.clear(ev.Pipeline, now)
		w.noteGap("Pipedrive may have silenced a webhook of pipeline "+ev.Pipeline, gap{Since: began, At: now})
	}
	if failed && first {
		w.fails.add(ev.Pipeline, webhook, now)
	}
	n := len(w.fails.counting(ev.Pipeline, now))
	before := w.told[ev.Pipeline]
	w.told[ev.Pipeline] = n
	if spoke {
		delete(w.reaches, ev.Pipeline)
	}
	waits := failed && first && n >= banAt && w.asks()
	if waits {
		further := banned && w.contradicts(began)
		if _, known := w.reaches[ev.Pipeline]; !known && (before < banAt || further && now.Sub(w.looked) >= askCalmly) {
			w.reaches[ev.Pipeline] = failing{now, further, webhook, n, status}
		}
	}
	w.mu.Unlock()
	if resumed {
		w.opts.Log.Info("webhooks come again", "pipeline", ev.Pipeline)
	}
	if spoke {
		w.opts.Log.Info("Pipedrive sends: the suspected ban is over or was none", "pipeline", ev.Pipeline)
	}
	if failed && first && !waits {
		w.warn(ev.Pipeline, webhook, before, n, status)
	}
	if failed && first || spoke {
		w.soon()
	}
}

// sentSince reports whether a first attempt was sent after a ban would have begun. What was under way then still
// arrives, and tells of what happened before.
func sentSince(ev *core.Event, began, now time.Time) bool {
	return ev.OccurredAt.Sub(began) > sooner || now.Sub(began) > underWay
}

// tellBans tells of the pipelines that have reached ten failures, once it is known what the account says of them.
func (w *Watch) tellBans() {
	w.mu.Lock()
	now, is := w.opts.Now(), w.said()
	told, denied := map[string]failing{}, map[string]bool{}
	for pipeline, f := range w.reaches {
		began, banned := w.fails.banned(pipeline, now)
		if banned && w.asks() && w.asked == nil && w.looked.Before(f.at) {
			continue // it is asked soon
		}
		delete(w.reaches, pipeline)
		is := w.contradicts(began)
		if banned && !(is && f.further) {
			told[pipeline], denied[pipeline] = f, is
		}
	}
	w.mu.Unlock()
	for _, pipeline := range slices.Sorted(maps.Keys(told)) {
		if f := told[pipeline]; denied[pipeline] {
			w.opts.Log.Warn("ten first attempts failed, but Pipedrive says that its webhooks are active and were answered well: somebody else may have sent them",
				"pipeline", pipeline, "status", f.status, "account", is, "hint", "pipehook events refused --since 1h tells from where they came")
		} else {
			w.silenced(pipeline, f, is)
		}
	}
}

func (w *Watch) silenced(pipeline string, f failing, account string) {
	args := []any{"pipeline", pipeline, "failed", f.n, "of", banAt, "status", f.status}
	if f.webhook != "" {
		args = append(args, "webhook", f.webhook)
	}
	w.opts.Log.Error("Pipedrive has probably silenced a webhook: ten first attempts failed. What happens in the next 30 minutes is not sent, ever",
		append(args, "account", account, "hint", "pipehook events refused tells why requests failed; pipehook reconcile brings what is missed once it is over")...)
}

// warn says how near the ban is, at each sign once.
func (w *Watch) warn(pipeline, webhook string, before, n, status int) {
	passed := func(sign int) bool { return before < sign && n >= sign }
	args := []any{"pipeline", pipeline, "failed", n, "of", banAt, "status", status}
	if webhook != "" {
		args = append(args, "webhook", webhook)
	}
	switch {
	case passed(banAt):
		w.silenced(pipeline, failing{webhook: webhook, n: n, status: status}, "can't be asked: none is connected")
	case passed(lastSign), passed(firstSign):
		w.opts.Log.Warn("first attempts of webhooks fail; at ten Pipedrive silences the webhook for 30 minutes",
			append(args, "hint", "pipehook events refused tells why; a wrong password counts too")...)
	}
}

// ownAgent begins what pipehook's commands call themselves: what they try says nothing of what Pipedrive sends.
const ownAgent = "pipehook "

// fromPipedrive tells Pipedrive's requests from those of strangers, by what it calls itself or by a body that was let
// in. Nobody has to be believed for a warning.
func fromPipedrive(ev *core.Event, status int) bool {
	agent := http.Header(ev.Header).Get("User-Agent")
	letIn := ev.Meta != nil && status != http.StatusUnauthorized && status != http.StatusForbidden // a stage before authenticate has it read too
	return letIn && !strings.HasPrefix(agent, ownAgent) || strings.HasPrefix(agent, "Pipedrive")
}

// webhookID is a string in version 2, and a number or a string in version 1; "" when it is no id of Pipedrive's.
func webhookID(meta json.RawMessage) string {
	value := gjson.GetBytes(meta, "webhook_id")
	if value.Type != gjson.Number && value.Type != gjson.String {
		return ""
	}
	id := value.String()
	if value.Type == gjson.Number {
		id = value.Raw // a float would round it
	}
	if len(id) > longestID || strings.Trim(id, "0123456789") != "" {
		return ""
	}
	return id
}
