package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

func TestPipedriveIsAskedThroughTheHost(t *testing.T) {
	for _, test := range []struct{ name, code, want string }{
		{"a get", `return (await ctx.pipedrive.get("/api/v2/deals/1")).call`, `"GET /api/v2/deals/1?"`},
		{"a query", `return (await ctx.pipedrive.get("/api/v2/deals", { ids: [1, 2], status: "open", archived: false, skip: null, none: undefined })).call`, `"GET /api/v2/deals?archived=false\u0026ids=1%2C2\u0026status=open"`},
		{"a post", `return await ctx.pipedrive.post("/api/v1/notes", { content: "hi", deal_id: 1 })`, `{"by":"it","call":"POST /api/v1/notes?","body":{"content":"hi","deal_id":1}}`},
		{"a put", `return (await ctx.pipedrive.put("/v1/deals/1/merge", { merge_with_id: 2 })).call`, `"PUT /v1/deals/1/merge?"`},
		{"a patch", `return await ctx.pipedrive.patch("/api/v2/deals/1", { title: "x" })`, `{"by":"it","call":"PATCH /api/v2/deals/1?","body":{"title":"x"}}`},
		{"a delete", `return await ctx.pipedrive.delete("/api/v2/deals/1")`, `{"by":"it","call":"DELETE /api/v2/deals/1?","body":null}`},
		{"taken off", `const { get } = ctx.pipedrive; return (await get("/api/v2/users/me")).by`, `"it"`},
		{"nothing that can be changed", `"use strict"; try { ctx.pipedrive.get = 1 } catch (e) { return [e.name, Object.keys(ctx.pipedrive)] }`, `["TypeError",["get","page","list","post","put","patch","delete"]]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := call(t, pool(t, engine.Options{Host: &fakeHost{}}, test.code), engine.Call{Kind: engine.Stage})
			if got := strings.ReplaceAll(string(r.Value), "&", `\u0026`); r.Err != nil || got != test.want {
				t.Errorf("got %s (%v), want %s", got, r.Err, test.want)
			}
		})
	}
}

// pages answers with three records on two pages, and notes what was asked.
func pages(asked *[]string) func(*effect.APICall) (*effect.APIAnswer, error) {
	return func(c *effect.APICall) (*effect.APIAnswer, error) {
		*asked = append(*asked, c.Path+"?"+c.Query.Encode())
		if c.Query.Get("cursor")+c.Query.Get("start") != "" {
			return &effect.APIAnswer{Status: 200, Data: []byte(`[{"id":3}]`)}, nil
		}
		return &effect.APIAnswer{Status: 200, Data: []byte(`[{"id":1},{"id":2}]`), Next: "2"}, nil
	}
}

func TestAListIsReadToItsEnd(t *testing.T) {
	for _, test := range []struct{ name, code, want, asked string }{
		{"with a cursor", `return (await ctx.pipedrive.list("/api/v2/deals")).map((d) => d.id)`, `[1,2,3]`, "/api/v2/deals?limit=500 /api/v2/deals?cursor=2&limit=500"},
		{"with a start", `return (await ctx.pipedrive.list("/api/v1/notes", { deal_id: 7, limit: 2 })).map((d) => d.id)`, `[1,2,3]`, "/api/v1/notes?deal_id=7&limit=2 /api/v1/notes?deal_id=7&limit=2&start=2"},
		{"as far as is wanted", `return (await ctx.pipedrive.list("/api/v2/deals", {}, { limit: 2 })).length`, `2`, "/api/v2/deals?limit=2"},
		{"and no further", `return (await ctx.pipedrive.list("/api/v2/deals", {}, { limit: 1 })).length`, `1`, "/api/v2/deals?limit=1"},
		{"a page", `const p = await ctx.pipedrive.page("/api/v2/deals"); return [p.items.length, p.next, (await ctx.pipedrive.page("/api/v2/deals", { cursor: p.next })).next]`, `[2,"2",null]`, "/api/v2/deals? /api/v2/deals?cursor=2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var asked []string
			r := call(t, pool(t, engine.Options{Host: &fakeHost{api: pages(&asked)}}, test.code), engine.Call{Kind: engine.Stage})
			if got := strings.Join(asked, " "); r.Err != nil || string(r.Value) != test.want || got != test.asked {
				t.Errorf("got %s (%v), want %s; asked %s, want %s", r.Value, r.Err, test.want, got, test.asked)
			}
		})
	}
	endless := func(*effect.APICall) (*effect.APIAnswer, error) {
		return &effect.APIAnswer{Data: []byte("[" + strings.Repeat("1,", 4999) + "1]"), Next: "on"}, nil
	}
	r := call(t, pool(t, engine.Options{Host: &fakeHost{api: endless}}, `try { await ctx.pipedrive.list("/api/v2/deals") } catch (e) { return [e.code, e.message.includes("10000")] }`), engine.Call{Kind: engine.Stage})
	if string(r.Value) != `["ELIMIT",true]` {
		t.Errorf("an endless list: %s (%v)", r.Value, r.Err)
	}
}

func TestAnErrorOfPipedriveSaysWhatItIs(t *testing.T) {
	refused := &effect.Error{Code: "ENOTFOUND", Msg: "GET /api/v2/deals/9: not found", Status: 404}
	host := &fakeHost{api: func(*effect.APICall) (*effect.APIAnswer, error) { return nil, refused }}
	r := call(t, pool(t, engine.Options{Host: host}, `try { await ctx.pipedrive.get("/api/v2/deals/9") } catch (e) { return [e instanceof Error, e.code, e.status, e.message] }`), engine.Call{Kind: engine.Stage})
	if want := `[true,"ENOTFOUND",404,"GET /api/v2/deals/9: not found"]`; string(r.Value) != want {
		t.Errorf("got %s (%v), want %s", r.Value, r.Err, want)
	}
	refused = &effect.Error{Code: "ERATELIMIT", Msg: "too many requests", Status: 429, RetryAfter: time.Minute}
	r = call(t, pool(t, engine.Options{Host: host}, `await ctx.pipedrive.get("/api/v2/deals/9")`), engine.Call{})
	if core.RetryAfter(r.Err) != time.Minute {
		t.Errorf("%v is tried again after %s", r.Err, core.RetryAfter(r.Err))
	}
	if e, ok := errors.AsType[*engine.ScriptError](r.Err); !ok || !strings.HasSuffix(e.File, "it.js") || e.Line != 2 {
		t.Errorf("its place is %+v", r.Err)
	}
}

func TestCallsOfPipedriveThatCannotBeMadeAreRefused(t *testing.T) {
	for _, test := range []struct{ code, want string }{
		{`await ctx.pipedrive.get()`, "wants the path first"},
		{`await ctx.pipedrive.get("deals/1")`, "the path must begin with /api/v2/ or /api/v1/"},
		{`await ctx.pipedrive.get("//evil.example/api/v2/x")`, "the path must begin with"},
		{`await ctx.pipedrive.get("/api/v2/../../oauth/token")`, "the path must begin with"},
		{`await ctx.pipedrive.get("/api/v2/%2e%2e/x")`, "the path must begin with"},
		{`await ctx.pipedrive.get("/api%2fv2%2Fdeals")`, "no slash that is escaped"},
		{`await ctx.pipedrive.get("/api/v2/deals/1%2F2")`, "no slash that is escaped"},
		{`await ctx.pipedrive.get("/%61pi/v2/deals")`, "the path must begin with"},
		{`await ctx.pipedrive.get("/api/v2/deals?id=1")`, "the query is an argument of its own"},
		{`await ctx.pipedrive.get("/api/v2/deals", { a: {} })`, `"a" in the query must be text`},
		{`await ctx.pipedrive.get("/api/v2/deals", 5)`, "must be an object"},
		{`await ctx.pipedrive.list("/api/v2/deals", {}, { limit: 0 })`, "limit must be a whole number"},
		{`await ctx.pipedrive.list("/api/v2/deals/1")`, "the answer is no list"},
		{`await ctx.pipedrive.post("/api/v2/deals", { n: 1n })`, "JSON has no BigInt"},
		{`await ctx.pipedrive.post("/api/v2/deals", "x".repeat(2 << 20))`, "longer than 1 MiB"},
	} {
		r := call(t, pool(t, engine.Options{Host: &fakeHost{}}, test.code), engine.Call{})
		if r.Err == nil || !strings.Contains(r.Err.Error(), test.want) {
			t.Errorf("%s: error %v, want %s", test.code, r.Err, test.want)
		}
	}
	r := call(t, pool(t, engine.Options{Host: &fakeHost{}}, `export default async (request, ctx) => { await ctx.pipedrive.get("/api/v2/deals") }`), engine.Call{Kind: engine.Source})
	if r.Err == nil || !strings.Contains(r.Err.Error(), "a source only reads") {
		t.Errorf("a source: %v", r.Err)
	}
	if r := call(t, pool(t, engine.Options{}, `await ctx.pipedrive.get("/api/v2/deals")`), engine.Call{}); r.Err == nil || !strings.Contains(r.Err.Error(), "not available here") {
		t.Errorf("without a host: %v", r.Err)
	}
}
