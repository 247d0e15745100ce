(function (host, seal) {
  "use strict";
  const codes = {
    InvalidCharacterError: 5, NotSupportedError: 9, SyntaxError: 12, InvalidAccessError: 15, TypeMismatchError: 17,
    AbortError: 20, QuotaExceededError: 22, TimeoutError: 23, DataCloneError: 25,
  };

  class DOMException extends Error {
    constructor(message = "", name = "Error") {
      super(`${message}`);
      Object.defineProperty(this, "name", { value: `${name}`, configurable: true, writable: true });
      Object.defineProperty(this, "code", { value: codes[this.name] ?? 0, configurable: true, writable: true });
    }
  }

  const token = {}; // only we make signals
  const most = 1000; // listeners of one signal
  let abort, listen, isSignal;

  class AbortSignal {
    #aborted = false;
    #reason;
    #onabort = null;
    #listeners = []; // { f, once }
    #inner = []; // what fetch and any() wait with; called before the listeners

    constructor(key) {
      if (key !== token) throw new TypeError("AbortSignal can't be made: use new AbortController().signal or AbortSignal.timeout(ms)");
    }
    get [Symbol.toStringTag]() { return "AbortSignal"; }
    get aborted() { return this.#aborted; }
    get reason() { return this.#reason; }
    throwIfAborted() {
      if (this.#aborted) throw this.#reason;
    }
    get onabort() { return this.#onabort; }
    set onabort(f) { this.#onabort = typeof f === "function" ? f : null; }

    addEventListener(type, f, options) {
      const listeners = this.#listeners;
      if (f === null || f === undefined) return;
      if (typeof f !== "function" && typeof f !== "object") throw new TypeError("addEventListener: the listener is not a function");
      if (`${type}` !== "abort" || this.#aborted || listeners.some((l) => l.f === f)) return;
      if (listeners.length === most) throw new RangeError(`addEventListener: a signal has at most ${most} listeners`);
      const once = typeof options === "object" && options !== null ? Boolean(options.once) : false;
      listeners.push({ f, once });
    }
    removeEventListener(type, f) {
      if (`${type}` === "abort") this.#listeners = this.#listeners.filter((l) => l.f !== f);
    }

    #abort(reason) {
      if (this.#aborted) return;
      this.#aborted = true;
      this.#reason = reason === undefined ? new DOMException("This operation was aborted", "AbortError") : reason;
      const inner = this.#inner;
      const listeners = this.#listeners.map((l) => l.f);
      this.#inner = this.#listeners = [];
      for (const f of inner) f(this.#reason);
      if (this.#onabort) listeners.push(this.#onabort);
      if (listeners.length === 0) return;
      const event = Object.freeze({ type: "abort", target: this, currentTarget: this });
      for (const f of listeners) {
        try {
          if (typeof f === "function") Reflect.apply(f, this, [event]);
          else f.handleEvent(event);
        } catch (error) {
          Promise.reject(error); // nobody handles it, so it is reported as such, and the others are called
        }
      }
    }

    static {
      isSignal = (v) => typeof v === "object" && v !== null && #aborted in v;
      abort = (signal, reason) => signal.#abort(reason);
      // Calls f once with the reason, now or later, unless what it returns is called before.
      listen = (signal, f) => {
        if (signal.#aborted) {
          f(signal.#reason);
          return () => {};
        }
        if (signal.#inner.length === most) throw new RangeError(`at most ${most} operations wait for one signal`);
        signal.#inner.push(f);
        return () => { signal.#inner = signal.#inner.filter((other) => other !== f); };
      };
    }

    static abort(reason) {
      const signal = new AbortSignal(token);
      signal.#abort(reason);
      return signal;
    }
    static timeout(milliseconds) {
      const wait = Number(milliseconds);
      if (!(wait >= 0 && wait <= Number.MAX_SAFE_INTEGER)) throw new TypeError("AbortSignal.timeout: give the milliseconds, from 0 up");
      const signal = new AbortSignal(token);
      host("after", wait, () => signal.#abort(new DOMException(`The operation took longer than ${wait} ms`, "TimeoutError")));
      return signal;
    }
    static any(signals) {
      const sources = [...signals];
      for (const source of sources) {
        if (!isSignal(source)) throw new TypeError("AbortSignal.any: give a list of signals");
      }
      const signal = new AbortSignal(token);
      const aborted = sources.find((source) => source.#aborted);
      if (aborted) {
        signal.#abort(aborted.#reason);
        return signal;
      }
      const leave = [];
      for (const source of new Set(sources)) {
        leave.push(listen(source, (reason) => {
          for (const f of leave) f();
          signal.#abort(reason);
        }));
      }
      return signal;
    }
  }

  class AbortController {
    #signal = new AbortSignal(token);
    get [Symbol.toStringTag]() { return "AbortController"; }
    get signal() { return this.#signal; }
    abort(reason) { abort(this.#signal, reason); }
  }

  // For Go: a signal, and what aborts it.
  function newSignal() {
    const signal = new AbortSignal(token);
    return { signal, abort: (name, message) => abort(signal, new DOMException(message, name)) };
  }

  const isException = (v) => v instanceof DOMException;
  seal(DOMException, AbortController, AbortSignal);
  return { DOMException, AbortController, AbortSignal, newSignal, listen, isSignal, isException };
})
