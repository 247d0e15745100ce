//go:build unix

package plughost

import "time"

// State is what a plugin does at the moment.
type State struct {
	Kind, Name string // what it was started as
	Path       string // of the file
	SHA256     string // of what runs; empty before there was something to run

	Plugin, Version, Contract string   // as it says itself, and the protocol both know; empty before it ran
	Does                      []string // likewise

	PID      int // of its process; 0 while none runs
	Word     string
	Since    time.Time // it is so
	Restarts int       // starts but the first one, also those that failed

	Err   string    // why it does not run; while it does, why it last did not
	ErrAt time.Time // since when that is known
	Again time.Time // when it is started next
}

// The words for what a plugin does.
const (
	Starting = "starting"
	Running  = "running"
	Waiting  = "waiting" // for the next start
	Stopped  = "stopped"
)

// State says what the plugin does at the moment.
func (p *Plugin) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := State{
		Kind: p.spec.Kind, Name: p.spec.Name, Path: p.spec.Path, Plugin: p.manifest.Name, Version: p.manifest.Version, Does: p.manifest.Does,
		Word: p.word, Since: p.since, Restarts: max(p.starts-1, 0),
	}
	if p.manifest.Name != "" {
		s.Contract = p.manifest.Contract()
	}
	if p.binary != nil {
		s.SHA256 = p.binary.sum
	}
	switch {
	case p.current == nil:
	case p.current.attached != nil:
		s.PID = int(p.current.attached.pid.Load())
	default:
		s.PID = p.current.number()
	}
	if p.failure != nil && p.word != Stopped {
		s.Again = p.again
	}
	if p.last != nil && p.word != Stopped {
		s.Err, s.ErrAt = p.last.Error(), p.lastAt
	}
	return s
}

// become notes what the plugin does from now on. The lock must be held.
func (p *Plugin) become(word string) {
	if p.word != word {
		p.word, p.since = word, time.Now()
	}
}

func (p *Plugin) starting() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starts++
	p.become(Starting)
}

// runs gives calls to a process from now on.
func (p *Plugin) runs(i *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.become(Running)
	p.current, p.manifest, p.failure, p.again, p.tried, p.told = i, i.manifest, nil, time.Time{}, false, ""
	p.tell()
}

// lost gives it none any more.
func (p *Plugin) lost(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.become(Waiting)
	p.current, p.failure, p.again = nil, why, time.Now()
	p.tell()
}

// waits notes that the next start comes after the pause.
func (p *Plugin) waits(why error, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.become(Waiting)
	p.failure, p.again = why, time.Now().Add(pause)
	p.last, p.lastAt = why, time.Now()
	p.tell()
}
