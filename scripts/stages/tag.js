// A stage that tags deals by their size, and drops what test users make. Listeners can choose by
// the tag: where = { "labels.size" = "large" }.
//
//   [[pipeline.stage]]
//   use    = "script"
//   script = "scripts/stages/tag.js"

/** @type {import("pipehook").StageHandler} */
export default function (event, ctx) {
  if (!event.isObjectType("deal") || !event.current) return; // nothing to say: the event goes on as it is

  if (String(event.current.title).startsWith("[test]")) ctx.drop("a test");

  const value = event.current.value ?? 0;
  return { labels: { size: value >= 50_000 ? "large" : value >= 5_000 ? "medium" : "small" } };
}
