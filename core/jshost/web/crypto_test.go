package web_test

import (
	"regexp"
	"strings"
	"testing"
)

func TestHashes(t *testing.T) {
	// FIPS 180-4 for "abc" and for nothing.
	check(t, []row{
		{"SHA-1", `crypto.digest("SHA-1", "abc", "hex")`, `"a9993e364706816aba3e25717850c26c9cd0d89d"`},
		{"SHA-256", `crypto.digest("sha256", "abc", "hex")`, `"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"`},
		{"SHA-384", `crypto.digest("SHA-384", "abc", "hex")`, `"cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"`},
		{"SHA-512", `crypto.digest("SHA-512", "abc", "hex")`, `"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"`},
		{"nothing", `crypto.digest("SHA-256", "", "base64")`, `"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="`},
		{"for addresses", `crypto.digest("SHA-256", new Uint8Array(0), "base64url")`, `"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"`},
		{"bytes without an encoding", `const d = crypto.digest("SHA-1", new Uint8Array([97, 98, 99])); return [d instanceof Uint8Array, d.length, d[0]]`, `[true,20,169]`},
		{"of web crypto", `new Uint8Array(await crypto.subtle.digest("SHA-1", new TextEncoder().encode("abc"))).toHex()`, `"a9993e364706816aba3e25717850c26c9cd0d89d"`},
		{"of web crypto by object", `(await crypto.subtle.digest({ name: "sha-512" }, new ArrayBuffer(1))).byteLength`, `64`},
		{"an unknown hash", `crypto.digest("MD5", "x")`, "TypeError: digest: the hash is not known"},
		{"an unknown hash of web crypto", `crypto.subtle.digest("MD5", new Uint8Array(1))`, "NotSupportedError: "},
		{"an unknown encoding", `crypto.digest("SHA-1", "x", "hexa")`, "TypeError: the encoding is not known"},
		{"no data", `crypto.digest("SHA-1")`, "TypeError: text or bytes are wanted"},
		{"text for web crypto", `crypto.subtle.digest("SHA-1", "x")`, "TypeError: bytes are wanted"},
		{"too much data", `crypto.digest("SHA-1", new ArrayBuffer(5 << 20))`, "RangeError: the data has a length of"},
	})
}

func TestHMAC(t *testing.T) {
	// RFC 4231, test cases 1 to 4, 6 and 7.
	for _, tt := range []struct{ name, key, data, sha256, sha384, sha512 string }{
		{"case 1", `new Uint8Array(20).fill(0x0b)`, `"Hi There"`,
			"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
			"afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
			"87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"},
		{"case 2", `"Jefe"`, `"what do ya want for nothing?"`,
			"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
			"af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
			"164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
		{"case 3", `new Uint8Array(20).fill(0xaa)`, `new Uint8Array(50).fill(0xdd)`,
			"773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
			"88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39dc13814b94e3ab6e101a34f27",
			"fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb"},
		{"case 4", `Uint8Array.from({ length: 25 }, (_, i) => i + 1)`, `new Uint8Array(50).fill(0xcd)`,
			"82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
			"3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e6801dd23c4a7d679ccf8a386c674cffb",
			"b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd"},
		{"case 6", `new Uint8Array(131).fill(0xaa)`, `"Test Using Larger Than Block-Size Key - Hash Key First"`,
			"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
			"4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
			"80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"},
		{"case 7", `new Uint8Array(131).fill(0xaa)`, `"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm."`,
			"9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
			"6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5a678cc31e799176d3860e6110c46523e",
			"e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := newWorld(t, nil).run(`return ["SHA-256", "SHA-384", "SHA-512"].map((hash) => crypto.hmac(hash, ` + tt.key + `, ` + tt.data + `, "hex"))`)
			if want := `["` + tt.sha256 + `","` + tt.sha384 + `","` + tt.sha512 + `"]`; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestStandardWebhooksAreVerifiedAsAScriptWould(t *testing.T) {
	for _, tt := range []struct{ name, key, id, at, body, signature string }{
		{"of the libraries for Go, Python and JavaScript", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330",
			`{"test": 2432232314}`, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
		{"of the library for Rust", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", "1649367553",
			`{"email":"test@example.com","username":"test_user"}`, "tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := newWorld(t, nil).run(strings.NewReplacer("KEY", quoted(tt.key), "TEXT", quoted(tt.id+"."+tt.at+"."+tt.body), "SIGNATURE", quoted(tt.signature)).Replace(`
				const bytes = (text) => Uint8Array.from([...atob(text)], (c) => c.charCodeAt(0));
				const given = crypto.hmac("SHA-256", bytes(KEY), TEXT, "base64");
				const key = await crypto.subtle.importKey("raw", bytes(KEY), { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
				const text = new TextEncoder().encode(TEXT);
				return [
					given === SIGNATURE,
					crypto.timingSafeEqual(given, SIGNATURE),
					await crypto.subtle.verify("HMAC", key, bytes(SIGNATURE), text),
					await crypto.subtle.verify("HMAC", key, bytes(SIGNATURE).subarray(1), text),
					new Uint8Array(await crypto.subtle.sign({ name: "HMAC" }, key, text)).toBase64() === SIGNATURE,
				]`))
			if got != "[true,true,true,false,true]" {
				t.Error(got)
			}
		})
	}
}

func TestKeysAndComparisons(t *testing.T) {
	key := `const key = await crypto.subtle.importKey("raw", new Uint8Array([1, 2]), { name: "HMAC", hash: { name: "SHA-1" } }, true, ["verify"]); `
	check(t, []row{
		{"an empty key", `crypto.hmac("SHA-256", "", "x")`, "TypeError: hmac: the key is empty"},
		{"no key", `crypto.hmac("SHA-256", undefined, "x")`, "TypeError: text or bytes are wanted"},
		{"an empty key of web crypto", `crypto.subtle.importKey("raw", new Uint8Array(0), { name: "HMAC", hash: "SHA-1" }, false, ["sign"])`, "DataError: "},
		{"a key says what it is", key + `return [key.type, key.algorithm, key.usages, key.extractable, Object.keys(key)]`, `["secret",{"name":"HMAC","hash":{"name":"SHA-1"},"length":16},["verify"],false,[]]`},
		{"a key does what it is for only", key + `return crypto.subtle.sign("HMAC", key, new Uint8Array(1))`, "InvalidAccessError: "},
		{"a key can't be made", key + `return new key.constructor({ bytes: 1 })`, "TypeError: CryptoKey can't be made"},
		{"a key can't be cloned", key + `return structuredClone({ key })`, "DataCloneError: "},
		{"no key at all", `crypto.subtle.sign("HMAC", {}, new Uint8Array(1))`, "TypeError: crypto.subtle.sign: the key must come from"},
		{"changing the bytes of a key later", `const b = new Uint8Array([1]); const key = await crypto.subtle.importKey("raw", b, { name: "HMAC", hash: "SHA-1" }, false, ["sign"]); const one = new Uint8Array(await crypto.subtle.sign("HMAC", key, b.slice())); const data = b.slice(); b[0] = 2; return crypto.timingSafeEqual(one, await crypto.subtle.sign("HMAC", key, data))`, "true"},
		{"another format", `crypto.subtle.importKey("jwk", {}, "HMAC", false, ["sign"])`, "NotSupportedError: "},
		{"other usages", `crypto.subtle.importKey("raw", new Uint8Array(1), { name: "HMAC", hash: "SHA-1" }, false, ["encrypt"])`, "SyntaxError: "},
		{"what is equal", `[crypto.timingSafeEqual("é", new TextEncoder().encode("é")), crypto.timingSafeEqual("a", "b"), crypto.timingSafeEqual("a", "ab"), crypto.timingSafeEqual("", "")]`, "[true,false,false,true]"},
		{"undefined equals nothing", `crypto.timingSafeEqual(undefined, undefined)`, "TypeError: text or bytes are wanted"},
		{"half a character equals nothing", `[crypto.timingSafeEqual("\ud800", "\ufffd"), crypto.timingSafeEqual("\ud800", "\ud801")]`, "[false,false]"},
	})
}

func TestRandomValues(t *testing.T) {
	check(t, []row{
		{"fill an array in its place", `const a = new Uint32Array(6); const b = a.subarray(2, 4); return [crypto.getRandomValues(b) === b, a[1], a[2] !== 0 && a[3] !== 0, a[4]]`, "[true,0,true,0]"},
		{"not one of fractions", `crypto.getRandomValues(new Float64Array(1))`, "TypeMismatchError: "},
		{"not too many", `crypto.getRandomValues(new Uint8Array(65537))`, "QuotaExceededError: "},
		{"not what only looks like an array", `crypto.getRandomValues(Object.create(Uint8Array.prototype))`, "TypeError: "},
	})
	w := newWorld(t, nil)
	first, second := w.run(`return crypto.randomUUID()`), w.run(`return crypto.randomUUID()`)
	if !regexp.MustCompile(`^"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"$`).MatchString(first) || first == second {
		t.Error(first, second)
	}
}
