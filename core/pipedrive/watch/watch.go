// Package watch looks whether Pipedrive's webhooks still come: it counts the failures for which Pipedrive silences
// a webhook, asks the account for its webhooks, knows how long a silence is usual, and how long nobody served. It
// says so, and tells since when events may be missing; what is done about it is not its matter.
package watch

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
)

// States keeps what must outlive the process. Replicas share it.
type States interface {
	State(ctx context.Context, name string) ([]byte, error)
	SetState(ctx context.Context, name string, value []byte) error
}

// API is what is asked of the account.
type API interface {
	// Webhooks are all that the credentials see, and whose names these: what others do not see need not be gone.
	Webhooks(ctx context.Context) (whose string, all []Webhook, err error)
}

// Options are what New needs.
type Options struct {
	States States
	API    API                                                          // nil when the account can't be asked
	Has    func(pipeline string) bool                                   // whether there is a pipeline of Pipedrive's of that name now; nil for always
	Every  func() time.Duration                                         // how often the account is asked now; 0 for never, as when there is none
	Quiet  func() float64                                               // so many times the usual gap is odd now; 0 for never
	OnGap  func(ctx context.Context, since time.Time, why string) error // until it succeeds nothing is kept, and it is called again
	Log    *slog.Logger
	Now    func() time.Time
}

const (
	stateName  = "pipedrive/watch"
	aliveName  = "pipedrive/alive"
	beat       = 30 * time.Second
	outage     = 3 * beat // since the last sign of life: then nobody served
	askWithin  = time.Minute
	saveWithin = 10 * time.Second
	lastWithin = 2 * time.Second // at the end, which nobody wants to wait for
	askAgain   = time.Minute     // after the account could not be asked
	fewLooks   = 3               // so many times the account may not be asked, and what it said before still holds
	askCalmly  = 5 * askAgain    // at most that often because of further failures, which anybody can make
)

// Watch is what is known. Its methods may be called from many goroutines.
type Watch struct {
	opts    Options
	wake    chan struct{} // one place: something must be kept soon
	begun   bool          // the last sign of life was read; belongs to Run
	trouble core.Trouble  // of the states; belongs to Run
	asking  core.Trouble  // of the account; belongs to Run
	since   time.Time     // when it was made

	mu     sync.Mutex
	fails  failures
	unread unread
	told   map[string]int // of each pipeline: at how many failures something was said
	flows  map[string]*flow
	silent map[string]bool // pipelines whose silence was told

	whose    string // the credentials of the last look, of which the next three are
	webhooks map[int64]Webhook
	lost     map[int64]loss // deleted, and not made again
	looked   time.Time
	gaps     []gap // that are not told yet

	tried   time.Time          // when this process last asked the account; zero when it never has
	asked   error              // what came of that
	reaches map[string]failing // pipelines with ten failures, which are told once the account was asked
}

// failing is a failure that may have silenced a webhook.
type failing struct {
	at      time.Time
	further bool // the account has said before that it did not
	webhook string
	n       int
	status  int
}

// New makes a watch that has seen nothing.
func New(opts Options) *Watch {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.OnGap == nil {
		opts.OnGap = func(context.Context, time.Time, string) error { return nil }
	}
	if opts.Has == nil {
		opts.Has = func(string) bool { return true }
	}
	return &Watch{
		opts: opts, since: opts.Now(), wake: make(chan struct{}, 1), fails: failures{Times: map[string]map[string][]time.Time{}, Cleared: map[string]time.Time{}}, unread: unread{},
		told: map[string]int{}, flows: map[string]*flow{}, silent: map[string]bool{}, reaches: map[string]failing{},
	}
}

// kept is the state as JSON.
type kept struct {
	Failures failures
	Flows    map[string]*flow
	Whose    string            `json:",omitempty"`
	Webhooks map[int64]Webhook `json:",omitempty"`
	Lost     map[int64]loss    `json:",omitempty"`
	Looked   time.Time         `json:",omitzero"`
}

// Run watches until ctx ends. While the states can't be reached it goes on with what it knows.
func (w *Watch) Run(ctx context.Context) error {
	w.step(ctx)
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-w.wake:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWithin)
			defer cancel()
			w.keep(last)
			return nil
		}
		w.step(ctx)
	}
}

// start finds out how long nobody served. It reports false when that can't be known yet.
func (w *Watch) start(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, saveWithin)
	defer cancel()
	text, err := w.opts.States.State(ctx, aliveName)
	if err != nil {
		return false // it is said when the states are kept
	}
	alive, err := time.Parse(time.RFC3339Nano, string(text))
	if now := w.opts.Now(); err == nil && now.Sub(alive) > outage {
		w.opts.Log.Warn("nobody took webhooks for a while; some may have been missed", "since", alive, "for", now.Sub(alive).Round(time.Second))
		w.gap(alive, "no process served")
	}
	return true
}

// step does what is due: it tells what has changed, asks the account and keeps what is known.
func (w *Watch) step(ctx context.Context) {
	w.begun = w.begun || w.start(ctx)
	w.keep(ctx)
	w.judge()
	due := w.due()
	if due {
		w.look(ctx)
	}
	if due || w.owes() {
		w.keep(ctx)
	}
	w.tellBans()
}

// asks reports whether there is an account to be asked.
func (w *Watch) asks() bool {
	return w.opts.API != nil && w.opts.Every() > 0
}

// due reports whether the account is to be asked: when a process begins, when the last time is long ago, soon after it
// could not be asked, and when failures say that a webhook may be silenced.
func (w *Watch) due() bool {
	if !w.asks() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.opts.Now()
	for _, f := range w.reaches {
		if w.tried.Before(f.at) {
			return true
		}
	}
	switch {
	case w.tried.IsZero():
		return true
	case w.asked != nil:
		return now.Sub(w.tried) >= min(askAgain, w.opts.Every())
	}
	return now.Sub(w.looked) >= w.opts.Every()
}

// judge tells what time has brought: the end of a ban, and silence.
func (w *Watch) judge() {
	now := w.opts.Now()
	w.mu.Lock()
	over := w.fails.end(now)
	quiet := w.quiet(now)
	w.mu.Unlock()
	for _, ban := range over {
		w.opts.Log.Info("the suspected ban is over", "pipeline", ban.pipeline, "since", ban.began)
		w.gap(ban.began, "Pipedrive has probably silenced a webhook of pipeline "+ban.pipeline)
	}
	for _, q := range quiet {
		w.opts.Log.Warn("no webhook has come for much longer than usual", "pipeline", q.pipeline, "for", q.silence.Round(time.Second), "usual_gap", q.usual.Round(time.Second),
			"hint", "pipehook webhooks list tells whether Pipedrive still has them")
	}
}

// keep tells of gaps; then it joins what is known here with what the other processes know, and keeps it, and that this
// process lives. It is the order that lets the next process find a gap that could not be told of.
func (w *Watch) keep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, saveWithin)
	defer cancel()
	err := w.tellGaps(ctx)
	if err == nil {
		err = w.exchange(ctx)
	}
	if err == nil && w.begun { // what the last process left was read
		err = w.opts.States.SetState(ctx, aliveName, []byte(w.opts.Now().UTC().Format(time.RFC3339Nano)))
	}
	w.trouble.Note(w.opts.Log, w.opts.Now(), err, "what is known of Pipedrive's webhooks can't be kept", "what is known of Pipedrive's webhooks is kept again")
}

func (w *Watch) exchange(ctx context.Context) error {
	text, err := w.opts.States.State(ctx, stateName)
	if err != nil {
		return err
	}
	var there kept
	if text != nil {
		if err := json.Unmarshal(text, &there); err != nil {
			w.opts.Log.Warn("what was kept of Pipedrive's webhooks can't be read; it begins anew", "err", err)
			there = kept{}
		}
	}
	w.mu.Lock()
	w.fails.join(there.Failures, w.opts.Now())
	w.joinFlows(there.Flows)
	if w.looked.Before(there.Looked) {
		w.whose, w.webhooks, w.lost, w.looked = there.Whose, there.Webhooks, there.Lost, there.Looked
	}
	text, err = json.Marshal(kept{w.fails, w.flows, w.whose, w.webhooks, w.lost, w.looked})
	late := len(w.gaps) > 0 // one has come since they were told: it is told first
	w.mu.Unlock()
	if err != nil || late {
		return err
	}
	return w.opts.States.SetState(ctx, stateName, text)
}

// soon has Run keep what is known without waiting for its time.
func (w *Watch) soon() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
