import { expect, fixture, mock, run, test } from "pipehook/test";
import keep from "./owner-in-step";

const person = "https://api.pipedrive.com/api/v2/persons/8";
const given = fixture("updated.deal", { current: { owner_id: 22, person_id: 8 }, previous: { owner_id: 11 } });

test("the person gets the deal's new owner", async () => {
  mock.secret("PIPEDRIVE_API_TOKEN", "0123456789012345678901234567890123456789");
  mock.fetch(person, (request) => ({ json: { success: true, data: { id: 8, owner_id: request.method === "GET" ? 11 : 22 } } }));
  const r = await run(keep, given);
  expect(r.ok).toBe(true);
  expect(r.effects).toMatchSnapshot();
});

test("a person who has the owner already is left alone", async () => {
  mock.secret("PIPEDRIVE_API_TOKEN", "0123456789012345678901234567890123456789");
  mock.fetch(person, { json: { success: true, data: { id: 8, owner_id: 22 } } });
  const r = await run(keep, given);
  expect(r.effects).toHaveLength(1);
});

test("what a program changed is not answered, so that nothing goes round in circles", async () => {
  const r = await run(keep, fixture("updated.deal", { current: { owner_id: 22 }, previous: { owner_id: 11 }, meta: { change_source: "api" } }));
  expect(r.effects).toEqual([]);
});

test("a used up rate limit is waited for", async () => {
  mock.secret("PIPEDRIVE_API_TOKEN", "0123456789012345678901234567890123456789");
  mock.fetch(person, { status: 429, headers: { "x-ratelimit-reset": "2" } });
  const r = await run(keep, given);
  expect(r.error?.retryAfter).toBe(2);
});
