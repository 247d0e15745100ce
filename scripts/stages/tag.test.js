import { expect, fixture, run, test } from "pipehook/test";
import tag from "./tag";

const deal = (/** @type {object} */ current) => fixture("updated.deal", { current });

test("a deal has the size of its value", async () => {
  for (const [value, size] of [[0, "small"], [4999, "small"], [5000, "medium"], [50000, "large"], [null, "small"]]) {
    const r = await run(tag, deal({ value }));
    expect(r.value).toEqual({ labels: { size } });
  }
});

test("a test is dropped", async () => {
  const r = await run(tag, deal({ title: "[test] ignore me" }));
  expect(r.dropped).toBe("a test");
});

test("what is no deal goes on as it is", async () => {
  const r = await run(tag, fixture("added.person"));
  expect(r.ok).toBe(true);
  expect(r.value).toBe(undefined);
});
