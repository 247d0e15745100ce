package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker/message"
)

// server is the child's side: it runs batches, and asks what their calls ask for.
type server struct {
	out   *outbox
	watch *watch
	pool  *engine.Pool
	level slog.LevelVar

	mu      sync.Mutex
	running map[uint64]*served
	answers map[uint64]chan *message.Answer
	asked   uint64 // the last question's number
}

// served is a batch that runs.
type served struct {
	id     uint64
	calls  []engine.Call
	next   atomic.Int32 // the call that runs
	cancel context.CancelFunc
}

func newServer(out *outbox, w *watch) *server {
	return &server{out: out, watch: w, running: map[uint64]*served{}, answers: map[uint64]chan *message.Answer{}}
}

func (s *server) options(script *message.Script, size int) engine.Options {
	o := engine.Options{
		Name: script.GetName(), Secrets: script.GetSecrets(), Size: size,
		Said: s.said, Level: &s.level, Loading: s.loading, Log: slog.New(slog.NewTextHandler(faults{s.out}, nil)),
	}
	if script.GetHosted() {
		o.Host = s
	}
	return o
}

// listen takes what the parent says until it hangs up.
func (s *server) listen(in *inbox) error {
	for {
		m, err := in.down()
		if err != nil {
			return err
		}
		switch {
		case m.GetBatch() != nil:
			s.level.Set(slog.Level(m.GetBatch().GetLevel()))
			s.begin(m.GetBatch())
		case m.GetStop() != 0:
			s.mu.Lock()
			if b := s.running[m.GetStop()]; b != nil {
				b.cancel()
			}
			s.mu.Unlock()
		case m.GetAnswer() != nil:
			s.mu.Lock()
			if waits := s.answers[m.GetAnswer().GetId()]; waits != nil {
				waits <- m.GetAnswer() // it has room for one
				delete(s.answers, m.GetAnswer().GetId())
			}
			s.mu.Unlock()
		default:
			return errors.New("pipehook says something that has no meaning")
		}
	}
}

func (s *server) begin(m *message.Batch) {
	b := &served{id: m.GetId(), calls: make([]engine.Call, len(m.GetCalls()))}
	for i, call := range m.GetCalls() {
		b.calls[i] = receivedCall(call)
	}
	var ctx context.Context
	if within := m.GetWithin(); within > 0 {
		ctx, b.cancel = context.WithTimeout(context.Background(), time.Duration(within))
	} else {
		ctx, b.cancel = context.WithCancel(context.Background())
	}
	s.mu.Lock()
	s.running[b.id] = b
	s.mu.Unlock()
	s.watch.begin()
	go func() { // owned by s, ends with the batch
		defer s.watch.end()
		s.pool.Run(ctx, b.calls, func(i int, r engine.Result) { s.done(b, i, &r) })
		b.cancel()
		s.mu.Lock()
		delete(s.running, b.id)
		s.mu.Unlock()
	}()
}

// done sends a result before the next call begins, so that the parent knows which one ran, whatever
// happens.
func (s *server) done(b *served, i int, r *engine.Result) {
	b.next.Store(int32(i) + 1)
	_ = s.out.send(&message.Up{Result: &message.Result{ // without a parent, the process ends
		Batch: b.id, Call: uint32(i), Failure: failure(r.Err), Value: r.Value, Valued: r.Value != nil, Took: int64(r.Took),
	}})
}

func (s *server) said(line engine.Line) {
	if text, err := json.Marshal(line); err == nil {
		_ = s.out.send(&message.Up{Line: text})
	}
}

// faults are lines of the engine's own log, on their way to the parent's.
type faults struct{ out *outbox }

func (f faults) Write(text []byte) (int, error) {
	return len(text), f.out.send(&message.Up{Fault: strings.ToValidUTF8(string(bytes.TrimSpace(text)), "\ufffd")})
}

// loading tells the parent that a call's time has not begun yet.
func (s *server) loading(ev *core.Event) (loaded func()) {
	b, _ := s.of(ev)
	if b == nil {
		return func() {}
	}
	_ = s.out.send(&message.Up{Loading: &message.Loading{Batch: b.id}})
	return func() { _ = s.out.send(&message.Up{Loading: &message.Loading{Batch: b.id, Over: true}}) }
}

// of is the batch in which an event is being handled, and the call.
func (s *server) of(ev *core.Event) (*served, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.running {
		if i := int(b.next.Load()); i < len(b.calls) && b.calls[i].Event == ev {
			return b, i
		}
	}
	return nil, 0
}

// Fetch is part of engine.Host.
func (s *server) Fetch(ctx context.Context, by effect.Caller, r *engine.FetchRequest) (*engine.FetchResponse, error) {
	return ask[engine.FetchResponse](ctx, s, by, askFetch, r)
}

// KV is part of engine.Host.
func (s *server) KV(ctx context.Context, by effect.Caller, op *effect.KVOp) (*effect.KVResult, error) {
	return ask[effect.KVResult](ctx, s, by, askKV, op)
}

// Emit is part of engine.Host.
func (s *server) Emit(ctx context.Context, by effect.Caller, e *effect.Emit) (*effect.Emitted, error) {
	return ask[effect.Emitted](ctx, s, by, askEmit, e)
}

// Pipedrive is part of engine.Host.
func (s *server) Pipedrive(ctx context.Context, by effect.Caller, c *effect.APICall) (*effect.APIAnswer, error) {
	return ask[effect.APIAnswer](ctx, s, by, askAPI, c)
}

// ask sends a question to the parent and waits for the answer.
func ask[A any](ctx context.Context, s *server, by effect.Caller, method string, question any) (*A, error) {
	b, call := s.of(by.Event)
	if b == nil {
		return nil, &effect.Error{Code: "ENOTAVAILABLE", Msg: "nothing outside can be reached while no event is handled"}
	}
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	if len(body) > maxUp-1<<10 {
		return nil, &effect.Error{Code: "ETOOLARGE", Msg: fmt.Sprintf("it has more than %s", size(maxUp/2))}
	}
	answer := make(chan *message.Answer, 1)
	s.mu.Lock()
	s.asked++
	id := s.asked
	s.answers[id] = answer
	s.mu.Unlock()
	if err := s.out.send(&message.Up{Question: &message.Question{Id: id, Batch: b.id, Call: uint32(call), Method: method, Body: body}}); err != nil {
		return nil, err
	}
	select {
	case a := <-answer:
		if a.GetFailure() != nil {
			return nil, failed(a.GetFailure())
		}
		value := new(A)
		return value, json.Unmarshal(a.GetBody(), value)
	case <-ctx.Done():
		s.mu.Lock()
		delete(s.answers, id)
		s.mu.Unlock()
		_ = s.out.send(&message.Up{Abandon: id})
		return nil, context.Cause(ctx)
	}
}
