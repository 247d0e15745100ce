package web_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/jshost/web"
)

// echo answers with what it was asked.
func echo(_ context.Context, r *web.FetchRequest) (*web.FetchResponse, error) {
	return &web.FetchResponse{
		Status: 201, StatusText: "Created", URL: r.URL,
		Header: [][2]string{{"X-Method", r.Method}, {"X-Redirect", r.Redirect}, {"Set-Cookie", "a=1"}, {"Set-Cookie", "b=2"}, {"x-asked", fmt.Sprint(r.Header)}},
		Body:   r.Body,
	}, nil
}

func TestFetchSendsAndReceives(t *testing.T) {
	w := newWorld(t, echo)
	for _, r := range []row{
		{"a plain GET", `const r = await fetch("https://a.example/x#f"); return [r.status, r.statusText, r.ok, r.url, r.redirected, r.headers.get("X-METHOD"), r.headers.get("x-redirect"), await r.text()]`,
			`[201,"Created",true,"https://a.example/x",false,"GET","follow",""]`},
		{"JSON by POST", `const r = await fetch(new URL("https://a.example"), { method: "post", body: JSON.stringify({ a: "é" }), headers: { "Content-Type": "application/json", "X-A": 1 } }); return [await r.json(), r.headers.get("x-method"), r.headers.get("x-asked")]`,
			`[{"a":"é"},"POST","[[Content-Type application/json] [X-A 1]]"]`},
		{"text says its type", `(await fetch("https://a.example", { method: "POST", body: "x" })).headers.get("x-asked")`, `"[[content-type text/plain;charset=UTF-8]]"`},
		{"a form", `const r = await fetch("https://a.example", { method: "PUT", body: new URLSearchParams({ a: "b c" }) }); return [await r.text(), r.headers.get("x-asked")]`,
			`["a=b+c","[[content-type application/x-www-form-urlencoded;charset=UTF-8]]"]`},
		{"bytes", `const r = await fetch("https://a.example", { method: "POST", body: new Uint8Array([0, 255, 7]).subarray(1) }); return [[...(await r.bytes())], r.headers.get("x-asked")]`, `[[255,7],"[]"]`},
		{"bytes that are changed later", `const b = new Uint8Array([1]); const p = fetch("https://a.example", { method: "POST", body: b }); b[0] = 9; return [...new Uint8Array(await (await p).arrayBuffer())]`, `[1]`},
		{"a Request", `const q = new Request("https://a.example", { method: "PATCH", body: "x", headers: [["a", "b"]], redirect: "manual" }); const r = await fetch(q); return [r.headers.get("x-method"), r.headers.get("x-redirect"), await r.text(), r.headers.get("x-asked")]`,
			`["PATCH","manual","x","[[a b] [content-type text/plain;charset=UTF-8]]"]`},
		{"a Request with other options", `const r = await fetch(new Request("https://a.example", { method: "PATCH", body: "x" }), { body: "y", headers: { a: "b" } }); return [r.headers.get("x-method"), await r.text(), r.headers.get("x-asked")]`,
			`["PATCH","y","[[a b] [content-type text/plain;charset=UTF-8]]"]`},
		{"cookies are not joined", `const { headers } = await fetch("https://a.example"); return [headers.getSetCookie(), [...headers].filter(([n]) => n === "set-cookie")]`, `[["a=1","b=2"],[["set-cookie","a=1"],["set-cookie","b=2"]]]`},
		{"the length is the client's business", `(await fetch("https://a.example", { method: "POST", body: new ArrayBuffer(1), headers: { "Content-Length": "99", "Accept-Encoding": "br" } })).headers.get("x-asked")`, `"[]"`},
		{"a body is read once", `const r = await fetch("https://a.example", { method: "POST", body: "x" }); const before = r.bodyUsed; await r.text(); try { await r.json() } catch (e) { return [before, r.bodyUsed, e.name, e.message] }`,
			`[false,true,"TypeError","the body was already read: keep what text() or json() gave, or read a clone()"]`},
		{"a clone is read too", `const r = await fetch("https://a.example", { method: "POST", body: "x" }); const c = r.clone(); return [await r.text(), await c.text(), c.status, c.url, c.headers.get("x-method")]`, `["x","x",201,"https://a.example/","POST"]`},
		{"many at once", `(await Promise.all(["a", "b", "c"].map((n) => fetch("https://a.example/" + n)))).map((r) => r.url.at(-1))`, `["a","b","c"]`},
	} {
		t.Run(r.name, func(t *testing.T) {
			if got := w.run(r.body()); got != r.want {
				t.Errorf("got  %s\nwant %s", got, r.want)
			}
		})
	}
}

func TestWhatCanNotBeFetchedIsRefusedBeforeItIsSent(t *testing.T) {
	check(t, []row{
		{"no address", `fetch("/x")`, "TypeError: Invalid URL: it is not absolute"},
		{"another scheme", `fetch("file:///etc/passwd")`, "TypeError: fetch: only http and https URLs"},
		{"a password in the address", `fetch("https://u:p@a.example/")`, "TypeError: fetch: a URL with a user and password"},
		{"another host in a header", `fetch("https://a.example", { headers: { Host: "b.example" } })`, "TypeError: fetch: the header Host can't be set"},
		{"a connection of one's own", `fetch("https://a.example", { headers: { "Transfer-Encoding": "chunked" } })`, "TypeError: fetch: the header Transfer-Encoding"},
		{"a header in a header", `fetch("https://a.example", { headers: { a: "b\r\nc: d" } })`, "TypeError: Headers: the value of a has characters"},
		{"a header that is not ASCII", `fetch("https://a.example", { headers: { a: "é" } })`, "TypeError: fetch: the value of a is not ASCII"},
		{"a header with a space in its name", `new Headers({ "a b": "c" })`, `TypeError: Headers: "a b" is not a header's name`},
		{"an object for a body", `fetch("https://a.example", { method: "POST", body: { a: 1 } })`, "TypeError: a body must be text, bytes (Uint8Array, ArrayBuffer) or URLSearchParams: use JSON.stringify"},
		{"GET with a body", `fetch("https://a.example", { body: "x" })`, `TypeError: Request: GET has no body; say method: "POST"`},
		{"a method with a space", `fetch("https://a.example", { method: "GET /x" })`, "TypeError: Request: the method is not a word"},
		{"CONNECT", `fetch("https://a.example", { method: "connect" })`, "TypeError: Request: CONNECT is not allowed"},
		{"an unknown redirect", `fetch("https://a.example", { redirect: "x" })`, "TypeError: Request: redirect must be"},
		{"a signal that is none", `fetch("https://a.example", { signal: {} })`, "TypeError: Request: signal must be an AbortSignal"},
		{"too large a body", `fetch("https://a.example", { method: "POST", body: "é".repeat(600000) })`, "RangeError: the text has a length of 1200000; at most 1048576"},
		{"where nothing can be fetched", `fetch("https://a.example")`, "TypeError: fetch failed: it is not available here"},
	})
}

func TestAFailureSaysWhyAndWhere(t *testing.T) {
	failing := func(_ context.Context, r *web.FetchRequest) (*web.FetchResponse, error) {
		switch {
		case strings.HasSuffix(r.URL, "coded"):
			return nil, fmt.Errorf("egress: %w", &web.FetchError{Code: "EHOST", Msg: "a.example is not in allow_hosts"})
		case strings.HasSuffix(r.URL, "large"):
			return &web.FetchResponse{Status: 200, Body: make([]byte, web.MaxBody+1)}, nil
		}
		return nil, &url.Error{Op: "Get", URL: r.URL, Err: errors.New("connection refused")}
	}
	for _, r := range []row{
		{"a code", `try { await fetch("https://a.example/coded") } catch (e) { return [e instanceof TypeError, e.message, e.code, e.cause.code, e.cause.message] }`,
			`[true,"fetch failed: a.example is not in allow_hosts","EHOST","EHOST","a.example is not in allow_hosts"]`},
		{"no code, and the address is not repeated", `try { await fetch("https://a.example/?token=secret") } catch (e) { return [e.message, "code" in e] }`, `["fetch failed: connection refused",false]`},
		{"too large an answer", `try { await fetch("https://a.example/large") } catch (e) { return e.code }`, `"ETOOLARGE"`},
		{"the line of the call", "async function work() {\n  await null;\n  await fetch('https://a.example/');\n}\ntry { await work() } catch (e) { return e.stack.split('\\n').find((l) => l.includes('test.js')).includes('test.js:4:') }", "true"},
	} {
		t.Run(r.name, func(t *testing.T) {
			if got := newWorld(t, failing).run(r.code); got != r.want {
				t.Errorf("got  %s\nwant %s", got, r.want)
			}
		})
	}
}

func TestHeadersAndResponsesByHand(t *testing.T) {
	check(t, []row{
		{"names in any case, values joined", `const h = new Headers({ B: " 2 ", a: 1 }); h.append("A", "3"); h.set("c", "x"); h.delete("C"); return [[...h], h.get("A"), h.get("z"), h.has("b"), [...h.keys()], [...h.values()]]`,
			`[[["a","1, 3"],["b","2"]],"1, 3",null,true,["a","b"],["1, 3","2"]]`},
		{"forEach", `const got = []; new Headers([["b", "1"], ["a", "2"]]).forEach((v, k, all) => got.push(k, v, all.has(k))); return got`, `["a","2",true,"b","1",true]`},
		{"of others", `new Headers(new Headers(new Map([["a", "b"]]))).get("a")`, `"b"`},
		{"a response", `const r = new Response("x", { status: 404, statusText: "No", headers: { a: "b" } }); return [r.status, r.ok, r.statusText, r.url, r.redirected, [...r.headers], await r.text()]`,
			`[404,false,"No","",false,[["a","b"],["content-type","text/plain;charset=UTF-8"]],"x"]`},
		{"a response of JSON", `const r = Response.json({ a: 1 }, { status: 202 }); return [r.status, r.headers.get("content-type"), await r.json()]`, `[202,"application/json",{"a":1}]`},
		{"a response of nothing", `const r = new Response(null, { status: 204 }); return [r.status, r.bodyUsed, await r.text(), await r.text(), r.bodyUsed]`, `[204,false,"","",false]`},
		{"a body where there is none", `new Response("x", { status: 204 })`, "TypeError: Response: a response with the status 204 has no body"},
		{"a status that is none", `new Response("x", { status: 1000 })`, "RangeError: "},
		{"JSON that is none", `new Response("<html>").json()`, "SyntaxError: "},
		{"JSON that is nested too deep", `new Response("[".repeat(100000)).json()`, "SyntaxError: the JSON is nested deeper than"},
		{"a mark of byte order is no part of JSON", `new Response("\ufeff[1]").json()`, "[1]"},
		{"a request is what it was made of", `const r = new Request("https://a.example/x", { method: "put", body: "b" }); return [r.url, r.method, r.redirect, r.signal, await r.clone().text(), r.bodyUsed]`, `["https://a.example/x","PUT","follow",null,"b",false]`},
	})
}

func TestAbortingAFetch(t *testing.T) {
	ended := make(chan error, 1)
	hanging := func(ctx context.Context, r *web.FetchRequest) (*web.FetchResponse, error) {
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}
	for _, r := range []row{
		{"by a controller", `const c = new AbortController(); const p = fetch("https://a.example", { signal: c.signal }); Promise.resolve().then(() => c.abort()); try { await p } catch (e) { return [e.name, e.code, e instanceof DOMException, e instanceof Error] }`, `["AbortError",20,true,true]`},
		{"for a reason of one's own", `const c = new AbortController(); const p = fetch("https://a.example", { signal: c.signal }); c.abort("enough"); try { await p } catch (e) { return e }`, `"enough"`},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t, hanging)
			if got := w.run(r.code); got != r.want {
				t.Errorf("got  %s\nwant %s", got, r.want)
			}
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the request ended with %v", err)
			}
			if n := w.unhandled(); n > 0 {
				t.Errorf("%d rejections that nobody handled", n)
			}
		})
	}
	t.Run("before it began, nothing is sent", func(t *testing.T) {
		if got := newWorld(t, hanging).run(`try { await fetch("https://a.example", { signal: AbortSignal.abort() }) } catch (e) { return e.name }`); got != `"AbortError"` {
			t.Error(got)
		}
	})
	t.Run("after it ended, nothing happens", func(t *testing.T) {
		if got := newWorld(t, echo).run(`const c = new AbortController(); const r = await fetch("https://a.example", { signal: c.signal }); c.abort(); return r.status`); got != "201" {
			t.Error(got)
		}
	})
}
