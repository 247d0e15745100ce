// The parts of ctx.pipedrive that are made of a single call.
(function (ask) {
  "use strict";
  const most = 10000; // records of one list, unless a limit says how many are wanted
  const object = (what, v) => {
    if (v === undefined || v === null) return {};
    if (typeof v !== "object") throw new TypeError(what + ": it must be an object");
    return v;
  };
  const items = (what, data) => {
    if (data === undefined || data === null) return [];
    if (Array.isArray(data)) return data;
    const inner = typeof data === "object" ? Object.values(data) : [];
    if (inner.length === 1 && Array.isArray(inner[0])) return inner[0];
    throw new TypeError(what + ": the answer is no list: use ctx.pipedrive.get");
  };
  const page = async (path, query) => {
    const r = await ask("page", "GET", path, query);
    return { items: items("ctx.pipedrive.page", r.data), next: r.next === "" ? null : r.next };
  };
  return {
    get: async (path, query) => (await ask("get", "GET", path, query)).data,
    page,
    async list(path, query, options) {
      const { limit } = object("ctx.pipedrive.list: the options", options);
      if (limit !== undefined && !(Number.isInteger(limit) && limit >= 1)) throw new TypeError("ctx.pipedrive.list: limit must be a whole number from 1");
      const asked = { ...object("ctx.pipedrive.list: the query", query) };
      asked.limit ??= Math.min(limit ?? 500, 500);
      const all = [];
      for (;;) {
        const { items: more, next } = await page(path, asked);
        for (const one of more) {
          if (limit !== undefined && all.length >= limit) return all;
          all.push(one);
        }
        if (next === null || limit !== undefined && all.length >= limit) return all;
        if (all.length >= most) {
          const e = new Error("ctx.pipedrive.list: there are more than " + most + " records: narrow the query, say { limit }, or go through them with ctx.pipedrive.page");
          e.code = "ELIMIT";
          throw e;
        }
        asked[path.startsWith("/api/v2/") ? "cursor" : "start"] = next;
      }
    },
    post: async (path, body) => (await ask("post", "POST", path, undefined, body)).data,
    put: async (path, body) => (await ask("put", "PUT", path, undefined, body)).data,
    patch: async (path, body) => (await ask("patch", "PATCH", path, undefined, body)).data,
    delete: async (path) => (await ask("delete", "DELETE", path)).data,
  };
})
