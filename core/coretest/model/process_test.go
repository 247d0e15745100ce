package model_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/seat"
	"github.com/pipehook/pipehook/core/store"
)

// outcome is how a call ends.
type outcome int

const (
	succeeds outcome = iota
	fails
	asksForTime
	hopeless
	crashes
)

const askedTime = 7 * time.Second

func (o outcome) err() error {
	switch o {
	case succeeds:
		return nil
	case asksForTime:
		return &core.Error{Kind: core.Unavailable, Msg: "later", RetryAfter: askedTime}
	case hopeless:
		return &core.Error{Kind: core.Permanent, Msg: "never"}
	case crashes:
		return &core.Error{Kind: core.Crashed, Msg: "the runner ended"}
	default:
		return errors.New("no")
	}
}

// call is one that is open.
type call struct {
	listener, id string
	end          chan outcome
}

// note is something that happened, in the order in which it did.
type note struct {
	what         string // start, end or result
	listener, id string
	came         outcome
	attempt      core.Attempt
	at           time.Time
}

// process is what a running pipehook is made of, joined as cmd/pipehook does.
type process struct {
	clock  clock
	seat   *seat.Seat
	store  *store.Store
	engine *delivery.Engine
	stop   context.CancelFunc
	done   chan error
	left   sync.Once
	read   atomic.Int64 // how often the engine has read what was done by hand

	log log // what the store and the engine complain about

	mu      sync.Mutex
	arrive  *sync.Cond // what was read may arrive
	dead    bool
	stalled bool
	holding bool
	held    []core.Attempt
	ids     map[int64]string // of events, by seq
	scripts map[string][]outcome
	calls   []*call
	made    map[core.DeliveryKey]int // calls of scripted events
	notes   []note
}

// log is text that many write.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var errKilled = errors.New("killed")

// launch starts a process on the database and takes a seat in the folder. scripts say how the calls of
// some events end, and are shared by all processes.
func launch(url, folder string, c clock, scripts map[string][]outcome, subs []delivery.Subscription) (_ *process, err error) {
	p := &process{
		clock: c, done: make(chan error, 1), ids: map[int64]string{}, scripts: scripts, made: map[core.DeliveryKey]int{},
	}
	p.arrive = sync.NewCond(&p.mu)
	if p.seat, err = seat.Take(folder, "the model"); err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(&p.log, &slog.HandlerOptions{Level: slog.LevelError}))
	p.store, err = store.Open(context.Background(), store.Options{
		URL: url, Log: log, Now: c.now, Replica: p.seat.Number, Ready: nil,
	})
	if err != nil {
		return nil, errors.Join(err, p.seat.Close())
	}
	left := make([]store.Crash, len(p.seat.Left))
	for i, l := range p.seat.Left {
		left[i] = store.Crash{DeliveryKey: l.DeliveryKey, Number: l.Number}
	}
	if err := p.store.Crashed(context.Background(), left); err != nil {
		return nil, errors.Join(err, p.store.Close(), p.seat.Close())
	}
	p.seat.Forget()
	p.engine = delivery.New(delivery.Options{
		Store: valve{p.store, p}, Journal: p.seat, Restore: func(*core.Event) error { return nil }, Log: log, Now: c.now,
	})
	p.engine.Subscribe(p.join(subs))
	p.store.Attach(intake{p.engine, p})
	p.run()
	return p, nil
}

func (p *process) run() {
	var g core.Group
	g.Add("store", p.store)
	g.Add("delivery", p.engine)
	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	go func() { p.done <- g.Run(ctx, 1000*time.Hour) }() // ends with stop
}

// batches is a listener that takes several events at once. Its calls are said to be shorter than
// any, however long they take: so it is given many from its second call on, and what is behind an open one is
// taken back all the time.
type batches struct{ core.Listener }

func (b batches) HandleBatch(ctx context.Context, _ time.Duration, batch []core.Delivery, begin func(int) bool, done func(int, core.Outcome)) {
	for i := range batch {
		if !begin(i) {
			return
		}
		done(i, core.Outcome{Err: b.Handle(ctx, batch[i].Event), Took: -time.Hour})
	}
}

// join gives the subscriptions their handlers.
func (p *process) join(subs []delivery.Subscription) []delivery.Subscription {
	joined := make([]delivery.Subscription, len(subs))
	for i, sub := range subs {
		_, many := sub.Listener.(batches)
		sub.Listener = core.ListenerFunc(func(_ context.Context, ev core.Event) error {
			return p.handle(sub.Name, ev.ID, sub.Breaker.Failures == 0)
		})
		if many {
			sub.Listener = batches{sub.Listener}
		}
		joined[i] = sub
	}
	return joined
}

// handle is the listeners' code: it ends as the event's script says, or when the test does. Where a
// breaker counts, the order of calls that end together must be known, so the test ends each.
func (p *process) handle(listener, id string, scripted bool) error {
	p.mu.Lock()
	if p.dead {
		p.mu.Unlock()
		return errKilled
	}
	p.note(note{what: "start", listener: listener, id: id})
	c := &call{listener, id, make(chan outcome, 1)}
	if script, ok := p.scripts[id]; ok && scripted {
		came := succeeds
		if n := p.made[core.DeliveryKey{Listener: listener + id}]; n < len(script) {
			came = script[n]
		}
		p.made[core.DeliveryKey{Listener: listener + id}]++
		c.end <- came
	} else {
		p.calls = append(p.calls, c)
	}
	p.mu.Unlock()
	came := <-c.end
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return errKilled
	}
	p.note(note{what: "end", listener: listener, id: id, came: came})
	return came.err()
}

func (p *process) note(n note) {
	n.at = p.clock.now()
	p.notes = append(p.notes, n)
}

// taken are the notes since the last time.
func (p *process) taken() []note {
	p.mu.Lock()
	defer p.mu.Unlock()
	notes := p.notes
	p.notes = nil
	return notes
}

// open are the calls that the test may end.
func (p *process) open() []*call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*call(nil), p.calls...)
}

// finish ends an open call.
func (p *process) finish(c *call, came outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.calls {
		if p.calls[i] == c {
			p.calls = append(p.calls[:i], p.calls[i+1:]...)
			c.end <- came
			return
		}
	}
}

// kill ends the process in the middle of what it does: what runs is cut off, results that have not
// reached the store never do, and the seat keeps its notes as they are at this moment.
func (p *process) kill() error {
	p.mu.Lock()
	p.dead = true
	p.arrive.Broadcast()
	notes, err := os.ReadFile(filepath.Join(p.seat.Dir, "running"))
	for _, c := range p.calls {
		c.end <- succeeds
	}
	p.calls = nil
	p.mu.Unlock()
	if err != nil {
		return err
	}
	if err := p.leave(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.seat.Dir, "running"), notes, 0o600)
}

// leave waits for a process that was told to stop or is dead.
func (p *process) leave() (err error) {
	p.stop()
	p.left.Do(func() { err = errors.Join(<-p.done, p.store.Close(), p.seat.Close()) })
	return err
}

// stall keeps what the engine reads from arriving, until it is called with false.
func (p *process) stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = on
	p.arrive.Broadcast()
}

// hold keeps results from reaching the store, until it is called with false.
func (p *process) hold(on bool) {
	p.mu.Lock()
	held := p.held
	if p.holding = on; !on {
		p.held = nil
	}
	p.mu.Unlock()
	if !on {
		for _, a := range held {
			p.store.Finish(a)
		}
	}
}

// valve stands between the engine and its store.
type valve struct {
	*store.Store
	p *process
}

func (v valve) arrived() error {
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	for v.p.stalled && !v.p.dead {
		v.p.arrive.Wait()
	}
	if v.p.dead {
		return errKilled
	}
	return nil
}

func (v valve) Scan(ctx context.Context, listener string, after, record int64, limit int) ([]core.Pending, error) {
	var found []core.Pending
	var err error
	v.p.clock.still(func() { found, err = v.Store.Scan(ctx, listener, after, record, limit) })
	return found, errors.Join(err, v.arrived())
}

func (v valve) Load(ctx context.Context, listener string, seqs []int64, newest bool) ([]core.Delivery, error) {
	found, err := v.Store.Load(ctx, listener, seqs, newest)
	v.p.mu.Lock()
	for i := range found {
		v.p.ids[found[i].Seq] = found[i].Event.ID
	}
	v.p.mu.Unlock()
	return found, errors.Join(err, v.arrived())
}

// Edits is what the engine reads last of what was done by hand.
func (v valve) Edits(ctx context.Context) (map[string]int64, error) {
	defer v.p.read.Add(1)
	return v.Store.Edits(ctx)
}

func (v valve) Begin(shard int, epoch int64) bool {
	v.p.mu.Lock()
	dead := v.p.dead
	v.p.mu.Unlock()
	return !dead && v.Store.Begin(shard, epoch)
}

func (v valve) Finish(a core.Attempt) {
	v.p.mu.Lock()
	if v.p.dead {
		v.p.mu.Unlock()
		return
	}
	v.p.note(note{what: "result", listener: a.Listener, id: v.p.ids[a.Seq], attempt: a})
	holding := v.p.holding
	if holding {
		v.p.held = append(v.p.held, a)
	}
	v.p.mu.Unlock()
	if !holding {
		v.Store.Finish(a)
	}
}

// intake stands between the store and the engine, to learn the numbers of events.
type intake struct {
	core.Intake
	p *process
}

func (i intake) Take(d core.Delivery) {
	i.p.mu.Lock()
	i.p.ids[d.Seq] = d.Event.ID
	i.p.mu.Unlock()
	i.Intake.Take(d)
}
