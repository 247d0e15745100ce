package engine_test

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/jshost/engine"
)

// everyGlobal finds what can be reached by a name, with the names of what that has.
const everyGlobal = `
const names = new Set(), seen = new Set();
const visit = (path, o) => {
	if (o === null || typeof o !== "object" && typeof o !== "function" || o === globalThis || seen.has(o)) return;
	seen.add(o);
	for (const key of Reflect.ownKeys(o)) {
		const d = Reflect.getOwnPropertyDescriptor(o, key), name = path + "." + String(key);
		if (typeof key === "string" && typeof o === "object" && !/[. ]/.test(path)) names.add(name);
		for (const part of ["value", "get", "set"]) visit(name, d[part]);
	}
	visit(path + ".__proto__", Object.getPrototypeOf(o));
	if (!Object.isFrozen(o)) throw new Error(path + " is not frozen");
};
for (const name of NAMES) { names.add(name + " " + typeof globalThis[name]); visit(name, globalThis[name]); }
const nameless = [[], "", 1, true, 1n, /x/, {}, () => 1, async () => 1, function* () {}, Object.getPrototypeOf((function* () {})()), [].values(), ""[Symbol.iterator](), "a".matchAll(/a/g), new Map().keys(), new Set().keys(), Promise.resolve(), event, ctx.kv, ctx.log];
for (const [i, o] of nameless.entries()) for (let p = Object.getPrototypeOf(o); p; p = Object.getPrototypeOf(p)) visit("a prototype of number " + i, p);
for (const name of Object.keys(ctx)) if (name !== "secrets" && name !== "signal") visit("ctx." + name, ctx[name]);
return [...names].sort().join("\n")`

func TestTheGlobalsAreTheseAndAllIsFrozen(t *testing.T) {
	names := engine.Globals()
	sort.Strings(names)
	r := call(t, pool(t, engine.Options{Host: &fakeHost{}}, strings.Replace(everyGlobal, "NAMES", `["`+strings.Join(names, `","`)+`"]`, 1)), engine.Call{Kind: engine.Stage})
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	got := strings.ReplaceAll(strings.Trim(string(r.Value), `"`), `\n`, "\n") + "\n"
	file := filepath.Join("testdata", "globals.txt")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("what scripts can reach is not what %s lists; look at the difference, then run the test with UPDATE=1\n%s", file, got)
	}
}

func TestNothingOfTheLanguageCanBeChanged(t *testing.T) {
	for _, change := range []string{
		`Object.prototype.x = 1`, `Object.prototype.toString = () => "x"`, `Array.prototype.map = null`, `Array.prototype.map.x = 1`, `[].map.x = 1`, `[].map.call = null`,
		`Object.defineProperty([].map, "name", { value: "x" })`, `delete Array.prototype.map`, `[].__proto__.x = 1`, `"".__proto__.x = 1`, `"".at.x = 1`, `(5).toFixed.x = 1`,
		`[].constructor.x = 1`, `({}).constructor.assign = null`, `/x/.exec.x = 1`, `/x/.__proto__.exec = null`, `Object.getOwnPropertyDescriptor(RegExp.prototype, "flags").get.x = 1`,
		`(() => 1).__proto__.call = null`, `(async () => 1).__proto__.x = 1`, `(function* () {})().next.x = 1`, `[].values().next.x = 1`, `[].values().__proto__.next = null`,
		`(async () => 1)().then.x = 1`, `(async () => 1)().constructor.resolve = null`, `Promise.prototype.then = null`, `Promise.x = 1`, `JSON.parse = null`, `JSON.x = 1`, `Math.random = () => 1`, `Math.x = 1`,
		`Map.prototype.get = null`, `new Map().get.x = 1`, `Symbol.x = 1`, `Symbol("").__proto__.x = 1`, `Date.now = null`, `new Date().__proto__.x = 1`, `Reflect.x = 1`, `new Uint8Array(1).__proto__.__proto__.x = 1`, `Uint8Array.x = 1`,
		`Error.prototype.name = "x"`, `TypeError.prototype.message = "x"`, `try { null.x } catch (e) { e.constructor.x = 1 }`, `try { null.x } catch (e) { e.__proto__.y = 1 }`, `Error.prototype.toString = null`, `Error.captureStackTrace = 1`,
		`globalThis.x = 1`, `globalThis.Promise = 1`, `Promise = 1`, `delete globalThis.Promise`, `Object.defineProperty(globalThis, "x", { value: 1 })`, `Object.defineProperty(globalThis, "x", { get() {} })`, `globalThis[Symbol("x")] = 1`,
		`Object.getOwnPropertySymbols([].__proto__)[0].__proto__.x = 1`, `new Uint8Array(1).buffer.__proto__.x = 1`, `(await Promise.any([]).catch((e) => e)).__proto__.x = 1`, `(await Promise.any([]).catch((e) => e)).constructor.x = 1`,
		`undefined = 1`, `console.log = null`, `console.log.x = 1`, `setTimeout.x = 1`, `globalThis.setTimeout = 1`,
		`ctx.x = 1`, `ctx.log.info = null`, `ctx.kv.get = null`, `ctx.kv.get.x = 1`, `ctx.kv.shared.x = 1`, `ctx.fail.x = 1`, `event.changed.x = 1`, `event.__proto__.x = 1`, `event.x = 1`, `event.changed = 1`,
		`Object.setPrototypeOf(Object.prototype, {})`, `Object.setPrototypeOf([].__proto__, null)`,
	} {
		r := call(t, pool(t, engine.Options{Host: &fakeHost{}}, change), engine.Call{})
		if r.Err == nil || !strings.Contains(r.Err.Error(), "TypeError") && !strings.Contains(r.Err.Error(), "ReferenceError") {
			t.Errorf("%s: %v", change, r.Err)
		}
	}
}

func TestWhatOneEventChangesIsNotThereForTheNext(t *testing.T) {
	p := pool(t, engine.Options{}, `exports.default = (event) => { // a CommonJS file is not strict: what can't be changed is left
		const was = [[].map.x, {}.x, Object.prototype.toString === {}.toString, [1].map((n) => n + 1), typeof leaked, Promise.x, JSON.stringify({ a: 1 })].join();
		[].map.x = 1; Object.prototype.x = 1; Array.prototype.map = null; Promise.x = 1; JSON.stringify = null; Object.setPrototypeOf(globalThis, { leaked: 1 });
		return was;
	} // export default`)
	for range 2 {
		if r := call(t, p, engine.Call{Kind: engine.Stage}); r.Err != nil || string(r.Value) != `",,true,2,undefined,,{\"a\":1}"` {
			t.Errorf("%s (%v)", r.Value, r.Err)
		}
	}
}

func TestUsualProgramsWorkInAFrozenWorld(t *testing.T) {
	for _, test := range []struct{ name, code, want string }{
		{"a class with a toString", `class A { toString() { return "a" } valueOf() { return 5 } } return [String(new A()), new A() + 1]`, `["a",6]`},
		{"an object that is given a toString", `const o = {}; o.toString = () => "mine"; o.valueOf = () => 3; o.hasOwnProperty = 1; return [String(o), o + 1, o.hasOwnProperty]`, `["mine",4,1]`},
		{"counting words that objects have", `const n = {}; for (const w of ["constructor", "toString", "isPrototypeOf", "constructor"]) n[w] = (Object.hasOwn(n, w) ? n[w] : 0) + 1; return n`, `{"constructor":2,"toString":1,"isPrototypeOf":1}`},
		{"inheritance as it was", `function A() {} A.prototype.toString = function () { return "A" }; function B() {} B.prototype = Object.create(A.prototype); B.prototype.constructor = B; const b = new B(); return [String(b), b.constructor === B, b instanceof A]`, `["A",true,true]`},
		{"errors of one's own", `function E(m) { this.message = m; this.name = "E" } E.prototype = Object.create(Error.prototype); E.prototype.constructor = E; const e = new E("m"); return [String(e), e instanceof Error, e.constructor === E]`, `["E: m",true,true]`},
		{"an error's class", `class E extends TypeError { constructor(m) { super(m); this.name = "E" } } const e = new E("m"); e.message = "n"; return [String(e), e.constructor === E, e instanceof TypeError]`, `["E: n",true,true]`},
		{"a name in a prototype", `class E extends Error {} E.prototype.name = "E"; return String(new E("m"))`, `"E: m"`},
		{"constructors are found", `return [[].constructor === Array, "".constructor === String, (5).constructor === Number, ({}).constructor === Object, /x/.constructor === RegExp, new Map().constructor === Map, Promise.resolve().constructor === Promise]`, `[true,true,true,true,true,true,true]`},
		{"classes of the language's classes", `class L extends Array { sum() { return this.reduce((a, b) => a + b, 0) } } class M extends Map { get(k) { return super.get(k) ?? 7 } } return [L.from([1, 2]).map((n) => n * 2).sum(), new M().get("x")]`, `[6,7]`},
		{"functions with properties", `const f = () => 1; f.cache = { a: 1 }; f.toString = () => "f"; return [f.cache.a, String(f)]`, `[1,"f"]`},
		{"super.toString", `class A { toString() { return "A" + super.toString() } } return String(new A())`, `"A[object Object]"`},
		{"Object.prototype's own", `return [Object.prototype.toString.call([]), Object.prototype.hasOwnProperty.call({ a: 1 }, "a"), String({}), String([1, 2]), String(new Date(NaN)), String(() => 1)]`, `["[object Array]",true,"[object Object]","1,2","Invalid Date","() => 1"]`},
		{"Function without code of text", `const AsyncFunction = (async () => 1).constructor; return [(() => 1) instanceof Function, (async () => 1) instanceof AsyncFunction, (() => 1).constructor === Function, Function.prototype.call.call((n) => n + 1, null, 1), typeof Function.prototype.bind, Function.name, Object.getPrototypeOf(Function) === Function.prototype]`, `[true,true,true,2,"function","Function",true]`},
		{"the global object by its names", `return [globalThis === global, globalThis.Array === Array, "Map" in globalThis, "nothing" in globalThis, typeof nothing, (function () { return typeof this })()]`, `[true,true,true,false,"undefined","undefined"]`},
		{"sorting, spreading, destructuring", `const [a, ...b] = [3, 1, 2].sort(); return { ...{ a }, b, s: [..."ab"], m: [...new Map([[1, 2]])] }`, `{"a":1,"b":[2,3],"s":["a","b"],"m":[[1,2]]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := value(t, engine.Options{}, test.code); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestAFileMayAddGlobalsWhileItIsLoaded(t *testing.T) {
	code := `globalThis.mine = { n: 0 }; if (!globalThis.Intl) globalThis.Intl = { v: 1 }; export default () => [typeof mine, ++mine.n, Intl.v, Object.keys(globalThis)]`
	if got := value(t, engine.Options{}, code); got != `["object",1,1,["mine","Intl"]]` {
		t.Errorf("got %s", got)
	}
	_, _, err := compile(t, "it.js", "globalThis.Promise = class {};\nexport default () => 1")
	if err == nil || !strings.Contains(err.Error(), "it.js:1:12: TypeError: Promise can't be replaced") {
		t.Errorf("error %v", err)
	}
}

// What the host is given may be as large and as deep as memory allows, and code may be in it.
func TestTheHostLooksAtNothingThatItDoesNotWant(t *testing.T) {
	r := call(t, pool(t, engine.Options{Host: &fakeHost{}}, `
		const list = [], trap = { get x() { throw new Error("looked at") } };
		list.length = 4294967295;
		const refused = [];
		for (const given of [list, trap]) {
			clearTimeout(given);
			refused.push(event.isUpdate.call(given));
			for (const f of [() => ctx.reject(given), () => ctx.retryAfter(given), () => ctx.emit("added.x", { objectId: given }), () => ctx.kv.set("a", 1, { ttl: given })]) {
				try { f() } catch (e) { refused.push(e.name) }
			}
		}
		return refused.join()`), engine.Call{Kind: engine.Stage})
	if want := strings.Repeat(",true,TypeError,TypeError,TypeError,TypeError", 2)[1:]; string(r.Value) != `"`+want+`"` {
		t.Errorf("got %s (%v), want %s", r.Value, r.Err, want)
	}
}

// A sender may nest a body as deep as it is long, and the parser recurses.
func TestJSONIsReadToADepth(t *testing.T) {
	ev := sample(t)
	ev.Body = []byte(strings.Repeat("[", 400_000) + strings.Repeat("]", 400_000))
	const tried = `const tried = (f) => { try { return typeof f() } catch (e) { return e.name + e.message.slice(0, 40) } }; `
	for _, test := range []struct {
		kind       engine.Kind
		code, want string
	}{
		{engine.Stage, `return tried(() => JSON.parse(event.raw))`, `"SyntaxErrorthe JSON is nested deeper than 512"`},
		{engine.Source, `return tried(() => event.json())`, `"SyntaxErrorthe JSON is nested deeper than 512"`},
		{engine.Stage, `return tried(() => JSON.parse({ toString() { return event.raw } }))`, `"SyntaxErrorthe JSON is nested deeper than 512"`},
		{engine.Stage, `return tried(() => JSON.parse("[".repeat(512) + "]".repeat(512)))`, `"object"`},
		{engine.Stage, `return tried(() => JSON.parse('["' + '[\\"'.repeat(513) + '"]'))`, `"object"`},
		{engine.Stage, `return JSON.parse("[1,2]", (key, v) => typeof v === "number" ? v + 1 : v)`, `[2,3]`},
		{engine.Stage, `return [tried(() => JSON.parse()).slice(0, 11), tried(() => JSON.parse(Symbol())).slice(0, 9), JSON.parse.name]`, `["SyntaxError","TypeError","parse"]`},
	} {
		r := call(t, pool(t, engine.Options{}, tried+test.code), engine.Call{Kind: test.kind, Event: &ev})
		if r.Err != nil || string(r.Value) != test.want {
			t.Errorf("%s: got %s (%v), want %s", test.code, r.Value, r.Err, test.want)
		}
	}
}

func TestTheWorldOutsideIsOutOfReach(t *testing.T) {
	for _, code := range []string{
		`eval("1")`, `new Function("return 1")`, `class A extends Function {} new A("return 1")`, `Reflect.construct(Function, ["return 1"], Object)`, `Function.x = 1`, `Function("return 1")`, `(() => 1).constructor("return 1")()`, `(async () => 1).constructor("return 1")()`, `(function* () {}).constructor("return 1")()`,
		`[].map.constructor("return 1")()`, `ctx.fail.constructor("return 1")()`, `event.changed.constructor.constructor("return 1")()`, `Object.getPrototypeOf(() => 1).constructor("return 1")()`,
		`Reflect.construct(Object.getPrototypeOf(async () => 1).constructor, ["return 1"])`, `class A extends (() => 1).constructor {} new A("return 1")()`, `setTimeout("1")`, `globalThis.constructor.constructor("return this")()`,
		`process.env`, `Deno.readFile`, `GoError("x")`,
		`JSON.stringify(console.log.Name())`, `event.ID()`, `event.Header.Get("x")`, `ctx.kv.rt.vm`,
	} {
		r := call(t, pool(t, engine.Options{Host: &fakeHost{}}, code), engine.Call{})
		if r.Err == nil || !strings.Contains(r.Err.Error(), "TypeError") && !strings.Contains(r.Err.Error(), "ReferenceError") && !strings.Contains(r.Err.Error(), "undefined") {
			t.Errorf("%s: %v", code, r.Err)
		}
	}
	got := value(t, engine.Options{}, `try { ctx.fail("x") } catch (e) { return [Object.getOwnPropertyNames(e).sort().join(), typeof e.value, String(e)] }`)
	if got != `["message,name,stack","undefined","PermanentFailure: x"]` {
		t.Errorf("an error of the host has %s", got)
	}
}
