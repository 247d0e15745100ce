import { expect, fixture, run, test } from "pipehook/test";
import collect from "./won-deals";

const won = fixture("updated.deal", {
  current: { title: "Forty seats", value: 12000, currency: "EUR", owner_id: 7, status: "won", won_time: "2026-01-05T09:00:00Z" },
  previous: { status: "open" },
});

test("a deal that was won becomes a row, and news", async () => {
  const r = await run(collect, won);
  expect(r.ok).toBe(true);
  expect(r.effects).toMatchSnapshot();
});

test("a won deal that only changed its title is no news, and its row is new", async () => {
  const r = await run(collect, fixture("updated.deal", { current: { status: "won" }, previous: { title: "Thirty seats" } }));
  expect(r.effects).toHaveLength(1);
  expect(r.effects[0]).toMatchObject({ kv: "set" });
});

test("a deal that is open again loses its row", async () => {
  const r = await run(collect, fixture("updated.deal", { current: { status: "open" }, previous: { status: "won" } }));
  expect(r.effects).toHaveLength(1);
  expect(r.effects[0]).toMatchObject({ kv: "delete" });
});
