(function (host, seal) {
  "use strict";
  const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
  const most = { headers: 256, chars: 64 << 10 }; // of one Headers, and of all it holds
  const ours = ["content-length", "accept-encoding"]; // which the client says itself: what a script says of them is left out
  const refused = [
    "host", "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "expect",
  ];
  const nullBody = [101, 103, 204, 205, 304];
  const redirects = ["follow", "error", "manual"];
  let all, raw;

  class Headers {
    #list = []; // [name, name in lower case, value]
    #chars = 0;

    constructor(init) {
      if (init === undefined || init === null) return;
      if (typeof init !== "object" && typeof init !== "function") throw new TypeError("Headers: give an object, a list of pairs or Headers");
      if (#list in init) {
        for (const [name, , value] of init.#list) this.append(name, value);
      } else if (init[Symbol.iterator] !== undefined && init[Symbol.iterator] !== null) {
        for (const pair of init) {
          const both = [...pair];
          if (both.length !== 2) throw new TypeError("Headers: each pair must have a name and a value");
          this.append(both[0], both[1]);
        }
      } else {
        for (const name of Object.keys(init)) this.append(name, init[name]);
      }
    }
    static #name(name) {
      const text = `${name}`;
      if (text.length > 256 || !token.test(text)) throw new TypeError(`Headers: ${JSON.stringify(text.slice(0, 80))} is not a header's name`);
      return text;
    }
    static #value(name, value) {
      const text = `${value}`.replace(/^[\t\n\r ]+/, "").replace(/[\t\n\r ]+$/, "");
      if (text.length > most.chars) throw new TypeError(`Headers: the value of ${name} is too long`);
      if (/[\0\r\n]|[^\0-\xff]/.test(text)) throw new TypeError(`Headers: the value of ${name} has characters that no header can have`);
      return text;
    }
    #push(name, value) {
      const chars = this.#chars + name.length + value.length;
      if (this.#list.length === most.headers || chars > most.chars) {
        throw new TypeError(`Headers: at most ${most.headers} headers and ${most.chars} characters`);
      }
      this.#chars = chars;
      this.#list.push([name, name.toLowerCase(), value]);
    }
    #drop(keep) {
      this.#list = this.#list.filter(keep);
      this.#chars = this.#list.reduce((sum, [name, , value]) => sum + name.length + value.length, 0);
    }
    static {
      all = (headers) => headers.#list;
      raw = (pairs) => { // as a server sent them
        const headers = new Headers();
        for (const [name, value] of pairs) headers.#list.push([name, name.toLowerCase(), value]);
        return headers;
      };
    }

    get [Symbol.toStringTag]() { return "Headers"; }
    append(name, value) {
      const checked = Headers.#name(name);
      this.#push(checked, Headers.#value(checked, value));
    }
    set(name, value) {
      const checked = Headers.#name(name), text = Headers.#value(checked, value), lower = checked.toLowerCase();
      this.#drop(([, other]) => other !== lower);
      this.#push(checked, text);
    }
    delete(name) {
      const lower = Headers.#name(name).toLowerCase();
      this.#drop(([, other]) => other !== lower);
    }
    has(name) {
      const lower = Headers.#name(name).toLowerCase();
      return this.#list.some(([, other]) => other === lower);
    }
    get(name) {
      const lower = Headers.#name(name).toLowerCase();
      const values = this.#list.filter(([, other]) => other === lower).map(([, , value]) => value);
      return values.length === 0 ? null : values.join(", ");
    }
    getSetCookie() { return this.#list.filter(([, lower]) => lower === "set-cookie").map(([, , value]) => value); }
    #sorted() {
      const pairs = [], joined = new Map();
      for (const [, lower, value] of this.#list) {
        const pair = lower === "set-cookie" ? undefined : joined.get(lower);
        if (pair) pair.push(value);
        else {
          const begun = [lower, value];
          pairs.push(begun);
          joined.set(lower, begun);
        }
      }
      pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
      return pairs.map(([lower, ...values]) => [lower, values.join(", ")]);
    }
    forEach(f, self) {
      for (const [name, value] of this.#sorted()) Reflect.apply(f, self, [value, name, this]);
    }
    keys() { return this.#sorted().map(([name]) => name).values(); }
    values() { return this.#sorted().map(([, value]) => value).values(); }
    entries() { return this.#sorted().values(); }
    [Symbol.iterator]() { return this.entries(); }
  }

  // The bytes of a body, and the content type that it has by itself.
  function bodyOf(body) {
    if (body === undefined || body === null) return [null, null];
    if (typeof body === "string") return [host("body", body), "text/plain;charset=UTF-8"];
    if (host("isBytes", body)) return [host("body", body), null];
    const { isParams } = host("need", "url");
    if (isParams(body)) return [host("body", body.toString()), "application/x-www-form-urlencoded;charset=UTF-8"];
    if (typeof body === "number" || typeof body === "boolean" || typeof body === "bigint") return [host("body", `${body}`), "text/plain;charset=UTF-8"];
    throw new TypeError("a body must be text, bytes (Uint8Array, ArrayBuffer) or URLSearchParams: use JSON.stringify(value) to send JSON");
  }

  let bytesOf;
  class Body {
    #bytes; // an ArrayBuffer, or null for no body
    #used = false;
    #headers;

    constructor(bytes, type, headers) {
      this.#bytes = bytes;
      this.#headers = headers;
      if (type !== null && !headers.has("content-type")) headers.set("content-type", type);
    }
    static {
      bytesOf = (body, what) => { // for a copy
        if (body.#used) throw new TypeError(`${what}: its body was already read`);
        return body.#bytes === null ? null : host("body", body.#bytes);
      };
    }
    #take() {
      if (this.#used) throw new TypeError("the body was already read: keep what text() or json() gave, or read a clone()");
      this.#used = this.#bytes !== null;
      const bytes = this.#bytes ?? new ArrayBuffer(0);
      if (this.#used) this.#bytes = new ArrayBuffer(0);
      return bytes;
    }
    get headers() { return this.#headers; }
    get bodyUsed() { return this.#used; }
    async text() { return host("text", this.#take()); }
    async json() { return JSON.parse(host("json", this.#take())); }
    async arrayBuffer() { return this.#take(); }
    async bytes() { return new Uint8Array(this.#take()); }
  }

  let requestParts;
  class Request extends Body {
    #url; #method; #signal; #redirect;

    constructor(input, init) {
      const from = typeof input === "object" && input !== null && #url in input ? input : null;
      const options = init ?? {};
      if (typeof options !== "object") throw new TypeError("Request: the options must be an object");
      const { method, headers, body, signal, redirect } = options;
      const { isSignal } = host("need", "abort");
      const verb = methodOf(method ?? from?.method ?? "GET");
      const listed = new Headers(headers ?? from?.headers);
      const [bytes, type] = body === undefined && from ? [bytesOf(from, "Request"), null] : bodyOf(body);
      if (bytes !== null && (verb === "GET" || verb === "HEAD")) throw new TypeError(`Request: ${verb} has no body; say method: "POST"`);
      super(bytes, type, listed);
      this.#url = from ? from.#url : host("url", `${input}`);
      this.#method = verb;
      this.#redirect = `${redirect ?? from?.redirect ?? "follow"}`;
      if (!redirects.includes(this.#redirect)) throw new TypeError('Request: redirect must be "follow", "error" or "manual"');
      this.#signal = signal === undefined ? from?.signal ?? null : signal;
      if (this.#signal !== null && !isSignal(this.#signal)) throw new TypeError("Request: signal must be an AbortSignal");
    }
    static { requestParts = (r) => ({ url: r.#url, method: r.#method, signal: r.#signal, redirect: r.#redirect }); }
    get [Symbol.toStringTag]() { return "Request"; }
    get url() { return this.#url; }
    get method() { return this.#method; }
    get signal() { return this.#signal; }
    get redirect() { return this.#redirect; }
    clone() { return new Request(this); }
  }
  function methodOf(method) {
    const text = `${method}`, upper = text.toUpperCase();
    if (text.length > 32 || !token.test(text)) throw new TypeError("Request: the method is not a word");
    if (["CONNECT", "TRACE", "TRACK"].includes(upper)) throw new TypeError(`Request: ${upper} is not allowed`);
    return ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"].includes(upper) ? upper : text;
  }

  let answered;
  class Response extends Body {
    #status; #statusText; #url = ""; #redirected = false;

    constructor(body, init) {
      const { status = 200, statusText = "", headers } = init ?? {};
      const code = Math.trunc(Number(status));
      if (!(code >= 200 && code <= 599)) throw new RangeError("Response: the status must be from 200 to 599");
      if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(`${statusText}`)) throw new TypeError("Response: statusText has characters that it can't have");
      const [bytes, type] = bodyOf(body);
      if (bytes !== null && nullBody.includes(code)) throw new TypeError(`Response: a response with the status ${code} has no body`);
      super(bytes, type, new Headers(headers));
      this.#status = code;
      this.#statusText = `${statusText}`;
    }
    static {
      answered = (answer) => {
        const response = new Response(nullBody.includes(answer.status) ? null : answer.body);
        for (const pair of all(raw(answer.headers))) all(response.headers).push(pair);
        response.#status = answer.status;
        response.#statusText = answer.statusText;
        response.#url = answer.url;
        response.#redirected = answer.redirected;
        return response;
      };
    }
    static json(data, init) {
      const text = JSON.stringify(data);
      if (text === undefined) throw new TypeError("Response.json: the value is nothing that JSON can hold");
      const headers = new Headers(init?.headers);
      if (!headers.has("content-type")) headers.set("content-type", "application/json");
      return new Response(text, { status: init?.status, statusText: init?.statusText, headers });
    }
    get [Symbol.toStringTag]() { return "Response"; }
    get status() { return this.#status; }
    get statusText() { return this.#statusText; }
    get ok() { return this.#status >= 200 && this.#status <= 299; }
    get url() { return this.#url; }
    get redirected() { return this.#redirected; }
    clone() {
      const bytes = bytesOf(this, "clone");
      const copy = new Response(bytes);
      for (const entry of all(this.headers)) all(copy.headers).push(entry);
      copy.#status = this.#status;
      copy.#statusText = this.#statusText;
      copy.#url = this.#url;
      copy.#redirected = this.#redirected;
      return copy;
    }
  }

  function sentHeaders(headers) {
    const flat = [];
    for (const [name, lower, value] of all(headers)) {
      if (ours.includes(lower)) continue;
      if (refused.includes(lower)) throw new TypeError(`fetch: the header ${name} can't be set`);
      if (/[^\t\x20-\x7e]/.test(value)) throw new TypeError(`fetch: the value of ${name} is not ASCII; encode it, for example with encodeURIComponent`);
      flat.push(name, value);
    }
    return flat;
  }

  // A function that is not async, so that the stack of an error shows who called it.
  function fetch(input, init) {
    const failure = new TypeError("fetch failed");
    return send(failure, input, init);
  }
  async function send(failure, input, init) {
    const request = new Request(input, init);
    const { url, method, signal, redirect } = requestParts(request);
    if (signal !== null) signal.throwIfAborted();
    const sent = host("send", method, url, sentHeaders(request.headers), bytesOf(request, "fetch"), redirect);
    const answer = await (signal === null ? sent.promise : aborting(signal, sent));
    if (answer.message === undefined) return answered(answer);
    const set = (object, key, value) => Object.defineProperty(object, key, { value, configurable: true, writable: true });
    set(failure, "message", `fetch failed: ${answer.message}`);
    if (answer.code !== "") {
      set(failure, "code", answer.code);
      const cause = new Error(answer.message);
      set(cause, "code", answer.code);
      set(failure, "cause", cause);
    }
    throw failure;
  }
  function aborting(signal, sent) {
    const { listen } = host("need", "abort");
    return new Promise((resolve, reject) => {
      const leave = listen(signal, (reason) => {
        sent.abort();
        reject(reason);
      });
      const done = (settle) => (value) => {
        leave();
        settle(value);
      };
      sent.promise.then(done(resolve), done(reject));
    });
  }

  seal(Body, Headers, Request, Response, fetch);
  return { Headers, Request, Response, fetch };
})
