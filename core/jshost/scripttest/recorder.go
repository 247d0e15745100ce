package scripttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/fixture"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

// Recorder is an engine.Host that does nothing outside: it keeps what scripts do as Effects, answers
// fetch as it was told, and has a kv of its own. Its fields must not change once a script runs.
type Recorder struct {
	// Live does what scripts ask for; it is recorded all the same. nil: nothing is done.
	Live engine.Host
	// Answer answers a fetch; nil: with an empty JSON object. The error is what the script gets.
	Answer func(ctx context.Context, by effect.Caller, r *engine.FetchRequest) (*engine.FetchResponse, error)
	// API makes a call of Pipedrive's API over a transport, which Answer answers; nil: there is no account.
	API func(ctx context.Context, over http.RoundTripper, c *effect.APICall) (*effect.APIAnswer, error)
	KVs *fixture.Overlay // may be nil with Live only

	mu      sync.Mutex
	effects []*Effect
	emitted map[string]string // ids by what tells emits apart
}

// Take returns what was recorded since it was last called, in the order in which it was begun.
func (r *Recorder) Take() []Effect {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortStableFunc(r.effects, func(a, b *Effect) int { return a.number - b.number }) // goroutines overtake each other
	taken := make([]Effect, len(r.effects))
	for i, e := range r.effects {
		taken[i] = *e
	}
	r.effects = nil
	return taken
}

// add keeps a place for an effect. Whoever changes it afterwards holds the lock.
func (r *Recorder) add(e *Effect) *Effect {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.effects = append(r.effects, e)
	return e
}

func (r *Recorder) settle(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// Fetch implements engine.Host.
func (r *Recorder) Fetch(ctx context.Context, by effect.Caller, req *engine.FetchRequest) (*engine.FetchResponse, error) {
	e := &Effect{Fetch: req.Method + " " + req.URL, Body: jsonOrText(req.Body), number: by.Number}
	for _, h := range req.Header {
		if e.Headers == nil {
			e.Headers = map[string]string{}
		}
		name := strings.ToLower(h[0])
		if old, ok := e.Headers[name]; ok {
			h[1] = old + ", " + h[1]
		}
		e.Headers[name] = h[1]
	}
	r.add(e)
	answer := r.Answer
	switch {
	case r.Live != nil:
		answer = r.Live.Fetch
	case answer == nil:
		answer = Stub(http.StatusOK)
	}
	resp, err := answer(ctx, by, req)
	r.settle(func() {
		if err != nil {
			e.Error = err.Error()
		} else {
			e.Status = resp.Status
		}
	})
	return resp, err
}

// Pipedrive implements engine.Host: a call is a fetch from the account's address.
func (r *Recorder) Pipedrive(ctx context.Context, by effect.Caller, c *effect.APICall) (*effect.APIAnswer, error) {
	if r.API == nil {
		return nil, &effect.Error{Code: "ENOTCONNECTED", Msg: "there is no account of Pipedrive here"}
	}
	if r.Live == nil {
		return r.API(ctx, fetching(func(ctx context.Context, req *engine.FetchRequest) (*engine.FetchResponse, error) {
			return r.Fetch(ctx, by, req)
		}), c)
	}
	e := r.add(&Effect{Fetch: c.Method + " " + c.Path, Body: jsonOrText(c.Body), number: by.Number})
	answer, err := r.Live.Pipedrive(ctx, by, c)
	r.settle(func() {
		if err != nil {
			e.Error = err.Error()
		} else {
			e.Status = answer.Status
		}
	})
	return answer, err
}

// fetching is a transport whose requests are fetches.
type fetching func(ctx context.Context, req *engine.FetchRequest) (*engine.FetchResponse, error)

// RoundTrip implements http.RoundTripper.
func (f fetching) RoundTrip(r *http.Request) (*http.Response, error) {
	req := &engine.FetchRequest{Method: r.Method, URL: r.URL.String()}
	if kind := r.Header.Get("Content-Type"); kind != "" {
		req.Header = [][2]string{{"content-type", kind}}
	}
	if r.Body != nil {
		defer r.Body.Close()
		var err error
		if req.Body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	answer, err := f(r.Context(), req)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	for _, h := range answer.Header {
		header.Add(h[0], h[1])
	}
	return &http.Response{
		StatusCode: answer.Status, Status: statusText(answer.Status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
		Body: io.NopCloser(bytes.NewReader(answer.Body)), ContentLength: int64(len(answer.Body)), Request: r,
	}, nil
}

// Stub answers every fetch with a status and an empty JSON object.
func Stub(status int) func(context.Context, effect.Caller, *engine.FetchRequest) (*engine.FetchResponse, error) {
	return func(_ context.Context, _ effect.Caller, req *engine.FetchRequest) (*engine.FetchResponse, error) {
		return &engine.FetchResponse{Status: status, StatusText: http.StatusText(status), URL: req.URL, Header: [][2]string{{"content-type", "application/json"}}, Body: []byte("{}")}, nil
	}
}

func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// KV implements engine.Host. Reads are not recorded.
func (r *Recorder) KV(ctx context.Context, by effect.Caller, op *effect.KVOp) (*effect.KVResult, error) {
	do := r.KVs.Do
	if r.Live != nil {
		do = func(ctx context.Context, _ string, op *effect.KVOp) (*effect.KVResult, error) {
			return r.Live.KV(ctx, by, op)
		}
	}
	if op.Op != "set" && op.Op != "delete" {
		return do(ctx, by.Name, op)
	}
	e := r.add(&Effect{KV: op.Op, Shared: op.Shared, Key: op.Key, Value: json.RawMessage(op.Value), TTL: op.TTL.Seconds(), number: by.Number})
	result, err := do(ctx, by.Name, op)
	r.settle(func() {
		switch {
		case err != nil:
			e.Error = err.Error()
		case !result.OK && op.IfVersion != nil:
			e.Conflict = true
		}
	})
	return result, err
}

// Refused notes an emit that was refused.
func (r *Recorder) Refused(by effect.Caller, em *effect.Emit, why error) {
	e := emitted(by, em)
	e.Error = why.Error()
	r.add(e)
}

func emitted(by effect.Caller, em *effect.Emit) *Effect {
	return &Effect{Emit: em.Action + "." + em.Object, ObjectID: em.ObjectID, Key: em.Key, Current: em.Current, Previous: em.Previous, Meta: em.Meta, number: by.Number}
}

// Emit implements engine.Host. The same emit of the same event is a duplicate, as in a store.
func (r *Recorder) Emit(ctx context.Context, by effect.Caller, em *effect.Emit) (*effect.Emitted, error) {
	e := emitted(by, em)
	if r.Live != nil {
		r.add(e)
		done, err := r.Live.Emit(ctx, by, em)
		r.settle(func() {
			if err != nil {
				e.Error = err.Error()
			} else {
				e.Duplicate = done.Duplicate
			}
		})
		return done, err
	}
	same := fmt.Sprintf("%s\x00%d", by.Name, em.Ordinal)
	if em.Key != "" {
		same = by.Name + "\x00key\x00" + em.Key
	}
	if by.Event != nil {
		same += "\x00" + by.Event.ID
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.effects = append(r.effects, e)
	id, again := r.emitted[same]
	if !again {
		if r.emitted == nil {
			r.emitted = map[string]string{}
		}
		id = fmt.Sprintf("00000000-0000-7000-8000-%012d", len(r.emitted)+1)
		r.emitted[same] = id
	}
	e.Duplicate = again
	return &effect.Emitted{ID: id, Duplicate: again}, nil
}
