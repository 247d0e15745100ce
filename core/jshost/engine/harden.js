// Runs before a script's file. It takes away what a script never needs and what could end the
// process: source text as code (the parser recurses) and strings of any length.
(function () {
  "use strict";
  for (const f of [function () {}, async function () {}, function* () {}]) {
    const proto = Object.getPrototypeOf(f);
    Object.defineProperty(proto, "constructor", { value: undefined, configurable: false, writable: false });
  }
  delete globalThis.eval;
  delete globalThis.Function;
  const most = 4 << 20;
  for (const name of ["repeat", "padStart", "padEnd"]) {
    const original = String.prototype[name];
    const bounded = {
      [name](n, fill) {
        const length = name === "repeat" ? String(this).length * n : n;
        if (length > most) throw new RangeError(name + ": a string may have at most " + most + " characters");
        return original.call(this, n, fill);
      },
    };
    Object.defineProperty(String.prototype, name, { configurable: true, writable: true, enumerable: false, value: bounded[name] });
  }
  // Packages look for the global object by this name before they try Function("return this").
  Object.defineProperty(globalThis, "global", { configurable: true, writable: true, enumerable: false, value: globalThis });
})();
