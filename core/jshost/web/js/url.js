(function (host, seal) {
  "use strict";
  const most = 10000; // pairs of one URLSearchParams
  let attach, refill;

  class URLSearchParams {
    #pairs = []; // [name, value]
    #changed = null; // tells the URL that these are the parameters of

    constructor(init) {
      if (init === undefined) return;
      if (typeof init !== "object" && typeof init !== "function" || init === null) {
        this.#fill(`${init}`);
      } else if (#pairs in init) {
        for (const [name, value] of init.#pairs) this.#pairs.push([name, value]);
      } else if (init[Symbol.iterator] !== undefined && init[Symbol.iterator] !== null) {
        for (const pair of init) {
          const both = [...pair];
          if (both.length !== 2) throw new TypeError("URLSearchParams: each pair must have a name and a value");
          this.#add(both[0], both[1]);
        }
      } else {
        for (const name of Object.keys(init)) this.#add(name, init[name]);
      }
    }
    #fill(text) {
      const flat = host("parseForm", text.startsWith("?") ? text.slice(1) : text, most);
      const pairs = [];
      for (let i = 0; i < flat.length; i += 2) pairs.push([flat[i], flat[i + 1]]);
      this.#pairs = pairs;
    }
    #add(name, value) {
      if (this.#pairs.length === most) throw new RangeError(`URLSearchParams: at most ${most} parameters`);
      this.#pairs.push([host("text", `${name}`), host("text", `${value}`)]);
    }
    #tell() {
      if (this.#changed) this.#changed(this.toString());
    }
    static {
      attach = (params, changed) => { params.#changed = changed; };
      refill = (params, text) => params.#fill(text);
    }

    get [Symbol.toStringTag]() { return "URLSearchParams"; }
    get size() { return this.#pairs.length; }
    append(name, value) {
      this.#add(name, value);
      this.#tell();
    }
    delete(name, value) {
      const wanted = `${name}`, only = value === undefined ? undefined : `${value}`;
      this.#pairs = this.#pairs.filter(([n, v]) => n !== wanted || (only !== undefined && v !== only));
      this.#tell();
    }
    get(name) {
      const wanted = `${name}`;
      return this.#pairs.find(([n]) => n === wanted)?.[1] ?? null;
    }
    getAll(name) {
      const wanted = `${name}`;
      return this.#pairs.filter(([n]) => n === wanted).map(([, v]) => v);
    }
    has(name, value) {
      const wanted = `${name}`, only = value === undefined ? undefined : `${value}`;
      return this.#pairs.some(([n, v]) => n === wanted && (only === undefined || v === only));
    }
    set(name, value) {
      const wanted = host("text", `${name}`), text = host("text", `${value}`);
      const first = this.#pairs.findIndex(([n]) => n === wanted);
      if (first < 0) {
        this.#add(wanted, text);
      } else {
        this.#pairs[first][1] = text;
        this.#pairs = this.#pairs.filter(([n], i) => i <= first || n !== wanted);
      }
      this.#tell();
    }
    sort() {
      this.#pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
      this.#tell();
    }
    forEach(f, self) {
      for (const [name, value] of [...this.#pairs]) Reflect.apply(f, self, [value, name, this]);
    }
    keys() { return this.#pairs.map(([name]) => name).values(); }
    values() { return this.#pairs.map(([, value]) => value).values(); }
    entries() { return this.#pairs.map(([name, value]) => [name, value]).values(); }
    [Symbol.iterator]() { return this.entries(); }
    toString() {
      return this.#pairs.map(([name, value]) => host("formEncode", name) + "=" + host("formEncode", value)).join("&");
    }
  }

  // The places of a URL's parts in what the host makes of it.
  const [HREF, PROTOCOL, USERNAME, PASSWORD, HOST, HOSTNAME, PORT, PATHNAME, SEARCH, HASH, ORIGIN] = Array(11).keys();
  const optional = (base) => (base === undefined ? undefined : `${base}`);

  class URL {
    #parts;
    #params;

    constructor(url, base) { this.#parts = host("parse", `${url}`, optional(base)); }
    static canParse(url, base) { return URL.parse(url, base) !== null; }
    static parse(url, base) {
      const text = `${url}`, from = optional(base);
      try {
        return new URL(text, from);
      } catch {
        return null;
      }
    }
    #set(part, value) {
      const parts = host("set", this.#parts[HREF], part, `${value}`);
      if (parts !== null) this.#parts = parts;
      if (this.#params && (part === "href" || part === "search")) refill(this.#params, this.#parts[SEARCH]);
    }

    get [Symbol.toStringTag]() { return "URL"; }
    get href() { return this.#parts[HREF]; }
    set href(v) { this.#set("href", v); }
    get protocol() { return this.#parts[PROTOCOL]; }
    set protocol(v) { this.#set("protocol", v); }
    get username() { return this.#parts[USERNAME]; }
    set username(v) { this.#set("username", v); }
    get password() { return this.#parts[PASSWORD]; }
    set password(v) { this.#set("password", v); }
    get host() { return this.#parts[HOST]; }
    set host(v) { this.#set("host", v); }
    get hostname() { return this.#parts[HOSTNAME]; }
    set hostname(v) { this.#set("hostname", v); }
    get port() { return this.#parts[PORT]; }
    set port(v) { this.#set("port", v); }
    get pathname() { return this.#parts[PATHNAME]; }
    set pathname(v) { this.#set("pathname", v); }
    get search() { return this.#parts[SEARCH]; }
    set search(v) { this.#set("search", v); }
    get hash() { return this.#parts[HASH]; }
    set hash(v) { this.#set("hash", v); }
    get origin() { return this.#parts[ORIGIN]; }
    get searchParams() {
      if (!this.#params) {
        this.#params = new URLSearchParams(this.#parts[SEARCH]);
        attach(this.#params, (query) => { this.#parts = host("set", this.#parts[HREF], "search", query) ?? this.#parts; });
      }
      return this.#params;
    }
    toString() { return this.#parts[HREF]; }
    toJSON() { return this.#parts[HREF]; }
  }

  seal(URLSearchParams, URL);
  const isParams = (v) => v instanceof URLSearchParams;
  return { URL, URLSearchParams, isParams };
})
