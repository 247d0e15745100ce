package watch

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Status is what is known of one pipeline.
type Status struct {
	Failed    int       // first attempts that failed and count
	Suspected bool      // Pipedrive has probably silenced a webhook
	Denied    bool      // ten failed, but the account says that its webhooks are active and were answered well
	Last      time.Time // when the last webhook was taken; zero when none was
}

// Pipelines is what is known of each pipeline that was heard of.
func (w *Watch) Pipelines() map[string]Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.opts.Now()
	all := make(map[string]Status, len(w.flows))
	for pipeline, f := range w.flows {
		began, banned := w.fails.banned(pipeline, now)
		_, asking := w.reaches[pipeline]
		denied := banned && w.contradicts(began)
		all[pipeline] = Status{Failed: len(w.fails.counting(pipeline, now)), Suspected: banned && !denied && !asking, Denied: denied, Last: f.Last}
	}
	return all
}

// Webhooks are the account's webhooks that come here, as of the last look, by id; none when that was too long ago.
func (w *Watch) Webhooks() map[int64]Webhook {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.current() {
		return nil
	}
	return maps.Clone(w.webhooks)
}

// Check is an error that says what is amiss, nil when nothing is.
func (w *Watch) Check() error {
	var causes []string
	pipelines := w.Pipelines()
	w.mu.Lock()
	said := w.said()
	w.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(pipelines)) {
		switch s := pipelines[name]; {
		case s.Suspected:
			causes = append(causes, fmt.Sprintf("pipeline %s: Pipedrive has probably silenced a webhook; %s", name, said))
		case s.Denied:
			causes = append(causes, fmt.Sprintf("pipeline %s: %d first attempts failed, which Pipedrive's may not have been: %s", name, s.Failed, said))
		case s.Failed >= firstSign:
			causes = append(causes, fmt.Sprintf("pipeline %s: %d of %d first attempts failed, after which Pipedrive silences the webhook", name, s.Failed, banAt))
		}
	}
	if causes = append(causes, w.amiss()...); len(causes) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(causes, "; "))
}

// amiss is what the account says is wrong with its webhooks.
func (w *Watch) amiss() (causes []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.current() {
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(w.webhooks)) {
		if !w.webhooks[id].Active {
			causes = append(causes, fmt.Sprintf("webhook %d is not active", id))
		}
	}
	now := w.opts.Now()
	for _, id := range slices.Sorted(maps.Keys(w.lost)) {
		if now.Sub(w.lost[id].At) < regret {
			causes = append(causes, fmt.Sprintf("webhook %d was deleted: pipehook webhooks apply makes it again", id))
		}
	}
	return causes
}
