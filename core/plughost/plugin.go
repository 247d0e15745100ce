//go:build unix

package plughost

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// Plugin is a plugin that is kept running. It is a core.Listener for many callers at once.
type Plugin struct {
	host   *Host
	spec   Spec
	log    *slog.Logger
	cancel context.CancelFunc
	ended  chan struct{} // closed when it runs no more

	mu       sync.Mutex
	changed  chan struct{} // closed when something below has changed, and replaced
	word     string        // what it does
	since    time.Time     // it does so
	starts   int           // also those that failed
	manifest wire.Manifest // of the process that ran last
	binary   *binary       // nil until the file was taken
	current  *instance     // nil while none runs
	failure  error         // why not
	last     error         // why the last one that did not run did not
	lastAt   time.Time     // since when that is known
	again    time.Time     // when it is started next
	tried    bool          // nothing is said of failures
	told     string        // the failure that was said last, of a start; empty when a process has run since
	stopping bool
	hurry    bool // and calls are not waited for
	calls    int  // that run
	alone    bool // the one that runs must be alone
	lonely   int  // callers that wait to be alone
	suspects map[string]bool
}

// maxSuspects bounds what is remembered of events that may have ended the plugin.
const maxSuspects = 1024

// tell wakes who waits for a change. The lock must be held.
func (p *Plugin) tell() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// run keeps a process going until ctx ends.
func (p *Plugin) run(ctx context.Context) {
	defer close(p.ended)
	defer p.leave()
	if p.spec.Attach != nil {
		p.follow(ctx)
		return
	}
	brake := breaker{limits: p.host.opts.Limits}
	for ctx.Err() == nil {
		r, err := p.once(ctx, &brake)
		if ctx.Err() != nil {
			return
		}
		pause, opened := brake.after(r)
		if opened && r.began {
			p.log.Error("the plugin keeps crashing; it is started more and more seldom, until a process lasts")
		}
		p.complain(err, r.began, pause)
		p.pause(ctx, err, pause)
	}
}

// complain logs why the plugin does not run. A start that fails as the one before it is no news.
func (p *Plugin) complain(err error, began bool, pause time.Duration) {
	p.mu.Lock()
	silent := p.tried || !began && p.told == err.Error()
	if !silent && !began {
		p.told = err.Error()
	}
	p.mu.Unlock()
	switch {
	case silent:
	case pause == 0:
		p.log.Error("the plugin does not run; it is started again at once", "err", err)
	default:
		p.log.Error("the plugin does not run", "err", err, "again", pause)
	}
}

// pause waits for the next start.
func (p *Plugin) pause(ctx context.Context, why error, d time.Duration) {
	p.waits(why, d)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// once starts a process and gives it calls until it ends or ctx does. The error says why it does not run.
func (p *Plugin) once(ctx context.Context, brake *breaker) (run, error) {
	p.starting()
	began := time.Now()
	i, err := p.launch(ctx)
	if err != nil {
		return run{}, err
	}
	p.log.Info("plugin started", "name", i.manifest.Name, "version", i.manifest.Version, "pid", i.number(), "took", time.Since(began).Round(time.Millisecond))
	began = time.Now()
	err = p.attend(ctx, i, brake)
	return run{began: true, lasted: time.Since(began), handled: i.handled(), hung: i.hung()}, err
}

// launch starts a process from the copy of the binary, which it makes first, or connects to one.
func (p *Plugin) launch(ctx context.Context) (*instance, error) {
	if err := p.host.take(); err != nil {
		return nil, err
	}
	if p.spec.Attach != nil {
		return p.host.attach(ctx, &p.spec, p.log)
	}
	p.mu.Lock()
	b := p.binary
	p.mu.Unlock()
	if b == nil {
		var err error
		if b, err = p.host.hold(p.spec.Path, p.spec.SHA256); err != nil {
			return nil, err
		}
		p.mu.Lock()
		p.binary = b
		p.mu.Unlock()
	}
	return p.host.launch(ctx, b, &p.spec, p.log)
}

// attend gives calls to the process until it ends or ctx does. The error says how it ended.
func (p *Plugin) attend(ctx context.Context, i *instance, brake *breaker) error {
	p.runs(i)
	var watching sync.WaitGroup
	if i.attached == nil {
		watching.Go(func() { p.watch(i, brake) }) // ends with the process
	}
	defer watching.Wait()
	select {
	case <-i.ended:
		p.lost(fmt.Errorf("the plugin has ended"))
		i.end(false)
		switch why := i.condemned(); {
		case i.attached != nil:
			return errDetached
		case why != "":
			return fmt.Errorf("it was ended, because %s", why)
		}
		return fmt.Errorf("it ended: %s", i.lastWords())
	case <-ctx.Done():
		p.mu.Lock()
		hurry := p.hurry
		p.mu.Unlock()
		p.lost(errStopped)
		if hurry {
			i.condemn("pipehook stops")
		}
		i.end(!hurry)
		p.log.Info("plugin stopped")
		return nil
	}
}

func (p *Plugin) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.binary != nil {
		p.binary.release()
	}
	p.stopping = true
	p.become(Stopped)
	p.tell()
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	delete(p.host.plugins, p)
}

// Stop ends the plugin once the calls that run have ended, or at once when ctx ends. New calls fail.
func (p *Plugin) Stop(ctx context.Context) {
	p.mu.Lock()
	p.stopping = true
	p.tell()
	for p.calls > 0 && ctx.Err() == nil {
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		p.mu.Lock()
	}
	p.hurry = p.calls > 0
	p.mu.Unlock()
	p.cancel()
	<-p.ended
}

// Ready waits for what comes of the first start: nil when it runs, else why it does not.
func (p *Plugin) Ready(ctx context.Context) error {
	err := p.ready(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tried && err != nil {
		p.told = err.Error()
	}
	p.tried = false
	return err
}

func (p *Plugin) ready(ctx context.Context) error {
	for {
		p.mu.Lock()
		current, failure, changed := p.current, p.failure, p.changed
		p.mu.Unlock()
		if current != nil || failure != nil {
			return failure
		}
		select {
		case <-changed:
		case <-p.ended:
			return errStopped
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Code is which binary runs: the beginning of its SHA-256.
func (p *Plugin) Code() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.binary == nil {
		return ""
	}
	return p.binary.code()
}

// SHA256 is that of the binary that runs; empty when there was none to run yet.
func (p *Plugin) SHA256() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.binary == nil {
		return ""
	}
	return p.binary.sum
}

var errStopped = &core.Error{Kind: core.Unreached, Msg: "the plugin is being stopped"}
