// The parts of ctx.kv that are made of the others.
(function (entry, set) {
  "use strict";
  const tries = 50;
  return {
    async get(key) {
      const found = await entry(key);
      return found === undefined ? undefined : found.value;
    },
    async update(key, change, options) {
      if (typeof change !== "function") throw new TypeError("ctx.kv.update wants a function that makes the new value of the old one");
      const ttl = options === undefined || options === null ? undefined : options.ttl;
      for (let i = 0; i < tries; i++) {
        const found = await entry(key);
        const value = await change(found === undefined ? undefined : found.value);
        if (value === undefined) throw new TypeError("ctx.kv.update: the function returned undefined, which can't be kept: return the value, or use ctx.kv.delete");
        if (await set(key, value, { ttl, ifVersion: found === undefined ? null : found.version })) return value;
      }
      const lost = new Error("ctx.kv.update: others changed " + key + " " + tries + " times meanwhile");
      lost.code = "ECONFLICT";
      throw lost;
    },
  };
})
