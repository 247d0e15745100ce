// Package echo knows the events that pipehook's own writes cause. Each write is noted before it is sent, with
// what it writes; an event that says the same of the same record is its echo. It neither sends writes nor
// handles events.
package echo

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// Options are what a Ledger needs.
type Options struct {
	// Keep is where entries are kept: a space of its own that all processes share.
	Keep   func(ctx context.Context, op *effect.KVOp) (*effect.KVResult, error)
	Fields func() *shape.Fields // nil for none
	Now    func() time.Time
	Alone  bool         // no other process writes entries, so that memory says when there is none
	Log    *slog.Logger // is told, now and then, of writes for which there was no room; nil discards
}

// Ledger is the writes that may still come back. It is safe for many goroutines.
type Ledger struct {
	opts   Options
	window atomic.Int64 // for which an entry that is not used up is kept, in nanoseconds; 0: nobody asks for entries
	until  atomic.Int64 // when the last entry of this process ends, in Unix ns
	said   atomic.Int64 // when the log was last told that there is no room, in Unix ns
}

const (
	spentFor = 10 * time.Minute // an entry that is used up stays so long for its event's repetitions, which come within four minutes
	sayAgain = time.Hour
)

// New makes a Ledger. Nothing is noted until Use says for how long.
func New(o Options) *Ledger {
	if o.Fields == nil {
		o.Fields = func() *shape.Fields { return nil }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Ledger{opts: o}
}

// Use says for how long entries are kept from now on; 0 when no stage asks for them.
func (l *Ledger) Use(window time.Duration) {
	l.window.Store(int64(window))
	l.alive(max(window, spentFor)) // those that the process before has left
}

func (l *Ledger) alive(window time.Duration) {
	end := l.opts.Now().Add(window).UnixNano()
	for old := l.until.Load(); old < end && !l.until.CompareAndSwap(old, end); old = l.until.Load() {
	}
}

// entry is one event that a write will cause.
type entry struct {
	By      string         `json:"by"`
	At      time.Time      `json:"at"`
	Actions []string       `json:"actions,omitempty"` // any of them
	Values  map[string]any `json:"values,omitempty"`  // in the normal form, long texts as their hashes
	Spent   string         `json:"spent,omitempty"`   // the key of the event that it was found for, in hex; what it wrote is gone then
}

// Note is a write that is about to be sent; nil notes none.
type Note struct {
	keys    []string
	object  string
	creates bool
	entries []entry
}

// Begin notes a write before it is sent. An error says that it could not be: then its echo would not be known.
// What no event is known to come of is not noted, and neither is what there is no room for: a write matters more than
// its echo.
func (l *Ledger) Begin(ctx context.Context, by string, c *effect.APICall) (*Note, error) {
	window := time.Duration(l.window.Load())
	if window <= 0 || !c.Writes() {
		return nil, nil
	}
	w, ok := read(c, l.opts.Fields())
	if !ok {
		return nil, nil
	}
	now := l.opts.Now()
	n := &Note{object: w.object, creates: w.creates()}
	l.alive(window)
	for _, id := range w.ids {
		key := prefix(w.object, id) + fmt.Sprintf("%013x", now.UnixMilli()) + rand.Text()
		e := entry{By: by, At: now, Actions: w.actions, Values: w.values}
		switch _, err := l.set(ctx, key, &e, new(string)); {
		case core.KindOf(err) == core.TooLarge:
			l.noRoom(by, err)
		case err != nil:
			l.forget(ctx, n)
			return nil, err
		default:
			n.keys, n.entries = append(n.keys, key), append(n.entries, e)
		}
	}
	if len(n.keys) == 0 {
		return nil, nil
	}
	return n, nil
}

func (l *Ledger) noRoom(by string, err error) {
	now := l.opts.Now()
	if last := l.said.Load(); now.Sub(time.Unix(0, last)) >= sayAgain && l.said.CompareAndSwap(last, now.UnixNano()) {
		l.opts.Log.Warn("what is written to Pipedrive is not known again when it comes back: there is no room to note it", "by", by, "err", err)
	}
}

// End takes back what was noted when the write was surely not done, and gives a record that was created its id.
// What fails here only makes an echo harder to know.
func (l *Ledger) End(ctx context.Context, n *Note, a *effect.APIAnswer, failed error) {
	if n == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	switch {
	case failed != nil && refused(failed):
		l.forget(ctx, n)
	case failed == nil && n.creates:
		if id := idOf(a.Data); id != "" {
			if _, err := l.set(ctx, moved(n.keys[0], n.object, id), &n.entries[0], new(string)); err == nil {
				l.forget(ctx, n) // else it is found where it is
			}
		}
	}
}

// refused reports whether Pipedrive has said no, or was not even asked, so that nothing was written.
func refused(err error) bool {
	e, ok := err.(*effect.Error)
	return ok && !e.Unsure && (e.NotDone || e.Status >= 400 && e.Status < 500 && e.Status != 408)
}

func (l *Ledger) forget(ctx context.Context, n *Note) {
	for _, key := range n.keys {
		_, _ = l.opts.Keep(ctx, &effect.KVOp{Op: "delete", Key: key})
	}
}

func (l *Ledger) set(ctx context.Context, key string, e *entry, ifVersion *string) (bool, error) {
	value, err := json.Marshal(e)
	if err != nil {
		return false, err
	}
	left := time.Duration(l.window.Load()) - l.opts.Now().Sub(e.At)
	if e.Spent != "" {
		left = spentFor
	}
	r, err := l.opts.Keep(ctx, &effect.KVOp{Op: "set", Key: key, Value: value, TTL: max(left, time.Second), IfVersion: ifVersion})
	if err != nil {
		return false, err
	}
	return r.OK, nil
}

// Find looks for the write that caused an event, within window, and uses it up: no other event is found for
// it, but the same one, when its sender repeats it, is, also when the window is over. It asks the store only about events that a program
// caused, and when there may be an entry. by is who wrote, empty for nobody; near is true when somebody wrote
// the same record with other values.
func (l *Ledger) Find(ctx context.Context, ev *core.Event, window time.Duration) (by string, near bool, err error) {
	now := l.opts.Now()
	switch {
	case ev.Facts.ChangeSource != "api" || ev.Origin != "" || ev.Object == "" || ev.ObjectID == "":
		return "", false, nil
	case l.opts.Alone && now.UnixNano() > l.until.Load():
		return "", false, nil
	}
	spaces := []string{ev.ObjectID}
	if ev.Action == core.Added {
		spaces = []string{unknownID, ev.ObjectID} // in the order in which an entry moves, so that it is not missed
	}
	told := l.told(ev)
	for _, id := range spaces {
		for kept, err := range l.entries(ctx, prefix(ev.Object, id)) {
			var e entry
			switch {
			case err != nil:
				return "", false, err
			case decode(kept.Value, &e) != nil:
				continue
			case e.Spent != "" && e.Spent == hex.EncodeToString(ev.Key):
				return e.By, false, nil
			case e.Spent != "" || now.Sub(e.At) > window:
				continue
			}
			fits, other := e.fits(told)
			if !fits {
				near = near || other && id != unknownID
				continue
			}
			ours, err := l.spend(ctx, ev, kept, &e, id)
			if ours || err != nil {
				return e.By, false, err
			}
		}
	}
	return "", near, nil
}

// entries are all that begin with a prefix. They come in pages, which may end early.
func (l *Ledger) entries(ctx context.Context, prefix string) iter.Seq2[*effect.KVEntry, error] {
	return func(yield func(*effect.KVEntry, error) bool) {
		op := effect.KVOp{Op: "list", Prefix: prefix}
		for {
			r, err := l.opts.Keep(ctx, &op)
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range r.Entries {
				if op.After = r.Entries[i].Key; !yield(&r.Entries[i], nil) {
					return
				}
			}
			if !r.More || len(r.Entries) == 0 {
				return
			}
		}
	}
}

// spend uses an entry up, and reports whether it did: somebody else may have been faster. What stays of it is short.
func (l *Ledger) spend(ctx context.Context, ev *core.Event, kept *effect.KVEntry, e *entry, id string) (bool, error) {
	*e = entry{By: e.By, At: e.At, Spent: cmp.Or(hex.EncodeToString(ev.Key), "-")}
	l.alive(spentFor)
	if id != unknownID {
		return l.set(ctx, kept.Key, e, &kept.Version)
	}
	r, err := l.opts.Keep(ctx, &effect.KVOp{Op: "delete", Key: kept.Key, IfVersion: &kept.Version})
	if err != nil || !r.OK {
		return false, err
	}
	_, err = l.set(ctx, moved(kept.Key, ev.Object, ev.ObjectID), e, nil)
	return true, err
}
