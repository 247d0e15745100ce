// What coretest.ObedientStage does, as a script.
import { tell } from "./listener.js";

export default async function (event, ctx) {
  const text = event.raw;
  switch (event.object) {
    case "continue":
      return;
    case "drop":
      ctx.drop(text);
    case "tell":
      ctx.drop("[" + tell(event, event.action) + "]");
    case "reject":
      ctx.reject(Number(event.objectId), text);
    case "fail":
      throw new Error(text);
    case "slow":
      await new Promise((resolve) => setTimeout(resolve, 3600_000));
    case "scribble":
      return scribble(event);
    case "label":
      return { labels: { [text.split("=")[0]]: text.split("=")[1] } };
    case "unlabel":
      return { labels: { [text]: null } };
    case "labels":
      return { labels: Object.fromEntries(Array.from({ length: Number(text) }, (_, i) => ["label" + i, "x"])) };
    case "action":
    case "object":
      return { [event.object]: text };
    case "objectid":
      return { objectId: text };
    case "current":
    case "previous":
      return { [event.object]: JSON.parse(text) };
    case "retitle":
      return { current: { ...event.current, title: text } };
  }
  throw new Error("nobody has said what " + event.object + " means");
}

function scribble(event) {
  for (const key of ["id", "pipeline", "source", "meta", "version", "attempt", "occurredAt", "receivedAt", "raw", "gathered", "labels", "current"]) {
    try {
      event[key] = "x";
    } catch {}
    try {
      event[key].x = "x";
    } catch {}
  }
}
