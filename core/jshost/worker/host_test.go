//go:build unix

package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker"
)

// host remembers who asked for what.
type host struct {
	mu    sync.Mutex
	kept  map[string][]byte
	by    []string
	begun chan string   // gets the key of each question, when it is not nil
	hold  chan struct{} // what "slow" waits for
	left  chan error    // what the context of "slow" ended with
}

func (h *host) Fetch(context.Context, effect.Caller, *engine.FetchRequest) (*engine.FetchResponse, error) {
	return &engine.FetchResponse{Status: 200}, nil
}

func (h *host) KV(ctx context.Context, by effect.Caller, op *effect.KVOp) (*effect.KVResult, error) {
	h.mu.Lock()
	h.by = append(h.by, by.Name+" "+by.Event.ID+" "+op.Op+" "+op.Key)
	h.mu.Unlock()
	if h.begun != nil {
		h.begun <- op.Key
	}
	switch op.Key {
	case "slow":
		select {
		case <-h.hold:
		case <-ctx.Done():
			h.left <- ctx.Err()
			return nil, ctx.Err()
		}
	case "refused":
		return nil, &effect.Error{Code: "ECONFLICT", Msg: "not now"}
	case "broken":
		return nil, errors.New("the database at 10.0.0.1 is away")
	case "panics":
		panic("a bug of the host")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if op.Op == "set" {
		h.kept[op.Key] = op.Value
		return &effect.KVResult{OK: true}, nil
	}
	value, ok := h.kept[op.Key]
	return &effect.KVResult{OK: ok, Entry: effect.KVEntry{Key: op.Key, Value: value, Version: "1"}}, nil
}

func (h *host) Emit(_ context.Context, by effect.Caller, e *effect.Emit) (*effect.Emitted, error) {
	return &effect.Emitted{ID: by.Event.ID + ":" + e.Action + "." + e.Object + ":" + string(e.Current)}, nil
}

func (h *host) Pipedrive(_ context.Context, by effect.Caller, c *effect.APICall) (*effect.APIAnswer, error) {
	if c.Method == "DELETE" {
		return nil, &effect.Error{Code: "ERATELIMIT", Msg: "too many requests", Status: 429, RetryAfter: time.Minute}
	}
	data, err := json.Marshal(by.Event.ID + ":" + c.Method + " " + c.Path + "?" + c.Query.Encode() + " " + string(c.Body))
	return &effect.APIAnswer{Status: 200, Data: data}, err
}

func hosted(t *testing.T, code string, set func(*worker.Options)) (*worker.Process, *host, *journal) {
	h := &host{kept: map[string][]byte{}, hold: make(chan struct{}), left: make(chan error, 1)}
	p, j := start(t, code, func(o *worker.Options) {
		o.Host = h
		if set != nil {
			set(o)
		}
	})
	return p, h, j
}

func TestWhatACallAsksForIsDoneForItsEvent(t *testing.T) {
	p, h, j := hosted(t, `export default async (event, ctx) => {
  await ctx.kv.set("of " + event.id, { big: [1, 2] });
  console.log(JSON.stringify(await ctx.kv.get("of " + event.id)));
  console.log((await ctx.emit("added.note", { current: { a: 1 } })).id);
}`, two)
	if errs := batch(t, p, time.Minute, "1", "2"); errors.Join(errs...) != nil {
		t.Fatal(errs)
	}
	if got, want := h.by, []string{"it 1 set of 1", "it 1 get of 1", "it 2 set of 2", "it 2 get of 2"}; !slices.Equal(got, want) {
		t.Errorf("questions %q, want %q", got, want)
	}
	if got, want := j.said(), []string{`{"big":[1,2]}`, `1:added.note:{"a":1}`, `{"big":[1,2]}`, `2:added.note:{"a":1}`}; !slices.Equal(got, want) {
		t.Errorf("said %q, want %q", got, want)
	}
}

func TestPipedriveIsAskedAndItsErrorsComeWhole(t *testing.T) {
	p, _, j := hosted(t, `export default async (event, ctx) => {
  console.log(await ctx.pipedrive.get("/api/v2/deals", { ids: [1, 2] }));
  console.log(await ctx.pipedrive.patch("/api/v2/deals/1", { title: "x" }));
  try { await ctx.pipedrive.delete("/api/v2/deals/1") } catch (e) { console.log(e.code, e.status, e.message) }
  await ctx.pipedrive.delete("/api/v2/deals/1");
}`, nil)
	r := run(t, p, sample(t, "1"), time.Minute)
	if got := core.RetryAfter(r.Err); got != time.Minute {
		t.Errorf("it is tried again after %s: %v", got, r.Err)
	}
	if got, want := j.said(), []string{`1:GET /api/v2/deals?ids=1%2C2 `, `1:PATCH /api/v2/deals/1? {"title":"x"}`, "ERATELIMIT 429 too many requests"}; !slices.Equal(got, want) {
		t.Errorf("said %q, want %q", got, want)
	}
}

func TestQuestionsAreAnsweredBesideEachOther(t *testing.T) {
	p, h, _ := hosted(t, `export default (event, ctx) => Promise.all(["slow", "a", "slow", "b"].map((key) => ctx.kv.get(key)))`, nil)
	h.begun = make(chan string, 4)
	go func() {
		for range 4 {
			<-h.begun
		}
		close(h.hold)
	}()
	if r := run(t, p, sample(t, "1"), time.Minute); r.Err != nil {
		t.Error(r.Err)
	}
}

func TestVeryManyQuestionsAreAnswered(t *testing.T) {
	p, h, _ := hosted(t, `export default async (event, ctx) => {
  await Promise.all(Array.from({ length: 900 }, (_, i) => ctx.kv.set("k" + i, "x".repeat(1000))))
}`, nil)
	if r := run(t, p, sample(t, "1"), time.Minute); r.Err != nil || len(h.kept) != 900 {
		t.Errorf("%d are kept: %v", len(h.kept), r.Err)
	}
}

func TestALargeQuestionIsAnswered(t *testing.T) {
	p, _, j := hosted(t, `export default async (event, ctx) => {
  const big = "x".repeat(1000 * 1000);
  try { await ctx.emit("added.note", { current: { a: big } }); console.log("sent") } catch (e) { console.log(e.code) }
}`, nil)
	if r := run(t, p, sample(t, "1"), time.Minute); r.Err != nil || !slices.Equal(j.said(), []string{"sent"}) {
		t.Errorf("%v, said %q", r.Err, j.said())
	}
}

func TestWhatTheHostRefusesTheScriptMayCatch(t *testing.T) {
	p, _, j := hosted(t, `export default async (event, ctx) => {
  for (const key of ["refused", "broken", "panics"]) {
    try { await ctx.kv.get(key) } catch (e) { console.log(e.name, e.code, e.message) }
  }
}`, nil)
	if r := run(t, p, sample(t, "1"), time.Minute); r.Err != nil {
		t.Error(r.Err)
	}
	said := j.said()
	if len(said) != 3 || said[0] != "HostError ECONFLICT not now" || !strings.Contains(said[1], "EINTERNAL") || strings.Contains(said[1], "10.0.0.1") {
		t.Errorf("said %q", said)
	}
	if !strings.Contains(j.log(), "the database at 10.0.0.1 is away") || !strings.Contains(j.log(), "a bug of the host") {
		t.Error("the log does not say what went wrong")
	}
}

func TestAQuestionEndsWithItsCall(t *testing.T) {
	for name, ask := range map[string]string{
		"a deadline":              `await ctx.kv.get("slow")`,
		"a function that hangs":   `ctx.kv.get("slow"); /(a+)+\1$/.test("a".repeat(40) + "!")`,
		"the end of the process":  `ctx.kv.get("slow"); await ctx.kv.get("begun"); new ArrayBuffer(2 ** 40)`,
		"a loop that never stops": `ctx.kv.get("slow"); for (;;);`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, h, _ := hosted(t, `export default async (event, ctx) => { if (event.id === "1") {`+ask+`} }`, nil)
			if r := run(t, p, sample(t, "1"), time.Second); r.Err == nil {
				t.Error("the call succeeds")
			}
			if err := <-h.left; err == nil {
				t.Error("the question goes on")
			}
			if r := run(t, p, sample(t, "2"), time.Minute); r.Err != nil {
				t.Error(r.Err)
			}
		})
	}
}

func TestACallThatWaitsBesideOneThatCrashesIsAnsweredAtOnce(t *testing.T) {
	p, h, _ := hosted(t, `export default async (event, ctx) => {
  if (event.id === "die") new ArrayBuffer(2 ** 40);
  await ctx.kv.get("slow");
}`, two)
	h.begun = make(chan string, 9)
	var first, again error
	var running sync.WaitGroup
	running.Go(func() { first = run(t, p, sample(t, "waits"), time.Minute).Err })
	<-h.begun
	second := run(t, p, sample(t, "die"), time.Minute).Err
	running.Wait()
	if core.KindOf(first) != core.Crashed || core.KindOf(second) != core.Crashed || <-h.left == nil {
		t.Errorf("errors %v and %v", first, second)
	}
	running.Go(func() { again = run(t, p, sample(t, "waits"), time.Minute).Err })
	<-h.begun
	other := make(chan error)
	go func() { other <- run(t, p, sample(t, "other"), time.Minute).Err }()
	select {
	case key := <-h.begun:
		t.Errorf("it is not alone: another call asks for %q", key)
	case <-time.After(100 * time.Millisecond): // nothing may happen
	}
	close(h.hold)
	running.Wait()
	if err := <-other; again != nil || err != nil {
		t.Errorf("errors %v and %v", again, err)
	}
}

// everything shows all that a script can see of an event and a call.
const everything = `export default (event, ctx) => ({
  ...event, body: event.raw, changes: event.changes(), user: event.getUserId(), company: event.getCompanyId(),
  from: event.getChangeSource(), bulk: event.isBulkUpdate(), retry: event.getRetryCount(), attempt: ctx.attempt, listener: ctx.listener,
  secret: ctx.secrets.TOKEN,
})`

// comparable is a Result for comparing.
func comparable(r engine.Result) engine.Result {
	r.Took = 0
	return r
}

// both runs a call in this process and in another.
func both(t *testing.T, text string, call engine.Call) (here, there engine.Result) {
	t.Helper()
	made := code(t, text)
	program, err := engine.Compile(made)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{"TOKEN": "s3cret"}
	pool := engine.NewPool(program, engine.Options{Name: "it", Secrets: secrets})
	defer pool.Close()
	pool.Run(t.Context(), []engine.Call{call}, func(_ int, r engine.Result) { here = comparable(r) })
	p, _ := start(t, text, func(o *worker.Options) { o.Code, o.Secrets = made, secrets })
	p.Run(t.Context(), []engine.Call{call}, func(_ int, r engine.Result) { there = comparable(r) })
	return here, there
}

func TestAnEventIsTheSameInAnotherProcess(t *testing.T) {
	full := sample(t, "full")
	full.Source, full.Pipeline, full.Replayed, full.Gathered = "pipedrive", "crm", true, []string{"a", "full"}
	full.ReceivedAt, full.OccurredAt = time.Now().UTC(), time.Now().Add(-time.Hour).UTC()
	full.Labels = map[string]string{"a": "1"}
	full.Facts = core.Facts{UserID: "9007199254740993", CompanyID: "7", ChangeSource: "api", Bulk: true}
	changed := *sample(t, "changed")
	changed.Current = json.RawMessage(`{"title":"of a stage","n":9007199254740993}`)
	odd := &core.Event{ID: "odd", Body: []byte("\xff\x00 not JSON"), Action: "made\xff", Object: "deal"}
	for _, call := range []engine.Call{
		{Kind: engine.Stage, Event: full, Attempt: 3},
		{Kind: engine.Stage, Event: &changed},
		{Kind: engine.Stage, Event: odd},
		{Kind: engine.Stage, Event: &core.Event{}},
	} {
		here, there := both(t, everything, call)
		if here.Err != nil || !reflect.DeepEqual(here, there) {
			t.Errorf("event %q\nhere  %s %v\nthere %s %v", call.Event.ID, here.Value, here.Err, there.Value, there.Err)
		}
	}
}

func TestWhatIsNoTextKeepsNoCallFromBeingMade(t *testing.T) {
	odd := &core.Event{ID: "odd", Gathered: []string{"\xff", "odd"}}
	p, _ := start(t, `export default (event, ctx) => [event.gathered[1], ctx.secrets.KEY.length, ctx.listener.length]`, func(o *worker.Options) {
		o.Name, o.Secrets, o.Code.Path = "it\xff", map[string]string{"KEY": "\xff\x00"}, "\xff/it.js"
	})
	var r engine.Result
	p.Run(t.Context(), []engine.Call{{Kind: engine.Stage, Event: odd, Timeout: 5 * time.Second}}, func(_ int, got engine.Result) { r = got })
	if r.Err != nil || string(r.Value) != `["odd",2,3]` {
		t.Errorf("%s (%v)", r.Value, r.Err)
	}
	made, err := worker.Compile(t.Context(), []string{"\xff/it.js"})
	if err != nil || made[0].Err == nil || !strings.Contains(made[0].Err.Error(), "there is no such file") {
		t.Errorf("%v (%v)", made, err)
	}
}

func TestARequestIsTheSameInAnotherProcess(t *testing.T) {
	ev := &core.Event{ID: "1", Body: []byte(`{"a":[1]}`), Header: map[string][]string{"X-One": {"1"}, "X-Many": {"a", "b"}}}
	here, there := both(t, `export default (request) => ({ action: "added", headers: { ...request.headers }, body: request.body, json: request.json() })`,
		engine.Call{Kind: engine.Source, Event: ev})
	if here.Err != nil || !reflect.DeepEqual(here, there) {
		t.Errorf("\nhere  %s %v\nthere %s %v", here.Value, here.Err, there.Value, there.Err)
	}
}

func TestAnOutcomeIsTheSameInAnotherProcess(t *testing.T) {
	for name, code := range map[string]string{
		"nothing":          ``,
		"a value":          `return { labels: { a: "1" } }`,
		"null":             `return null`,
		"an error":         `throw new TypeError("a")`,
		"a permanent one":  `ctx.fail("for good")`,
		"one to try later": `ctx.retryAfter("90s", "later")`,
		"dropped":          `ctx.drop("not ours")`,
		"rejected":         `ctx.reject(422, "no")`,
		"too deep":         `const f = () => f() + 1; f()`,
		"too large":        `return "x".repeat(3 << 20)`,
		"never settled":    `return new Promise(() => {})`,
	} {
		here, there := both(t, "export default (event, ctx) => {\n"+code+"\n}", engine.Call{Kind: engine.Stage, Event: sample(t, "1"), Timeout: time.Minute})
		if here.Err != nil && there.Err != nil && here.Err.Error() == there.Err.Error() && reflect.DeepEqual(meaningOf(here.Err), meaningOf(there.Err)) {
			here.Err, there.Err = nil, nil
		}
		if !reflect.DeepEqual(here, there) {
			t.Errorf("%s:\nhere  %+v\nthere %+v", name, here, there)
		}
	}
}

// meaningOf is the part of an error that others look for.
func meaningOf(err error) any {
	if e, ok := errors.AsType[*core.Error](err); ok {
		return *e
	}
	if e, ok := errors.AsType[*engine.Dropped](err); ok {
		return *e
	}
	if e, ok := errors.AsType[*engine.Rejected](err); ok {
		return *e
	}
	return nil
}
