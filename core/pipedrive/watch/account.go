package watch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Webhook is what an account says of one of its webhooks.
type Webhook struct {
	ID           int64
	Name         string    `json:",omitempty"`
	Event        string    // such as *.deal
	URL          string    // may hold no credentials: it is logged
	Pipeline     string    `json:",omitempty"` // that it comes to; "" for one that goes elsewhere
	Active       bool      // Pipedrive's is_active
	LastStatus   int       `json:",omitempty"` // 0 when there was no delivery
	LastDelivery time.Time `json:",omitzero"`
}

// look asks the account for its webhooks and tells what has become of those that come here.
func (w *Watch) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	whose, all, err := w.opts.API.Webhooks(ctx)
	now := w.opts.Now()
	w.asking.Note(w.opts.Log, now, err, "the account's webhooks can't be asked for", "the account's webhooks are asked for again")
	w.mu.Lock()
	before, since, first := w.webhooks, w.looked, w.tried.IsZero()
	w.tried, w.asked = now, err
	if err != nil {
		w.mu.Unlock()
		return
	}
	if whose != w.whose {
		before, first = nil, true // what these credentials do not see may be there all the same
	}
	w.whose, w.looked, w.webhooks = whose, now, map[int64]Webhook{}
	for _, h := range all {
		if h.Pipeline != "" {
			w.webhooks[h.ID] = h
		}
	}
	are := maps.Clone(w.webhooks)
	f := w.trace(before, are, all, now)
	w.mu.Unlock()
	for _, l := range f.lost {
		w.opts.Log.Error("a webhook was deleted: Pipedrive does so after three days without a success, or somebody did", "webhook", l.ID, "of", l.Event,
			"last_delivery", l.LastDelivery, "hint", "make it again: pipehook webhooks apply")
		w.missed(l, earlier(l.LastDelivery, since))
	}
	for _, l := range f.replaced {
		w.opts.Log.Info("a webhook was deleted, and another one brings its events", "webhook", l.ID, "of", l.Event)
		w.missed(l, earlier(l.LastDelivery, since))
	}
	for _, l := range f.back {
		w.opts.Log.Info("another webhook brings the events of one that was deleted", "webhook", l.ID, "of", l.Event)
		w.missed(l, l.At)
	}
	if len(are) == 0 && (first || len(before) > 0) {
		w.opts.Log.Warn("none of the account's webhooks comes here", "webhooks", len(all), "hint", "pipehook webhooks list shows where they go; pipedrive.public_url says where this is")
	}
	w.compare(before, are, since, first)
}

func (w *Watch) missed(l loss, since time.Time) {
	w.gap(since, fmt.Sprintf("webhook %d was deleted", l.ID))
}

// contradicts reports whether the account, asked after a time, says that all webhooks that come here are active and were
// answered well. It is no proof: whether a webhook that is silenced counts as active is documented nowhere. The lock
// is held.
func (w *Watch) contradicts(since time.Time) bool {
	if !w.current() || len(w.webhooks) == 0 || w.looked.Before(since) {
		return false
	}
	for _, h := range w.webhooks {
		if !h.Active || h.LastStatus != 0 && h.LastStatus/100 != 2 {
			return false
		}
	}
	return true
}

// current reports whether what the account said at the last look still tells something. When nobody asks it any more, or
// it has not answered for long, nobody could learn that it is otherwise now. The lock is held.
func (w *Watch) current() bool {
	return w.asks() && w.opts.Now().Sub(w.looked) <= max(fewLooks*w.opts.Every(), askCalmly)
}

// said is what the account said of the webhooks that come here, for a sentence. The lock is held.
func (w *Watch) said() string {
	switch {
	case w.asked != nil:
		return "the account can't be asked"
	case !w.current():
		return "the account was not asked"
	case len(w.webhooks) == 0:
		return "the account has no webhook that comes here"
	}
	var all []string
	for _, id := range slices.Sorted(maps.Keys(w.webhooks)) {
		h, is := w.webhooks[id], "active"
		if !h.Active {
			is = "not active"
		}
		text := fmt.Sprintf("webhook %d is %s", id, is)
		if h.LastStatus != 0 {
			text += fmt.Sprintf(", last answered %d", h.LastStatus)
		}
		all = append(all, text)
	}
	return "the account says: " + strings.Join(all, "; ")
}

// compare tells which webhooks have fallen silent since, and which speak again. A process tells at its first look of all
// that are silent.
func (w *Watch) compare(before, are map[int64]Webhook, since time.Time, first bool) {
	for _, id := range slices.Sorted(maps.Keys(are)) {
		h := are[id]
		was, known := before[id]
		switch {
		case !h.Active && (was.Active || !known || first):
			w.opts.Log.Error("a webhook is not active: Pipedrive sends nothing to it", "webhook", id, "of", h.Event, "last_status", h.LastStatus,
				"last_delivery", h.LastDelivery, "hint", "if it stays so for longer than the 30 minutes of a ban, make it again: pipehook webhooks apply")
		case h.Active && known && !was.Active:
			w.opts.Log.Info("a webhook is active again", "webhook", id, "of", h.Event)
			w.gap(earlier(was.LastDelivery, since), fmt.Sprintf("webhook %d was not active", id))
		}
	}
}

// loss is a webhook that was deleted.
type loss struct {
	Webhook
	At time.Time // when that was found
}

const (
	regret   = 24 * time.Hour      // so long a deleted webhook is told of: somebody may have meant it
	remember = 30 * 24 * time.Hour // and so long it may be made again, and what it has missed is told
)

// fates are what has become of deleted webhooks.
type fates struct {
	lost     []loss // deleted now, and nothing brings their events
	replaced []loss // deleted now, and another one does
	back     []loss // lost before, and now another one does
}

// trace finds what was deleted, which is not what only goes elsewhere, and what is brought again. The lock is held.
func (w *Watch) trace(before, are map[int64]Webhook, all []Webhook, now time.Time) (f fates) {
	deleted := maps.Clone(before)
	for _, h := range all {
		delete(deleted, h.ID)
	}
	if w.lost == nil {
		w.lost = map[int64]loss{}
	}
	for id, h := range deleted {
		w.lost[id] = loss{h, now}
	}
	for _, id := range slices.Sorted(maps.Keys(w.lost)) {
		l := w.lost[id]
		_, fresh := deleted[id]
		brought := l.broughtBy(are)
		switch {
		case fresh && brought:
			f.replaced = append(f.replaced, l)
		case fresh:
			f.lost = append(f.lost, l)
		case brought:
			f.back = append(f.back, l)
		}
		if brought || now.Sub(l.At) >= remember {
			delete(w.lost, id)
		}
	}
	return f
}

// broughtBy reports whether one of the webhooks brings all that the lost one did: to its pipeline, which may have another
// address now, or to its address, where the pipeline may have another name.
func (l *loss) broughtBy(are map[int64]Webhook) bool {
	for _, h := range are {
		if (h.Pipeline == l.Pipeline || h.URL == l.URL) && covers(h.Event, l.Event) {
			return true
		}
	}
	return false
}

// covers reports whether a webhook about one event, such as *.deal, brings all of another's.
func covers(a, b string) bool {
	action, object, _ := strings.Cut(a, ".")
	otherAction, otherObject, _ := strings.Cut(b, ".")
	return (action == "*" || action == otherAction) && (object == "*" || object == otherObject)
}

// earlier is the first of two times, of which either may not be known.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
