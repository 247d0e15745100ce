package delivery

import "context"

// readByHand learns what somebody has changed: which listeners are paused, and that deliveries are
// others now. A pause that ended after a change must not be seen without it, so they are read in
// this order and heeded in the other.
func (e *Engine) readByHand(ctx context.Context) {
	paused, err := e.opts.Store.Paused(ctx)
	var edits map[string]int64
	if err == nil {
		edits, err = e.opts.Store.Edits(ctx)
	}
	if ctx.Err() == nil {
		e.trouble.Note(e.opts.Log, e.opts.Now(), err, "what was changed by hand could not be read; what was paused stays so", "what is changed by hand can be read again")
	}
	if err != nil {
		return
	}
	e.mu.Lock()
	before := e.edits
	e.paused, e.edits = paused, edits
	e.mu.Unlock()
	for _, l := range e.all() {
		if edits[l.name] != before[l.name] {
			l.edited()
		}
	}
	for _, l := range e.all() {
		e.pause(l, paused)
	}
}

func (e *Engine) pause(l *lane, paused map[string]string) {
	_, pause := paused[l.name]
	l.mu.Lock()
	changed := l.gate.paused != pause
	if l.gate.paused = pause; pause {
		l.recall()
	}
	l.work.Broadcast()
	l.mu.Unlock()
	if changed {
		e.opts.Log.Info(map[bool]string{true: "listener paused", false: "listener resumed"}[pause], "listener", l.name, "reason", paused[l.name])
	}
}
