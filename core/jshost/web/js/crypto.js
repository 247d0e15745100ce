(function (host, seal) {
  "use strict";
  const fail = (message, name) => {
    const { DOMException } = host("need", "abort");
    throw new DOMException(message, name);
  };
  const hashes = ["SHA-1", "SHA-256", "SHA-384", "SHA-512"];
  const integers = [
    Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, BigInt64Array, BigUint64Array,
  ];

  // Web crypto's way to name an algorithm: "SHA-256" or { name: "SHA-256" }.
  const nameOf = (algorithm) => `${typeof algorithm === "object" && algorithm !== null ? algorithm.name : algorithm}`.toUpperCase();
  function hashOf(algorithm) {
    const name = nameOf(algorithm);
    if (!hashes.includes(name)) fail(`the hash ${name.slice(0, 40)} is not known; there are ${hashes.join(", ")}`, "NotSupportedError");
    return name;
  }
  // What encoded(bytes) is: text in the encoding, or the bytes themselves.
  function encoded(buffer, encoding) {
    if (encoding === undefined) return new Uint8Array(buffer);
    return host("encode", buffer, `${encoding}`);
  }

  let open;
  class CryptoKey {
    #key;
    constructor(key) {
      if (!key || key.token !== open) throw new TypeError("CryptoKey can't be made: use crypto.subtle.importKey");
      this.#key = key;
      seal(this);
    }
    static { open = (key) => key.#key; }
    get [Symbol.toStringTag]() { return "CryptoKey"; }
    get type() { return "secret"; }
    get extractable() { return false; }
    get algorithm() { return { name: "HMAC", hash: { name: this.#key.hash }, length: this.#key.bytes.byteLength * 8 }; }
    get usages() { return [...this.#key.usages]; }
  }
  function keyFor(usage, algorithm, key) {
    if (!(key instanceof CryptoKey)) throw new TypeError(`crypto.subtle.${usage}: the key must come from crypto.subtle.importKey`);
    const inside = open(key);
    if (nameOf(algorithm) !== "HMAC") fail(`crypto.subtle.${usage}: only HMAC is known`, "NotSupportedError");
    if (!inside.usages.includes(usage)) fail(`crypto.subtle.${usage}: the key was not imported for "${usage}"`, "InvalidAccessError");
    return inside;
  }

  const subtle = {
    async digest(algorithm, data) { return host("digest", hashOf(algorithm), host("bytes", data)); },
    async importKey(format, data, algorithm, extractable, usages) {
      if (format !== "raw" || nameOf(algorithm) !== "HMAC") {
        fail('crypto.subtle.importKey: only importKey("raw", bytes, { name: "HMAC", hash }, false, usages) is known', "NotSupportedError");
      }
      const wanted = [...new Set(usages)];
      if (wanted.length === 0 || wanted.some((usage) => usage !== "sign" && usage !== "verify")) {
        fail('crypto.subtle.importKey: the usages of an HMAC key are "sign" and "verify"', "SyntaxError");
      }
      const bytes = host("bytes", data);
      if (bytes.byteLength === 0) fail("crypto.subtle.importKey: the key is empty", "DataError");
      return new CryptoKey({ token: open, bytes, hash: hashOf(algorithm.hash), usages: wanted });
    },
    async sign(algorithm, key, data) {
      const { hash, bytes } = keyFor("sign", algorithm, key);
      return host("hmac", hash, bytes, host("bytes", data));
    },
    async verify(algorithm, key, signature, data) {
      const { hash, bytes } = keyFor("verify", algorithm, key);
      const given = host("bytes", signature);
      return host("equal", given, host("hmac", hash, bytes, host("bytes", data)));
    },
  };

  const crypto = {
    subtle,
    randomUUID() { return host("uuid"); },
    getRandomValues(array) {
      if (!integers.some((type) => array instanceof type)) fail("crypto.getRandomValues: give an array of integers, such as a Uint8Array", "TypeMismatchError");
      if (array.byteLength > 65536) fail("crypto.getRandomValues: at most 65536 bytes at once", "QuotaExceededError");
      host("random", array);
      return array;
    },
    digest(algorithm, data, encoding) { return encoded(host("digest", algorithm, data), encoding); },
    hmac(algorithm, key, data, encoding) { return encoded(host("hmac", algorithm, key, data), encoding); },
    timingSafeEqual(a, b) { return host("equal", a, b); },
  };

  seal(crypto, CryptoKey);
  return { crypto, CryptoKey };
})
