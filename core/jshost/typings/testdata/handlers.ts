import type { Event, Context, Handler, StageHandler, SourceHandler } from "pipehook";
export const match = ["updated.deal"];
export default async function (event: Event, ctx: Context) {
  if (event.changed("stage_id")) {
    ctx.log.info("moved", { deal: event.objectId, to: event.current.stage_id });
    await ctx.fetch("https://chat.example.com/hook", { method: "POST", body: JSON.stringify({ text: event.current.title }) });
    if (event.current.value > 1000 && event.current.owner.name == "x") ctx.fail("no");
    const { title, stage_id: to } = event.current;
    const { stage_id: from } = event.previous;
    ctx.log.info(`"${title}" moved from stage ${from} to ${to}`);
  }
}
interface Deal { stage_id: number; title: string }
export const typed: Handler<Deal> = async (event, ctx) => {
  event.changed("stage_id"); event.changed("custom.a");
  const n: number = event.current.stage_id;
  const p: number | undefined = event.previous.stage_id;
  // @ts-expect-error no such field
  event.current.nope;
  // @ts-expect-error read only
  event.current.stage_id = 4;
  await ctx.kv.update<number>("seen", (v = 0) => v + 1, { ttl: "5m" });
  if (await ctx.kv.shared.set("a", 1, { ifVersion: null })) await ctx.emit("added.invoice", { objectId: 4 });
};
export const del = (event: Event<null, Deal>) => { const x: string = event.previous.title; const z: null = event.current; };
export const both = (event: Event<Deal | null>) => {
  // @ts-expect-error may be null
  event.current.title;
  event.current?.title;
};
export const stage: StageHandler = (event, ctx) => { if (event.current.spam) ctx.drop("spam"); return { labels: { a: "b" } }; };
export const source: SourceHandler = (request, ctx) => { const b = request.json(); return { action: b.a, object: "x" }; };
