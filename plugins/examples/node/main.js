#!/usr/bin/env node
// churn is an example of a listener in a language that pipehook has no SDK for: it needs gRPC and
// plugin.proto, and nothing of pipehook's own. It counts how often each record changes, and warns of
// those that change too often: two systems may be answering each other's changes.
//
// npm run build makes one file of it, with all that it needs. So pipehook can copy it, pin its
// checksum, and start it again when it is replaced, as any other plugin.
"use strict";

const plugin = require("./plugin.js");

// What the config table may hold, and what holds when it does not.
const config = { limit: 20, window: 60 };

let host; // what pipehook does for us, from configure on

plugin.serve({
  name: "churn",
  version: "1.0.0",

  // configure gets the config table and returns what is wrong with it: a message for each key. pipehook
  // shows them with their places in pipeline.toml.
  configure(table, theHost) {
    host = theHost;
    const mistakes = {};
    for (const [key, value] of Object.entries(table)) {
      if (!Object.hasOwn(config, key)) mistakes[key] = "unknown key";
      else if (!Number.isInteger(value) || value < 1) mistakes[key] = "must be a whole number above 0";
      else config[key] = value;
    }
    return mistakes;
  },

  // handle is called for each event, for several at once. What it throws is a failed attempt.
  async handle(event, call) {
    if (!event.object_id) throw plugin.permanent("the event does not say which record it is about");
    const key = `${event.object}:${event.object_id}`;
    const count = await counted(key, event.id, call);
    if (count === config.limit) { // once for each window
      plugin.log("WARN", "a record changes very often", { event: event.id, object: event.object, object_id: event.object_id, changes: count, seconds: config.window });
      await host.measure([{ name: "busy_records", value: 1 }], call);
    }
  },
});

// counted adds one to what pipehook keeps for the record. Other processes may do so at the same time, so
// it writes only what is still as it was read. An event that comes twice is counted once: a record's
// events come in their order.
async function counted(key, id, call) {
  for (;;) {
    const { ok: found, entry } = await host.kv({ op: "get", key }, call);
    const now = Date.now();
    let was = found ? JSON.parse(entry.value) : null;
    if (!was || was.until <= now) was = { count: 0, until: now + config.window * 1000 };
    if (was.last === id) return was.count;
    const is = { count: was.count + 1, until: was.until, last: id };
    const written = await host.kv({
      op: "set", key, value: Buffer.from(JSON.stringify(is)), ttl_ms: is.until - now,
      if_version: found ? entry.version : "", // empty: only when there is none
    }, call);
    if (written.ok) return is.count;
  }
}
