(function (host, seal) {
  "use strict";
  const labels = ["utf-8", "utf8", "unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8", "x-unicode20utf8"];

  class TextEncoder {
    get [Symbol.toStringTag]() { return "TextEncoder"; }
    get encoding() { return "utf-8"; }
    encode(text = "") { return new Uint8Array(host("encode", `${text}`)); }
    encodeInto(text, target) {
      if (!(target instanceof Uint8Array)) throw new TypeError("encodeInto: the second argument must be a Uint8Array");
      const [read, written] = host("encodeInto", `${text}`, target);
      return { read, written };
    }
  }

  class TextDecoder {
    #fatal;
    #ignoreBOM;
    #begun = false; // the place of a byte order mark is behind us
    #rest = new Uint8Array(0); // of a character that is not complete

    constructor(label = "utf-8", options) {
      if (!labels.includes(`${label}`.trim().toLowerCase())) {
        throw new RangeError(`TextDecoder: the encoding "${`${label}`.slice(0, 40)}" is not known; only utf-8 is`);
      }
      this.#fatal = Boolean(options?.fatal);
      this.#ignoreBOM = Boolean(options?.ignoreBOM);
    }
    get [Symbol.toStringTag]() { return "TextDecoder"; }
    get encoding() { return "utf-8"; }
    get fatal() { return this.#fatal; }
    get ignoreBOM() { return this.#ignoreBOM; }
    decode(input, options) {
      const more = Boolean(options?.stream);
      const rest = this.#rest;
      this.#rest = new Uint8Array(0);
      const [decoded, left] = host("decode", rest, input, this.#fatal, more);
      let text = decoded;
      if (text !== "") {
        if (!this.#begun && !this.#ignoreBOM && text.charCodeAt(0) === 0xfeff) text = text.slice(1);
        this.#begun = true;
      }
      if (more) this.#rest = new Uint8Array(left);
      else this.#begun = false;
      return text;
    }
  }

  function broken(what) {
    const { DOMException } = host("need", "abort");
    throw new DOMException(what, "InvalidCharacterError");
  }
  function atob(text) {
    return host("atob", `${text}`) ?? broken("atob: the text is not base64");
  }
  function btoa(text) {
    return host("btoa", `${text}`) ?? broken("btoa: the text has characters above U+00FF; make bytes of it with TextEncoder and use their toBase64()");
  }

  seal(TextEncoder, TextDecoder, atob, btoa);
  return { TextEncoder, TextDecoder, atob, btoa };
})
