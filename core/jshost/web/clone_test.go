package web_test

import "testing"

func TestStructuredClone(t *testing.T) {
	check(t, []row{
		{"what JSON holds", `const v = { a: [1, "x", null, { b: true }] }; const c = structuredClone(v); return [c, c === v, c.a[3] === v.a[3]]`, `[{"a":[1,"x",null,{"b":true}]},false,false]`},
		{"undefined, NaN and big numbers", `const c = structuredClone({ u: undefined, n: NaN, b: 10n }); return ["u" in c, Number.isNaN(c.n), c.b === 10n]`, "[true,true,true]"},
		{"Map and Set", `const k = {}; const c = structuredClone(new Map([[k, new Set([k, 1])]])); const [[key, set]] = c; return [key !== k, set.has(key), set.size]`, "[true,true,2]"},
		{"Date", `const c = structuredClone(new Date(5)); return [c instanceof Date, c.getTime()]`, "[true,5]"},
		{"RegExp", `const c = structuredClone(/a+/gi); return [c instanceof RegExp, c.source, c.flags, c.lastIndex]`, `[true,"a+","gi",0]`},
		{"errors with their cause", `const e = new TypeError("bad", { cause: { a: 1 } }); const c = structuredClone(e); return [c instanceof TypeError, c.message, c.cause, c.cause !== e.cause, c.stack === e.stack]`, `[true,"bad",{"a":1},true,true]`},
		{"errors of a class of one's own", `class Mine extends Error { name = "Mine" } const c = structuredClone(new Mine("x")); return [c.name, c.constructor === Error, c.message]`, `["Error",true,"x"]`},
		{"DOMException", `const c = structuredClone(new DOMException("x", "AbortError")); return [c instanceof DOMException, c.name, c.code]`, `[true,"AbortError",20]`},
		{"bytes that share a buffer", `const b = new ArrayBuffer(8); const v = [new Uint8Array(b, 2, 3), new Uint16Array(b), new DataView(b, 1)]; const c = structuredClone(v); c[0][0] = 7; return [c[1][1], v[1][1], c[2].getUint8(1), c[0].length, c[2].byteLength]`, "[7,0,7,3,7]"},
		{"cycles", `const v = { list: [] }; v.self = v; v.list.push(v); const c = structuredClone(v); return [c.self === c, c.list[0] === c, c !== v]`, "[true,true,true]"},
		{"the same thing twice", `const x = {}; const c = structuredClone([x, x]); return c[0] === c[1]`, "true"},
		{"holes", `const v = [1, , 3]; v.more = 4; const c = structuredClone(v); return [c.length, 1 in c, c.more]`, "[3,false,4]"},
		{"a huge array of holes", `structuredClone(new Array(4e9)).length`, "4000000000"},
		{"wrapped values", `const c = structuredClone([Object(1), Object("x"), Object(true)]); return c.map((v) => typeof v + v)`, `["object1","objectx","objecttrue"]`},
		{"instances become plain", `class P { x = 1; get y() { return 2 } } const c = structuredClone(new P()); return [c, c.constructor === Object]`, `[{"x":1},true]`},
		{"names that mean something", `const c = structuredClone(JSON.parse('{"__proto__":{"a":1},"toString":1,"constructor":2}')); return [Object.keys(c), c.a]`, `[["__proto__","toString","constructor"],null]`},
		{"very deep", `let v = {}; for (let i = 0; i < 20000; i++) v = { v }; let n = 0; for (let c = structuredClone(v); c.v; c = c.v) n++; return n`, "20000"},
		{"a function", `structuredClone({ f() {} })`, "DataCloneError: structuredClone: a function can't be cloned"},
		{"a symbol", `structuredClone([Symbol("x")])`, "DataCloneError: "},
		{"a promise", `structuredClone(Promise.resolve())`, "DataCloneError: "},
		{"a proxy", `structuredClone(new Proxy({}, {}))`, "DataCloneError: "},
		{"a WeakMap", `structuredClone(new WeakMap())`, "DataCloneError: "},
		{"what is ours", `structuredClone(new URL("https://a.example"))`, "DataCloneError: structuredClone: a value of the class URL"},
		{"a getter that throws", `structuredClone({ get a() { throw new RangeError("mine"); } })`, "RangeError: mine"},
		{"a transfer", `const b = new ArrayBuffer(1); return structuredClone(b, { transfer: [b] })`, "DataCloneError: "},
		{"nothing", `structuredClone()`, "TypeError: "},
	})
}
