// Freezes what a part gives away: objects, classes with their prototypes, and every function in them.
(function seal(...things) {
  "use strict";
  for (const thing of things) {
    if ((typeof thing !== "function" && typeof thing !== "object") || thing === null || Object.isFrozen(thing)) continue;
    Object.freeze(thing);
    for (const key of Reflect.ownKeys(thing)) {
      const { value, get, set } = Reflect.getOwnPropertyDescriptor(thing, key);
      seal(value, get, set);
    }
  }
})
