//go:build unix

package worker

import (
	"bytes"
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker/message"
)

// said is messages as a child sends them.
func said(messages ...*message.Up) []byte {
	var b bytes.Buffer
	out := newOutbox(&b)
	for _, m := range messages {
		if err := out.send(m); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

// FuzzWhatAChildSays gives the parent's reader what a child that is out of its mind might send. It
// must come to an end, with each call reported at most once and in order.
func FuzzWhatAChildSays(f *testing.F) {
	ready := &message.Up{Ready: true}
	f.Add(said(ready, &message.Up{Result: &message.Result{Batch: 1}}, &message.Up{Result: &message.Result{Batch: 1, Call: 1, Value: []byte("{}"), Valued: true}}))
	f.Add(said(ready, ready))
	f.Add(said(ready, &message.Up{Result: &message.Result{Batch: 1, Call: 7}}))
	f.Add(said(ready, &message.Up{Result: &message.Result{Batch: 9}}))
	f.Add(said(ready, &message.Up{Loading: &message.Loading{Batch: 1}}, &message.Up{Loading: &message.Loading{Batch: 1, Over: true}}, &message.Up{Result: &message.Result{Batch: 1, Failure: &message.Failure{Script: true, Line: -1, Cause: &message.Cause{Of: 1, Kind: 99, RetryAfter: -5}}}}))
	f.Add(said(ready, &message.Up{Question: &message.Question{Id: 1, Batch: 1, Method: askKV, Body: []byte(`{"op":"get"}`)}}, &message.Up{Abandon: 1}))
	f.Add(said(ready, &message.Up{Question: &message.Question{Id: 1, Batch: 1, Method: "nothing"}}, &message.Up{Question: &message.Question{Id: 1, Batch: 1, Method: askFetch}}))
	f.Add(said(ready, &message.Up{Line: []byte(`{"event":"2","msg":"x","data":[{"key":"a","value":1e999}]}`)}, &message.Up{Fault: "x"}))
	f.Add(said(&message.Up{Refused: &message.Failure{Msg: "no"}}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{0x05, 0x0a})
	f.Fuzz(func(t *testing.T, text []byte) {
		p := New(Options{Name: "it", Host: silent{}})
		c := newChild(p)
		c.out = newOutbox(&bytes.Buffer{})
		c.proc = nobody()
		b := &batch{calls: make([]engine.Call, 3), outcomes: make(chan outcome, 4), ctx: t.Context()}
		for i := range b.calls {
			b.calls[i] = engine.Call{Event: &core.Event{ID: "1"}, Timeout: time.Hour}
		}
		if !c.add(b) {
			t.Fatal("the batch is not taken")
		}
		err := c.listen(newInbox(bytes.NewReader(text)), time.Now())
		if err == nil {
			t.Error("it listens for ever")
		}
		c.finish(&end{retired: true})
		c.toChild.Wait()
		results, ends := 0, 0
		for len(b.outcomes) > 0 {
			if o := <-b.outcomes; o.end != nil {
				ends++
			} else if results++; ends > 0 {
				t.Error("a result after the end")
			}
		}
		if results > len(b.calls) || (results < len(b.calls)) != (ends == 1) {
			t.Errorf("%d results, %d ends", results, ends)
		}
	})
}

// silent is a host that knows nothing.
type silent struct{}

func (silent) Fetch(context.Context, effect.Caller, *engine.FetchRequest) (*engine.FetchResponse, error) {
	return &engine.FetchResponse{}, nil
}

func (silent) KV(context.Context, effect.Caller, *effect.KVOp) (*effect.KVResult, error) {
	return &effect.KVResult{}, nil
}

func (silent) Emit(context.Context, effect.Caller, *effect.Emit) (*effect.Emitted, error) {
	return &effect.Emitted{}, nil
}

func (silent) Pipedrive(context.Context, effect.Caller, *effect.APICall) (*effect.APIAnswer, error) {
	return &effect.APIAnswer{}, nil
}

// FuzzAnEvent sends events with any text, which must come as they were or with what is no text
// replaced.
func FuzzAnEvent(f *testing.F) {
	f.Add([]byte(`{"data":{"a":1}}`), []byte(`{"a":1}`), "updated", int64(1))
	f.Add([]byte{}, []byte(`{}`), "\xff", int64(0))
	f.Fuzz(func(t *testing.T, body, current []byte, action string, at int64) {
		ev := &core.Event{ID: "1", Body: body, Current: current, Action: action, ReceivedAt: moment(at)}
		text, err := proto.Marshal(sentCall(&engine.Call{Event: ev}))
		if err != nil {
			t.Fatal(err)
		}
		m := &message.Call{}
		if err := proto.Unmarshal(text, m); err != nil {
			t.Fatal(err)
		}
		got := receivedCall(m).Event
		if !bytes.Equal(got.Body, body) || !bytes.Equal(got.Current, current) || !got.ReceivedAt.Equal(ev.ReceivedAt) {
			t.Errorf("got %q %q %s, want %q %q %s", got.Body, got.Current, got.ReceivedAt, body, current, ev.ReceivedAt)
		}
	})
}
