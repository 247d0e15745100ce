// What a script never needs and what could end the process: source text as code (the parser
// recurses) and strings of any length.
(function () {
  "use strict";
  for (const f of [function () {}, async function () {}, function* () {}, () => 0, async () => 0]) {
    const proto = Object.getPrototypeOf(f);
    Object.defineProperty(proto, "constructor", { value: undefined, configurable: false, writable: false });
  }
  delete globalThis.eval;
  delete globalThis.Function;
  const most = 4 << 20;
  for (const name of ["repeat", "padStart", "padEnd"]) {
    const original = String.prototype[name];
    Object.defineProperty(String.prototype, name, {
      configurable: true, writable: true, enumerable: false,
      value: function (n, fill) {
        const length = name === "repeat" ? String(this).length * n : n;
        if (length > most) throw new RangeError(name + ": a string may have at most " + most + " characters");
        return original.call(this, n, fill);
      },
    });
  }
})();
