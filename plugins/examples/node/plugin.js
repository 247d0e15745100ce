// What a listener needs to be a plugin of pipehook: the handshake, the services that pipehook calls,
// and the one that it answers. Nothing here knows what the listener does.
"use strict";

const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const protobuf = require("protobufjs");

// The build puts the texts of the protocol into the file.
const api = load(require("../../sdk/wire/pluginv1/plugin.proto")).pipehook.plugin.v1;
const health = load(require("./health.proto")).grpc.health.v1;
const controller = load(require("./controller.proto")).plugin;

// load makes services of a protocol's text. 64-bit numbers become text: a number of JavaScript would
// round the nanoseconds of a time.
function load(text) {
  const { root } = protobuf.parse(text, { keepCase: true });
  return grpc.loadPackageDefinition(loader.fromJSON(root.toJSON(), { longs: String, enums: String, defaults: true }));
}

const minor = 1; // of the protocol pipehook.plugin.v1, as this file knows it
const longest = 192 << 20; // bytes of one message: an event with a large body

// log writes a line to pipehook's log. There, event is what pipehook logs of the same event.
function log(level, msg, fields = {}) {
  process.stderr.write(JSON.stringify({ time: new Date().toISOString(), level, msg, ...fields }) + "\n");
}

// permanent makes an error that says that another attempt would not help.
function permanent(message) {
  return Object.assign(new Error(message), { permanent: true });
}

// serve serves the listener until pipehook ends it.
function serve(listener) {
  if (process.env.PIPEHOOK_PLUGIN !== "92f0d4c2-listeners-and-more") {
    console.error(`${listener.name} ${listener.version} is a plugin of pipehook, which starts it itself.`);
    process.exit(2);
  }
  if (process.env.PLUGIN_CLIENT_CERT) {
    console.error(`${listener.name} serves without TLS: set tls = "off" for it in pipeline.toml`);
    process.exit(2);
  }
  const server = new grpc.Server({ "grpc.max_receive_message_length": longest, "grpc.max_send_message_length": -1 });
  server.addService(api.PluginService.service, { Configure: (call, answer) => answer(null, configure(listener, call.request)) });
  server.addService(api.ListenerService.service, {
    Handle: (call, answer) => handleAll(listener, call.request).then((results) => answer(null, { results })),
    HandleBatch: (call) => handleBatch(listener, call),
  });
  server.addService(health.Health.service, { Check: (_, answer) => answer(null, { status: "SERVING" }) });
  server.addService(controller.GRPCController.service, {
    Shutdown(_, answer) { // no call runs any more
      answer(null, {});
      server.tryShutdown(() => process.exit(0));
    },
  });
  const socket = path.join(process.env.PLUGIN_UNIX_SOCKET_DIR, listener.name + ".sock");
  server.bindAsync("unix:" + socket, grpc.ServerCredentials.createInsecure(), (err) => {
    if (err) throw err;
    // The first line: go-plugin's own version, the protocol's, and where we are. Nothing may be printed before it.
    process.stdout.write(`1|1|unix|${socket}|grpc\n`);
  });
  outliveNobody();
}

// outliveNobody ends the process soon after pipehook's. While that lives, a service manager's signal to all
// processes is not for us: events may still run.
function outliveNobody() {
  const parent = process.ppid;
  setInterval(() => { if (process.ppid !== parent) process.exit(1); }, 1000).unref();
  for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => {});
}

// configure answers what the plugin is and does, and what is wrong with its configuration.
function configure(listener, request) {
  const table = JSON.parse(request.config.toString() || "{}");
  const mistakes = listener.configure(table, connect(request.host, request.secrets));
  return {
    name: listener.name, version: listener.version, minor, does: ["listener", "listener.batch"],
    mistakes: Object.entries(mistakes).map(([key, message]) => ({ key, message })),
  };
}

// handleAll takes events one after another, with one time for all.
async function handleAll(listener, { events, calls, timeout_ms }) {
  const deadline = Date.now() + Number(timeout_ms);
  const results = [];
  for (const [i, event] of events.entries()) results.push(await handleOne(listener, event, calls[i], deadline));
  return results;
}

// handleBatch gives each event its own time, from when it begins, and its result as soon as it is there.
async function handleBatch(listener, call) {
  const { events, calls, timeout_ms } = call.request;
  for (const [i, event] of events.entries()) {
    if (call.cancelled) return; // nobody waits any more
    call.write({ results: [await handleOne(listener, event, calls[i], Date.now() + Number(timeout_ms))] });
  }
  call.end();
}

// handleOne has the result of an event at its deadline at the latest: a plugin that is silent for a second
// more is ended.
async function handleOne(listener, event, { id = "0", attempt = "0" } = {}, deadline) {
  const began = process.hrtime.bigint();
  const took = () => String(process.hrtime.bigint() - began);
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("it took too long")), deadline - Date.now());
  });
  try {
    await Promise.race([listener.handle(event, { id, attempt: Number(attempt), deadline }), late]);
    return { outcome: "OUTCOME_DONE", took_ns: took() };
  } catch (err) {
    const outcome = err.permanent ? "OUTCOME_PERMANENT" : "OUTCOME_FAILED";
    return { outcome, message: err.message, retry_after_ms: err.retryAfter ?? 0, took_ns: took() };
  } finally {
    clearTimeout(timer);
  }
}

// connect is what a listener can ask pipehook for. Each question names the call that it is asked in.
function connect(address, secrets) {
  if (!address?.address) {
    const nobody = async () => { throw new Error("pipehook can't be asked for anything"); };
    return { secrets, kv: nobody, measure: nobody };
  }
  const client = new api.HostService("unix:" + address.address, grpc.credentials.createInsecure());
  const metadata = new grpc.Metadata();
  metadata.set("pipehook-token", address.token);
  const ask = (method, request, { deadline }) => new Promise((resolve, reject) => {
    client[method](request, metadata, { deadline }, (err, answer) => {
      if (err) reject(err);
      else if (answer.failure) reject(Object.assign(new Error(answer.failure.message), { code: answer.failure.code }));
      else resolve(answer);
    });
  });
  return {
    secrets,
    kv: (request, call) => ask("KV", { ...request, call: call.id }, call),
    measure: (measures, call) => ask("Measure", { measures }, call),
  };
}

module.exports = { serve, log, permanent };
