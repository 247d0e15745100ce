package rotation

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Every is how often a server looks whether a rotation has begun.
const Every = 2 * time.Second

const (
	askAgain   = 500 * time.Millisecond // strangers with wrong passwords make a server look no more often
	askWithin  = time.Second
	writeEvery = 10 * time.Second // of when the old one was used
)

// Verdict is what a rotation says of a credential.
type Verdict uint8

// The verdicts. Of what is Unknown the configuration decides.
const (
	Unknown Verdict = iota
	Good
	Retired
)

// Pipeline is one whose credentials may be changed.
type Pipeline struct {
	Name       string
	Configured []Credential // the first is the one in use; empty when it has none, or when nobody knows
}

// Keeper is a server's side: it knows the rotations of its pipelines and notes when their credentials are
// used. It is a service; before Run it knows none.
type Keeper struct {
	states    States
	pipelines func() []Pipeline
	log       *slog.Logger
	now       func() time.Time

	turn    chan struct{}   // held by who looks, so that nobody puts what is older in the place of what is newer
	asked   time.Time       // when a stranger last made it look; belongs to the turn
	strange map[string]bool // whose configuration has another credential, and it was said; belongs to the turn

	mu      sync.Mutex
	known   map[string]*Status
	wrote   map[string]time.Time // the use of an old credential, as it is kept
	changed chan struct{}
}

// NewKeeper keeps the rotations of the pipelines there are at the moment.
func NewKeeper(states States, pipelines func() []Pipeline, log *slog.Logger) *Keeper {
	return &Keeper{
		states: states, pipelines: pipelines, log: log, now: time.Now, turn: make(chan struct{}, 1),
		known: map[string]*Status{}, wrote: map[string]time.Time{}, strange: map[string]bool{}, changed: make(chan struct{}, 1),
	}
}

// Run looks for rotations until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		k.look(ctx)
		k.note(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-k.changed:
		}
	}
}

// Judge says whether a credential is good. One that it does not know and the configuration does not either
// makes it look again, now and then: a rotation may have begun a moment ago. Who comes while it looks waits for
// what it finds: to refuse a sender has a price.
func (k *Keeper) Judge(ctx context.Context, pipeline, username, password string, configured bool) Verdict {
	return k.ask(ctx, pipeline, username, password, configured, true)
}

// Try says what Judge says, of what is no sender's: it does not count as a use.
func (k *Keeper) Try(ctx context.Context, pipeline, username, password string, configured bool) Verdict {
	return k.ask(ctx, pipeline, username, password, configured, false)
}

func (k *Keeper) ask(ctx context.Context, pipeline, username, password string, configured, use bool) Verdict {
	v := k.judge(pipeline, username, password, use)
	if v == Unknown && !configured {
		ctx, cancel := context.WithTimeout(ctx, askWithin)
		defer cancel()
		k.lookAgain(ctx)
		v = k.judge(pipeline, username, password, use)
	}
	return v
}

// lookAgain looks, unless somebody has a moment ago.
func (k *Keeper) lookAgain(ctx context.Context) {
	if !k.take(ctx) {
		return
	}
	defer k.give()
	if now := k.now(); now.Sub(k.asked) >= askAgain || now.Before(k.asked) {
		k.read(ctx)
		k.asked = k.now()
	}
}

func (k *Keeper) take(ctx context.Context) bool {
	select {
	case k.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (k *Keeper) give() { <-k.turn }

// judge compares with all there are, whatever fits.
func (k *Keeper) judge(pipeline, username, password string, use bool) Verdict {
	k.mu.Lock()
	defer k.mu.Unlock()
	st := k.known[pipeline]
	if st == nil {
		return Unknown
	}
	verdict, now := Unknown, k.now()
	retired, sure := st.RetiredAt()
	var old bool
	for i := range st.Old {
		d := &st.Old[i]
		if d.Is(username, password) {
			old, verdict = true, Good
			if d.Gone || sure && now.After(retired) {
				verdict = Retired
			}
		}
	}
	if st.New.Is(username, password) { // of what is both it is the new one that counts
		old, verdict = false, Good
		if use && st.NewUsed.IsZero() {
			st.NewUsed, st.recorded = now, false
			k.log.Info("the new credential is in use", "pipeline", pipeline)
			k.wake()
		}
	}
	if use && old && verdict == Good {
		st.OldUsed = now
	}
	return verdict
}

func (k *Keeper) wake() {
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// look reads what is kept, for no longer than who waits for it may wait.
func (k *Keeper) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	if k.take(ctx) {
		defer k.give()
		k.read(ctx)
	}
}

// read takes over what is kept. While the store is away what is known goes on to hold. The turn is held.
func (k *Keeper) read(ctx context.Context) {
	for _, p := range k.pipelines() {
		pipeline := p.Name
		st, err := Load(ctx, k.states, pipeline)
		if err != nil {
			k.log.Debug("rotations can't be read", "pipeline", pipeline, "err", err)
			continue
		}
		if st == nil { // nothing was changed, or it was taken back
			k.mu.Lock()
			delete(k.known, pipeline)
			k.mu.Unlock()
			continue
		}
		st.recorded = !st.NewUsed.IsZero()
		k.mu.Lock()
		before := k.known[pipeline]
		news := before == nil || before.ID != st.ID
		if !news {
			if st.NewUsed.IsZero() {
				st.NewUsed = before.NewUsed
			}
			if st.OldUsed.Before(before.OldUsed) {
				st.OldUsed = before.OldUsed
			}
		}
		k.known[pipeline] = st
		stands := k.stands(st) // under the lock: from now on who judges writes to it
		k.mu.Unlock()
		if news {
			k.log.Info(stands, "pipeline", pipeline)
		}
		strange := st.Strange(p.Configured)
		if strange && !k.strange[pipeline] {
			k.log.Warn("the configured credential is not the one that webhooks rotate made, and both are good: webhooks rotate ends that", "pipeline", pipeline)
		}
		k.strange[pipeline] = strange
	}
}

// stands is where a rotation stands.
func (k *Keeper) stands(st *Status) string {
	retired, sure := st.RetiredAt()
	switch {
	case st.ReplacedAt.IsZero():
		return "a credential is being changed: the new one is good too"
	case sure && k.now().After(retired):
		return "a credential was changed: the new one is good, the old one is refused"
	}
	return "a credential was changed: the old one is good for retries still"
}

// note keeps when credentials were used.
func (k *Keeper) note(ctx context.Context) {
	type entry struct {
		name string
		use  Use
		kept func()
	}
	var all []entry
	k.mu.Lock()
	now := k.now()
	for pipeline, st := range k.known {
		if st.Known.IsZero() {
			all = append(all, entry{stateName(pipeline, partKnown), Use{st.ID, now}, func() { st.Known = now }})
		}
		if !st.NewUsed.IsZero() && !st.recorded {
			all = append(all, entry{stateName(pipeline, partNew), Use{st.ID, st.NewUsed}, func() { st.recorded = true }})
		}
		if at := st.OldUsed; at.After(k.wrote[pipeline]) && now.Sub(k.wrote[pipeline]) >= writeEvery {
			all = append(all, entry{stateName(pipeline, partOld), Use{st.ID, at}, func() { k.wrote[pipeline] = now }})
		}
	}
	k.mu.Unlock()
	for _, e := range all {
		if err := write(ctx, k.states, e.name, e.use); err != nil {
			k.log.Warn("the use of a credential was not noted; it is tried again", "err", err)
			return
		}
		k.mu.Lock()
		e.kept()
		k.mu.Unlock()
	}
}
