(function (host, seal) {
  "use strict";
  const errors = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
  const views = {
    Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array,
    BigInt64Array, BigUint64Array,
  };
  const viewKind = Reflect.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag).get;
  const refuse = (what) => {
    const { DOMException } = host("need", "abort");
    throw new DOMException(`structuredClone: ${what} can't be cloned`, "DataCloneError");
  };
  const isWeak = (v) => [WeakMap, WeakSet].some(({ prototype: { has } }) => {
    try {
      return [true, false].includes(has.call(v, v));
    } catch {
      return false; // what has no such slot
    }
  });
  const define = (object, key, value, enumerable = true) =>
    Object.defineProperty(object, key, { value, enumerable, configurable: true, writable: true });

  // An empty copy for each kind; what fills it later, without recursion, is in the second place.
  const kinds = {
    Object: () => [{}, "members"],
    Arguments: () => [{}, "members"],
    Array: (from) => [Object.defineProperty([], "length", { value: from.length }), "members"],
    Map: () => [new Map(), "map"],
    Set: () => [new Set(), "set"],
    Date: (from) => [new Date(Date.prototype.getTime.call(from))],
    RegExp: (from) => [new RegExp(from.source, from.flags)],
    Boolean: (from) => [Object(Boolean.prototype.valueOf.call(from))],
    Number: (from) => [Object(Number.prototype.valueOf.call(from))],
    String: (from) => [Object(String.prototype.valueOf.call(from))],
    BigInt: (from) => [Object(BigInt.prototype.valueOf.call(from))],
    ArrayBuffer: (from) => [ArrayBuffer.prototype.slice.call(from, 0)],
    Error: (from) => [emptyError(from), "error"],
  };

  function emptyError(from) {
    const { DOMException, isException } = host("need", "abort");
    const text = (key) => {
      const { value } = Reflect.getOwnPropertyDescriptor(from, key) ?? {};
      return value === undefined ? undefined : `${value}`;
    };
    const message = text("message");
    const name = `${from.name}`;
    const to = isException(from) ? new DOMException(message, name) : new (Object.hasOwn(errors, name) ? errors[name] : Error)(message);
    const stack = text("stack");
    if (stack !== undefined) define(to, "stack", stack, false);
    return to;
  }

  function structuredClone(value, options) {
    if (arguments.length === 0) throw new TypeError("structuredClone: give the value to clone");
    if (options?.transfer !== undefined && [...options.transfer].length > 0) refuse("a transferred value");
    const known = new Map();
    const work = [];

    const copy = (from) => {
      if (typeof from === "symbol" || typeof from === "function") refuse(`a ${typeof from}`);
      if (typeof from !== "object" || from === null) return from;
      const before = known.get(from);
      if (before) return before;
      const made = shell(from), to = made[0]; // by index: to take a list apart costs more than all the rest
      known.set(from, to);
      if (made.length > 1) work.push({ fill: fill[made[1]], from, to });
      return to;
    };
    const shell = (from) => {
      const kind = host("kind", from);
      if (kind === "View") return [view(from)];
      if (!Object.hasOwn(kinds, kind)) refuse(`a value of the kind ${kind}`);
      if (kind === "Object" && Object.getPrototypeOf(from) !== Object.prototype) {
        if (isWeak(from)) refuse("a WeakMap or WeakSet");
        const ours = host("ours", from);
        if (ours !== "") refuse(`a value of the class ${ours}`);
      }
      return kinds[kind](from);
    };
    const view = (from) => {
      const kind = viewKind.call(from);
      if (kind === undefined) return new DataView(copy(from.buffer), from.byteOffset, from.byteLength);
      return new views[kind](copy(from.buffer), from.byteOffset, from.length);
    };
    const fill = {
      members: (from, to) => {
        for (const key of Object.keys(from)) define(to, key, copy(from[key]));
      },
      map: (from, to) => {
        const entries = [];
        Map.prototype.forEach.call(from, (v, k) => entries.push([k, v]));
        for (const [k, v] of entries) to.set(copy(k), copy(v));
      },
      set: (from, to) => {
        const values = [];
        Set.prototype.forEach.call(from, (v) => values.push(v));
        for (const v of values) to.add(copy(v));
      },
      error: (from, to) => {
        if (Object.hasOwn(from, "cause")) define(to, "cause", copy(from.cause), false);
      },
    };

    const result = copy(value);
    while (work.length > 0) {
      const next = work.pop();
      next.fill(next.from, next.to);
    }
    return result;
  }

  seal(structuredClone);
  return { structuredClone };
})
