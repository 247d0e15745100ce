package web_test

import "testing"

func TestTextBecomesBytesAndBack(t *testing.T) {
	check(t, []row{
		{"text is UTF-8", `[...new TextEncoder().encode("aé€😀")]`, "[97,195,169,226,130,172,240,159,152,128]"},
		{"nothing is no bytes", `[new TextEncoder().encode().length, new TextEncoder().encode(undefined).length]`, "[0,0]"},
		{"half a character becomes the sign for it", `[...new TextEncoder().encode("a\ud800")]`, "[97,239,191,189]"},
		{"encodeInto writes whole characters", `const a = new Uint8Array(5); return [new TextEncoder().encodeInto("a😀é", a), [...a]]`, `[{"read":3,"written":5},[97,240,159,152,128]]`},
		{"encodeInto writes at the array's place", `const a = new Uint8Array(4); new TextEncoder().encodeInto("xyz", a.subarray(1, 3)); return [...a]`, "[0,120,121,0]"},
		{"encodeInto another array", `new TextEncoder().encodeInto("x", [])`, "TypeError: "},
		{"bytes are UTF-8", `new TextDecoder().decode(new Uint8Array([97, 195, 169, 240, 159, 152, 128]))`, `"aé😀"`},
		{"a part of a buffer", `new TextDecoder("UTF8").decode(new Uint8Array([97, 98, 99, 100]).subarray(1, 3))`, `"bc"`},
		{"a view and a buffer", `const b = new Uint8Array([97, 98, 99]).buffer; return new TextDecoder().decode(b) + new TextDecoder().decode(new DataView(b, 1))`, `"abcbc"`},
		{"each longest beginning of a character is one sign", `new TextDecoder().decode(new Uint8Array([0xe2, 0x82, 97, 0xf0, 0x9f, 0x98, 0xc0, 0xaf, 0xed, 0xa0, 0x80]))`, `"�a������"`},
		{"fatal", `new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array([0xff]))`, "TypeError: TextDecoder"},
		{"a mark of byte order goes", `new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 97])).length`, "1"},
		{"and stays", `new TextDecoder("utf-8", { ignoreBOM: true }).decode(new Uint8Array([0xef, 0xbb, 0xbf, 97])).length`, "2"},
		{"in pieces", `const d = new TextDecoder(); return d.decode(new Uint8Array([0xe2, 0x82]), { stream: true }) + d.decode(new Uint8Array([0xac, 97])) + d.decode()`, `"€a"`},
		{"a piece that never comes", `const d = new TextDecoder(); return [d.decode(new Uint8Array([0xe2, 0x82]), { stream: true }), d.decode()]`, `["","�"]`},
		{"another encoding", `new TextDecoder("utf-16le")`, "RangeError: TextDecoder: the encoding \"utf-16le\" is not known"},
		{"base64", `[btoa("hello\xff"), atob("aGVsbG//"), atob(" aGVs\nbG8 "), atob("aGVsbG8"), atob("")]`, `["aGVsbG//","helloÿ","hello","hello",""]`},
		{"what base64 can't hold", `btoa("€")`, "InvalidCharacterError: btoa"},
		{"what is no base64", `atob("a")`, "InvalidCharacterError: atob"},
		{"too much padding", `atob("aGVsbG8==")`, "InvalidCharacterError: atob"},
		{"an alphabet for addresses", `atob("__8")`, "InvalidCharacterError: atob"},
		{"too much at once", `new TextEncoder().encode("x".repeat(5 << 20))`, "RangeError: the text has a length of 5242880"},
	})
}

func TestHostileArgumentsAreErrorsOfTheScript(t *testing.T) {
	check(t, []row{
		{"a proxy of bytes", `crypto.digest("SHA-1", new Proxy(new Uint8Array(1), {}))`, "TypeError: "},
		{"an object that says it is bytes", `new TextDecoder().decode({ buffer: new ArrayBuffer(1), byteOffset: 0, byteLength: 100, __proto__: Uint8Array.prototype })`, "TypeError: "},
		{"bytes with a longer length", `const a = new Uint8Array(2); Object.defineProperty(a, "byteLength", { value: 100 }); return crypto.digest("SHA-1", a)`, "TypeError: "},
		{"bytes that begin before their buffer", `const a = new Uint8Array(2); Object.defineProperty(a, "byteOffset", { value: -1 }); return crypto.digest("SHA-1", a)`, "TypeError: "},
		{"bytes with another buffer", `const a = new Uint8Array(2); Object.defineProperty(a, "buffer", { value: [] }); return crypto.digest("SHA-1", a)`, "TypeError: "},
		{"a getter that throws", `const a = new Uint8Array(2); Object.defineProperty(a, "buffer", { get() { throw new RangeError("mine"); } }); return crypto.digest("SHA-1", a)`, "RangeError: mine"},
		{"a text that throws", `new URL({ toString() { throw new RangeError("mine"); } })`, "RangeError: mine"},
		{"a symbol for text", `atob(Symbol("x"))`, "TypeError: "},
		{"another receiver", `URL.prototype.toString.call({})`, "TypeError: "},
		{"a proxy for a receiver", `new Proxy(new URL("https://a.example"), {}).href`, "TypeError: "},
		{"a class without new", `URL("https://a.example")`, "TypeError: "},
		{"an iterator that throws", `new Headers({ [Symbol.iterator]() { throw new RangeError("mine"); } })`, "RangeError: mine"},
		{"a huge address", `new URL("https://a.example/" + "x".repeat(1 << 20))`, "RangeError: "},
		{"an endless list of headers", `new Headers((function* () { for (;;) yield ["a", "b"]; })())`, "TypeError: Headers: at most 256"},
		{"an endless list of parameters", `new URLSearchParams((function* () { for (;;) yield ["a", "b"]; })())`, "RangeError: URLSearchParams: at most"},
		{"too many parameters in text", `new URLSearchParams("a&".repeat(100000))`, "RangeError: "},
		{"options that are no object", `new TextDecoder("utf-8", 5).fatal`, "false"},
		{"options that throw", `fetch("https://a.example", { get method() { throw new RangeError("mine"); } })`, "RangeError: mine"},
	})
}

func TestAddresses(t *testing.T) {
	check(t, []row{
		{"all its parts", `const u = new URL("https://u:p@a.example:8443/b/c?d=e#f"); return [u.href, u.protocol, u.username, u.password, u.host, u.hostname, u.port, u.pathname, u.search, u.hash, u.origin]`,
			`["https://u:p@a.example:8443/b/c?d=e#f","https:","u","p","a.example:8443","a.example","8443","/b/c","?d=e","#f","https://a.example:8443"]`},
		{"a base", `new URL("../x", new URL("https://a.example/b/c/d")).href`, `"https://a.example/b/x"`},
		{"as text and as JSON", "return [`${new URL('https://a.example')}`, { u: new URL('https://b.example') }]", `["https://a.example/",{"u":"https://b.example/"}]`},
		{"canParse and parse", `[URL.canParse("x"), URL.canParse("x", "https://a.example"), URL.parse("x"), URL.parse("https://a.example").host]`, `[false,true,null,"a.example"]`},
		{"what is none", `new URL("a.example/secret")`, "TypeError: Invalid URL: it is not absolute"},
		{"has a code and not the text", `try { new URL("a.example/secret") } catch (e) { return [e.code, e.message.includes("secret")] }`, `["ERR_INVALID_URL",false]`},
		{"href that is none is an error", `const u = new URL("https://a.example"); u.href = "x"; return 1`, "TypeError: Invalid URL"},
		{"parameters change the address", `const u = new URL("https://a.example/?a=1&b=2"); u.searchParams.append("c d", "ü&"); u.searchParams.delete("a"); return [u.href, u.search]`,
			`["https://a.example/?b=2&c+d=%C3%BC%26","?b=2&c+d=%C3%BC%26"]`},
		{"the address changes its parameters", `const u = new URL("https://a.example/?a=1"); const p = u.searchParams; u.search = "?b=2"; return [p.get("a"), p.get("b"), p === u.searchParams]`, `[null,"2",true]`},
		{"without parameters there is no mark", `const u = new URL("https://a.example/?a=1"); u.searchParams.delete("a"); return u.href`, `"https://a.example/"`},
		{"parameters of text", `[...new URLSearchParams("?a=1&a=2&b=%zz+%C3%BC&c&=d")]`, `[["a","1"],["a","2"],["b","%zz ü"],["c",""],["","d"]]`},
		{"of an object, pairs and others", `[new URLSearchParams({ a: 1, b: "x y" }) + "", new URLSearchParams([["a", 1], ["a", 2]]) + "", new URLSearchParams(new URLSearchParams("q")) + ""]`, `["a=1&b=x+y","a=1&a=2","q="]`},
		{"of a Map", `new URLSearchParams(new Map([["a", "b"]])).toString()`, `"a=b"`},
		{"a pair of three", `new URLSearchParams([["a", "b", "c"]])`, "TypeError: URLSearchParams: each pair"},
		{"all that they do", `const p = new URLSearchParams("b=1&a=2&b=3"); p.set("b", "9"); p.append("a", "4"); const got = [p + "", p.get("x"), p.getAll("a"), p.has("a", "4"), p.has("a", "5"), p.size]; p.delete("a", "2"); p.sort(); p.forEach((v, k) => got.push(k + v)); return [...got, [...p.keys()], [...p.values()], [...p.entries()]]`,
			`["b=9&a=2&a=4",null,["2","4"],true,false,3,"a4","b9",["a","b"],["4","9"],[["a","4"],["b","9"]]]`},
	})
}
