package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker/message"
)

const (
	maxAsking = 1100     // questions of one batch whose answers are not on their way; the engine allows less
	maxAsked  = 64 << 20 // bytes of the questions of one child that are being answered
)

// The methods of engine.Host, as they are called in questions.
const (
	askFetch = "fetch"
	askKV    = "kv"
	askEmit  = "emit"
	askAPI   = "pipedrive"
)

// question has one answered, beside others. One that is refused is answered here: a child that does
// not read the answers is not heard until it does, or is ended.
func (c *child) question(q *message.Question) error {
	refusal, err := c.admit(q)
	if refusal != nil {
		c.reply(q.GetId(), nil, refusal)
	}
	return err
}

// admit begins to find an answer, or says why there is none. Who asks is known by the call, which must
// be running: a child can't ask for another's event.
func (c *child) admit(q *message.Question) (refusal *effect.Error, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.running[q.GetBatch()]
	switch {
	case c.asked[q.GetId()] != nil || q.GetId() == 0:
		return nil, errors.New("it asks two questions of one number")
	case b == nil || int(q.GetCall()) != b.next:
		return &effect.Error{Code: "ECANCELED", Msg: "the call has ended"}, nil
	case c.process.o.Host == nil:
		return &effect.Error{Code: "ENOTAVAILABLE", Msg: "nothing outside can be reached here"}, nil
	case b.asking >= maxAsking || c.weight > 0 && c.weight+len(q.GetBody()) > maxAsked:
		return &effect.Error{Code: "EBUSY", Msg: "too much is asked for at a time: await some of it first"}, nil
	}
	if b.cancel == nil {
		b.asked, b.cancel = context.WithCancel(b.ctx)
	}
	ctx, cancel := context.WithCancel(b.asked)
	if !b.due.IsZero() {
		ctx, cancel = deadline(ctx, cancel, b)
	}
	b.asking++
	c.weight += len(q.GetBody())
	c.asked[q.GetId()] = cancel
	by := effect.Caller{Name: c.process.o.Name, Event: b.calls[b.next].Event}
	c.toChild.Go(func() {
		body, err := answer(ctx, c.process.o.Host, by, q)
		c.complain(ctx, by, q.GetMethod(), err)
		cancel()
		c.reply(q.GetId(), body, plainly(err))
		c.mu.Lock()
		delete(c.asked, q.GetId())
		b.asking--
		c.weight -= len(q.GetBody())
		c.mu.Unlock()
	})
	return nil, nil
}

// complain logs what the script is not told.
func (c *child) complain(ctx context.Context, by effect.Caller, method string, err error) {
	if _, told := errors.AsType[*effect.Error](err); err == nil || told || ctx.Err() != nil {
		return
	}
	c.process.log.Error("an operation of a script failed", "operation", method, "event", by.Event.ID, "err", err)
}

// plainly keeps from the child what a script may not know.
func plainly(err error) error {
	known, ok := errors.AsType[*effect.Error](err)
	switch {
	case ok:
		return known
	case err != nil:
		return errFailed
	}
	return nil
}

var errFailed = errors.New("pipehook could not do it; its log says why")

// deadline bounds ctx by that of the batch's call.
func deadline(ctx context.Context, cancel context.CancelFunc, b *batch) (context.Context, context.CancelFunc) {
	bounded, release := context.WithDeadline(ctx, b.due.Add(-grace))
	return bounded, func() {
		release()
		cancel()
	}
}

// abandon ends a question that nobody waits for any more.
func (c *child) abandon(id uint64) {
	c.mu.Lock()
	cancel := c.asked[id]
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

func (c *child) reply(id uint64, body []byte, err error) {
	_ = c.out.send(&message.Down{Answer: &message.Answer{Id: id, Failure: failure(err), Body: body}}) // to nobody, when it has ended
}

// answer asks the host. A fault of it is one for the log.
func answer(ctx context.Context, h engine.Host, by effect.Caller, q *message.Question) (body []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the host panicked: %v\n%s", p, debug.Stack())
		}
	}()
	switch q.GetMethod() {
	case askFetch:
		return relay(ctx, by, q.GetBody(), h.Fetch)
	case askKV:
		return relay(ctx, by, q.GetBody(), h.KV)
	case askEmit:
		return relay(ctx, by, q.GetBody(), h.Emit)
	case askAPI:
		return relay(ctx, by, q.GetBody(), h.Pipedrive)
	}
	return nil, fmt.Errorf("there is no method %q", q.GetMethod())
}

func relay[Q, A any](ctx context.Context, by effect.Caller, body []byte, ask func(context.Context, effect.Caller, *Q) (*A, error)) ([]byte, error) {
	q := new(Q)
	if err := json.Unmarshal(body, q); err != nil {
		return nil, fmt.Errorf("a question can't be read: %w", err)
	}
	a, err := ask(ctx, by, q)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}
