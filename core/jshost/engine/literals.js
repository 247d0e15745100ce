// One value of each kind that a script can get without asking for its class by name.
(function () {
  "use strict";
  const thrown = (f) => {
    try {
      f();
    } catch (e) {
      return e;
    }
  };
  return [
    {}, [], "", 0, true, 0n, /x/, () => {}, async () => {}, function* () {}, (function* () {})(), [].values(), ""[Symbol.iterator](), "".matchAll("x"),
    (async () => {})(), Symbol.iterator, new ArrayBuffer(0), new AggregateError([]), new Error(), thrown(() => null.x), thrown(() => nowhere), thrown(() => [].length = -1), thrown(() => decodeURI("%")), thrown(() => JSON.parse("{")),
  ];
})();
