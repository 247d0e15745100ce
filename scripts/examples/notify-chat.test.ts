import { expect, fixture, mock, run, test } from "pipehook/test";
import notify from "./notify-chat";

const hook = "https://hooks.slack.com/services/T0/B0/secret";
const moved = fixture("updated.deal", { current: { title: "Forty seats", value: 12000, currency: "EUR", stage_id: 4 }, previous: { stage_id: 3 } });

test("a deal that moved is told, once", async () => {
  mock.secret("CHAT_WEBHOOK", hook);
  mock.fetch(hook, { status: 200 });
  const r = await run(notify, moved);
  expect(r.ok).toBe(true);
  expect(r.effects).toMatchSnapshot();
});

test("a deal that stayed where it is is not told", async () => {
  const r = await run(notify, fixture("updated.deal", { previous: { title: "Thirty seats", stage_id: undefined } }));
  expect(r.ok).toBe(true);
  expect(r.effects).toEqual([]);
});

test("a chat that is busy is asked again when it says so", async () => {
  mock.secret("CHAT_WEBHOOK", hook);
  mock.fetch(hook, { status: 429, headers: { "Retry-After": "7" } });
  const r = await run(notify, moved);
  expect(r.error?.retryAfter).toBe(7);
});

test("a webhook that is gone is given up", async () => {
  mock.secret("CHAT_WEBHOOK", hook);
  mock.fetch(hook, { status: 404 });
  const r = await run(notify, moved);
  expect(r.error?.permanent).toBe(true);
});

test("a chat that is down is tried again", async () => {
  mock.secret("CHAT_WEBHOOK", hook);
  mock.fetch(hook, { status: 503 });
  const r = await run(notify, moved);
  expect(r.ok).toBe(false);
  expect(r.error?.permanent).toBe(false);
  expect(r.error?.message).toContain("503");
});
