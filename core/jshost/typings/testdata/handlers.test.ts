import { test, expect, fixture, run, mock, request } from "pipehook/test";
import handler, { stage, source, typed, del } from "./handlers";
test("a types hold", async () => {
  mock.now("2026-01-05T09:00:00Z");
  mock.fetch("https://chat.example.com/*", { status: 200, json: { ok: true } });
  mock.fetch("https://chat.example.com/*", (r) => ({ json: r.url }));
  mock.secret("CHAT_URL", "https://chat.example.com/hook");
  const r = await run(handler, fixture("updated.deal", { current: { stage_id: 4 }, previous: { stage_id: 3 } }));
  expect(r.ok).toBe(true);
  expect(r.effects).toMatchSnapshot();
  await run(stage, fixture("added.deal"));
  await run(typed, fixture("added.deal"));
  await run(del, fixture("deleted.deal"));
  await run((event, ctx) => { ctx.drop("x"); }, fixture("deleted.deal"));
  const s = await run(source, request({ a: 1 }));
  expect(s.value).toEqual({ action: 1, object: expect.any(String) });
  await expect(Promise.resolve(3)).resolves.toBe(3);
  await expect(Promise.reject(new Error("x"))).rejects.not.toThrow("y");
});
