package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker/message"
)

const (
	maxValue   = 1<<20 + 1<<10 // of a result; the engine says so to the script
	maxLines   = 1100          // between two results and for each batch; the engine allows less
	maxText    = 1 << 20       // of a line or an error as it is sent; the engine makes much shorter ones
	everyLevel = -1 << 30

	// endsAbout is how much later than its socket a process may end.
	endsAbout = 2 * time.Second
)

// child is the parent's side of a process that runs the script. live owns it.
type child struct {
	process *Process
	started chan struct{} // closed when it is ready, or never will be
	out     *outbox
	toChild sync.WaitGroup // answers that are being found

	mu      sync.Mutex
	proc    *proc  // nil until it was started
	ready   bool   // it has served
	refusal error  // why it never will
	end     *end   // it takes no calls any more
	batches uint64 // so far
	running map[uint64]*batch
	cut     map[uint64]*batch // ran when it ended; what they said before may still be on its way
	lines   int               // said since the last result
	asked   map[uint64]func() // ends what is done about a question, by its number
	weight  int               // bytes of the questions in asked
}

func newChild(p *Process) *child {
	return &child{process: p, started: make(chan struct{}), running: map[uint64]*batch{}, asked: map[uint64]func(){}}
}

// live starts the process and listens to it until it ends.
func (c *child) live() {
	began := time.Now()
	proc, err := spawn(servesAs, c.process.o.Name, "/")
	if err != nil {
		c.fail(&core.Error{Kind: core.Unavailable, Msg: "a process for the script can't be started", Err: err})
		return
	}
	c.mu.Lock()
	c.proc, c.out = proc, newOutbox(proc.socket)
	over := c.end != nil
	c.mu.Unlock()
	if over {
		proc.kill()
	}
	slow := time.AfterFunc(startWithin, func() {
		if !c.served() {
			c.finish(&end{why: fmt.Sprintf("it was not ready within %s", startWithin)})
		}
	})
	defer slow.Stop()
	c.greet()
	err = c.listen(newInbox(proc.socket), began)
	c.bury(err)
}

// greet tells the child what it is.
func (c *child) greet() {
	o := &c.process.o
	zone, zoned := os.LookupEnv("TZ")
	_ = c.out.send(&message.Down{Setup: &message.Setup{Memory: o.Memory, Zone: text(zone), Zoned: zoned, Size: int32(o.Size)}})
	secrets := make(map[string]string, len(o.Secrets))
	for name, value := range o.Secrets {
		secrets[text(name)] = text(value) // JavaScript has nothing but text either
	}
	_ = c.out.send(&message.Down{Script: &message.Script{
		Name: text(o.Name), Path: text(o.Code.Path), Hash: o.Code.Hash, Text: o.Code.Text, Secrets: secrets, Hosted: o.Host != nil,
	}})
}

// listen takes what the child says until it says nothing more, or nothing of sense.
func (c *child) listen(in *inbox, began time.Time) error {
	for {
		m, err := in.up()
		if err != nil {
			return err
		}
		if m.GetReady() {
			err = c.serve(began)
		} else {
			err = c.take(m)
		}
		if err != nil {
			return err
		}
	}
}

// take does what a message says.
func (c *child) take(m *message.Up) error {
	switch {
	case m.GetResult() != nil:
		return c.result(m.GetResult())
	case m.GetLine() != nil:
		return c.said(m.GetLine())
	case m.GetLoading() != nil:
		return c.loading(m.GetLoading())
	case m.GetQuestion() != nil:
		return c.question(m.GetQuestion())
	case m.GetAbandon() != 0:
		c.abandon(m.GetAbandon())
		return nil
	case len(m.GetFault()) > maxText:
		return errors.New("it has a fault that is too long")
	case m.GetFault() != "":
		c.process.log.Error("a fault in the script's process", "text", m.GetFault())
		return c.count()
	case m.GetRefused() != nil && !c.served():
		c.refuse(failed(m.GetRefused()))
		return nil
	}
	return errors.New("it says something that has no meaning")
}

// serve takes note that the child is ready, unless its end has come before.
func (c *child) serve(began time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ready:
		return errors.New("it says twice that it is ready")
	case c.end != nil:
		return nil
	}
	c.ready = true
	close(c.started)
	c.process.log.Debug("the script's process is ready", "pid", c.proc.pid(), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// refuse remembers why the script can't be run. The child ends then.
func (c *child) refuse(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusal = err
}

// served reports whether the child was ready.
func (c *child) served() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ready
}

// trouble is why a child that was waited for does not run; nil when it does or did, or when another
// try may do better.
func (c *child) trouble() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ready {
		return nil
	}
	return c.refusal
}

// said passes on what a script says, as far as it speaks for itself.
func (c *child) said(text []byte) error {
	if len(text) > maxText {
		return errors.New("it says a line that is too long")
	}
	var line engine.Line
	if err := json.Unmarshal(text, &line); err != nil {
		return fmt.Errorf("a line can't be read: %w", err)
	}
	line.Listener = c.process.o.Name
	if !c.runs(line.Event) {
		line.Event = ""
	}
	if c.process.o.Said != nil {
		c.process.o.Said(line)
	}
	return c.count()
}

// runs reports whether an event of the id is being handled, or was when the child ended.
func (c *child) runs(event string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, batches := range []map[uint64]*batch{c.running, c.cut} {
		for _, b := range batches {
			if b.calls[b.next].Event.ID == event {
				return true
			}
		}
	}
	return false
}

// count bounds what is said.
func (c *child) count() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lines++; c.lines > maxLines*(len(c.running)+1) {
		return errors.New("it says too much")
	}
	return nil
}

// fail is the end of a child that was never there.
func (c *child) fail(err error) {
	c.refuse(err)
	c.finish(&end{why: err.Error()})
}

// retire ends a child that has nothing to do. It hears that its socket is closed.
func (c *child) retire() { c.finish(&end{retired: true, why: "it was not needed any more"}) }

// finish is the end: another child takes over, the process is ended, and the calls that run are
// told. Only the first counts.
func (c *child) finish(e *end) {
	c.mu.Lock()
	if c.end != nil {
		c.mu.Unlock()
		return
	}
	c.end = e
	if !c.ready {
		if c.refusal == nil && !e.again {
			c.refusal = c.scriptError(e.why, &core.Error{Kind: core.Unavailable, Msg: e.why})
		}
		close(c.started)
	}
	running, proc := c.running, c.proc
	c.running, c.cut = nil, c.running
	c.mu.Unlock()
	if !e.retired { // else the Process knows, and holds its lock
		c.process.gone(c)
	}
	if proc != nil && e.retired {
		proc.hangUp()
	} else if proc != nil {
		proc.kill()
	}
	for _, b := range running {
		c.mu.Lock()
		b.leave()
		c.mu.Unlock()
		if b.clock != nil {
			b.clock.Stop()
		}
		b.outcomes <- outcome{end: e, began: b.began} // it has room
	}
}

// bury waits for the process, finds out what it died of, and tells. said is why nobody listens to it
// any more.
func (c *child) bury(said error) {
	log := c.process.log
	proc := c.proc
	if !hungUp(said) {
		c.finish(&end{why: "the script's process was ended: " + said.Error()})
	}
	if !proc.wait(endsAbout) {
		proc.kill()
		proc.wait(0)
	}
	why := proc.reason(c.process.o.Memory)
	if !c.served() && proc.fate() == diedOtherwise {
		why = "the script's process ended before it was ready: " + proc.status()
	}
	c.finish(&end{why: why, again: proc.fate() == wasKilled})
	proc.hangUp()
	c.toChild.Wait()
	if said := proc.words.String(); c.end.retired && said == "" {
		log.Debug("the script's process has ended", "pid", proc.pid())
	} else if c.end.retired {
		log.Warn("the script's process has ended, not without complaints", "pid", proc.pid(), "said", said)
	} else {
		log.Warn("the script's process has ended", "pid", proc.pid(), "err", c.end.why)
	}
}
