package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

// fetchHost answers every request with what it was asked.
type fetchHost struct {
	fakeHost
	answer func(ctx context.Context, by effect.Caller, r *engine.FetchRequest) (*engine.FetchResponse, error)
}

func (h *fetchHost) Fetch(ctx context.Context, by effect.Caller, r *engine.FetchRequest) (*engine.FetchResponse, error) {
	if h.answer != nil {
		return h.answer(ctx, by, r)
	}
	body := fmt.Sprintf(`{"method":%q,"url":%q,"body":%q,"by":%q}`, r.Method, r.URL, r.Body, by.Name+" "+by.Event.ID)
	return &engine.FetchResponse{Status: 201, StatusText: "Created", URL: r.URL, Header: [][2]string{{"Content-Type", "application/json"}}, Body: []byte(body)}, nil
}

func TestFetchGoesThroughTheHost(t *testing.T) {
	got := value(t, engine.Options{Host: &fetchHost{}}, `const r = await ctx.fetch("https://a.example/x", { method: "POST", body: "hi" }); return [ctx.fetch === fetch, r.status, r.ok, r.headers.get("content-type"), await r.json()]`)
	if want := `[true,201,true,"application/json",{"method":"POST","url":"https://a.example/x","body":"hi","by":"it id-1"}]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, test := range []struct {
		name, code, want string
		err              error
	}{
		{"a host that is not allowed", `await fetch("https://a.example/")`, "it.js:2:13: TypeError: fetch failed: a.example is not in allow_hosts", &effect.Error{Code: "EHOST", Msg: "a.example is not in allow_hosts"}},
		{"its code", `try { await fetch("https://a.example/") } catch (e) { throw e.code }`, `threw "EHOST"`, &effect.Error{Code: "EHOST", Msg: "x"}},
		{"a fault of ours", `await fetch("https://a.example/")`, "pipehook could not do it", errors.New("inside")},
	} {
		host := &fetchHost{answer: func(context.Context, effect.Caller, *engine.FetchRequest) (*engine.FetchResponse, error) {
			return nil, test.err
		}}
		r := call(t, pool(t, engine.Options{Host: host}, test.code), engine.Call{})
		if r.Err == nil || !strings.Contains(r.Err.Error(), test.want) || strings.Contains(r.Err.Error(), "inside") {
			t.Errorf("%s: %v, want %s", test.name, r.Err, test.want)
		}
	}
}

func TestTheDeadlinesSignalComesBeforeTheDeadline(t *testing.T) {
	host := &fetchHost{answer: func(ctx context.Context, _ effect.Caller, _ *engine.FetchRequest) (*engine.FetchResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	code := `if (ctx.signal !== ctx.signal) throw new Error("two signals");
		try { await fetch("https://a.example/", { signal: ctx.signal }) } catch (e) { return e.name }`
	p := pool(t, engine.Options{Host: host}, code)
	var r engine.Result
	for range 3 { // on a busy machine the little time that is left may not be enough
		if r = call(t, p, engine.Call{Kind: engine.Stage, Timeout: 2 * time.Second}); r.Err == nil {
			break
		}
	}
	if string(r.Value) != `"TimeoutError"` {
		t.Errorf("%s (%v)", r.Value, r.Err)
	}
	if r := call(t, pool(t, engine.Options{}, `ctx.signal; return 1`), engine.Call{Kind: engine.Stage}); r.Err != nil || string(r.Value) != "1" {
		t.Errorf("a signal that nobody needs: %s (%v)", r.Value, r.Err)
	}
}

func TestWhatTheWebPlatformGives(t *testing.T) {
	for code, want := range map[string]string{
		`new URL("/b?x=1", "https://a.example").searchParams.get("x")`: `"1"`,
		`new TextDecoder().decode(new TextEncoder().encode("ü"))`:      `"ü"`,
		`atob(btoa("x"))`:                                     `"x"`,
		`structuredClone({ a: [1, new Date(0)] })`:            `{"a":[1,"1970-01-01T00:00:00.000Z"]}`,
		`crypto.randomUUID().length`:                          `36`,
		`crypto.hmac("SHA-256", "key", "data", "hex").length`: `64`,
		`(await crypto.subtle.digest("SHA-256", new TextEncoder().encode("x"))).byteLength`: `32`,
		`[typeof eval, typeof Function, typeof GoError, typeof WebAssembly]`:                `["function","function","undefined","undefined"]`,
	} {
		if got := value(t, engine.Options{}, "return "+code); got != want {
			t.Errorf("%s is %s, want %s", code, got, want)
		}
	}
}
