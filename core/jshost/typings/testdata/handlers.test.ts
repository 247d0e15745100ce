import { expect, fixture, mock, request, run, test } from "pipehook/test";
import handler, { deleted, source, stage, typed } from "./handlers";

test("a test has types", async () => {
  mock.now("2026-01-05T09:00:00Z");
  mock.fetch("https://chat.example.com/*", { json: { ok: true } }, async (request) => ({ status: 200, json: await request.json() }), () => new Response("x"));
  mock.secret("CHAT_URL", "https://chat.example.com/hook");
  const r = await run(handler, fixture("updated.deal", { current: { stage_id: 4 }, previous: { stage_id: 3 } }));
  expect(r.ok).toBe(true);
  expect(r.effects[0].fetch).toContain("chat");
  expect(r.error?.retryAfter).toBeUndefined();
  await run(stage, fixture({ action: "added", object: "order" }));
  await run(typed, fixture<{ stage_id: number; title: string }>("updated.deal"));
  await run(deleted, fixture("deleted.deal"));
  await run((event, ctx) => ctx.drop(event.id), fixture("added.deal"), { attempt: 2 });
  expect((await run(source, request({ kind: "added", at: 5 }))).value).toEqual({ action: "added", object: expect.any(String) });
  await expect(Promise.reject(new Error("x"))).rejects.not.toThrow("y");
  // @ts-expect-error a number is expected of a number
  expect(5).toBe("5");
  // @ts-expect-error there is no such change
  fixture("updated.deal", { curent: {} });
});
