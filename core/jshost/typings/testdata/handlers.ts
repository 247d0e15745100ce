// What the declarations allow and what they refuse, checked by tsc.
import type { Context, Event, Handler, SourceHandler, StageHandler } from "pipehook";

export const match = ["updated.deal"];

// Without types of one's own, fields are used as they come.
export default async function (event: Event, ctx: Context) {
  if (!event.changed("stage_id")) return;
  const { title, stage_id: to } = event.current;
  const { stage_id: from } = event.previous;
  ctx.log.info(`"${title}" moved from stage ${from} to ${to}`, { deal: event.objectId, by: event.getUserId(), labels: event.labels.size });
  if (event.current.value > 1000 && event.current.owner.name === "somebody") ctx.fail("not this one");
  const response = await ctx.fetch("https://chat.example.com/hook", { method: "POST", body: JSON.stringify({ text: title }), signal: ctx.signal });
  if (response.status === 429) ctx.retryAfter(Number(response.headers.get("Retry-After") ?? 30), "busy");
  // @ts-expect-error the event can't be changed
  event.current.title = "other";
  // @ts-expect-error a listener can't drop
  ctx.drop("no");
}

interface Deal {
  stage_id: number;
  title: string;
}

export const typed: Handler<Deal> = async (event, ctx) => {
  event.changed("stage_id");
  event.changed("custom_fields.abc");
  const now: number = event.current.stage_id;
  const before: number | undefined = event.previous.stage_id;
  // @ts-expect-error there is no such field
  event.current.stage;
  // @ts-expect-error nor can it be changed
  event.current.stage_id = (before ?? 0) + now;
  await ctx.kv.update<number>("moved", (n = 0) => n + 1, { ttl: "5m" });
  const entry = await ctx.kv.entry<Deal>("last");
  if (await ctx.kv.set("last", event.current, { ifVersion: entry?.version ?? null })) await ctx.emit("added.move", { objectId: event.objectId, current: { now } });
  // @ts-expect-error a key is text
  await ctx.kv.shared.get(5);
};

export const deleted = (event: Event<null, Deal>) => event.previous.title.length + (event.current === null ? 1 : 0);

export const several = (event: Event<Deal | null>) => {
  // @ts-expect-error it may be null
  event.current.title;
  return event.current?.title;
};

export const stage: StageHandler = (event, ctx) => {
  if (event.current.spam) ctx.drop("spam");
  if (event.isDelete()) ctx.reject(422, "not here");
  return { labels: { size: "large", other: null } };
};

export const wrongStage: StageHandler = () => ({
  // @ts-expect-error a label is text
  labels: { size: 5 },
});

export const source: SourceHandler = (request, ctx) => {
  ctx.log.debug(request.headers["x-kind"] ?? "none");
  const body = request.json<{ kind: string; at: number }>();
  return { action: body.kind, object: "order", occurredAt: body.at, key: crypto.hmac("SHA-256", ctx.secrets.KEY, request.body, "hex") };
};

// Neither Node.js nor a browser is around.
// @ts-expect-error
export const node = process.env;
// @ts-expect-error
export const dom = document.title;
