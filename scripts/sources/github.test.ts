import { expect, request, run, test } from "pipehook/test";
import github from "./github";

const opened = {
  action: "opened",
  pull_request: { id: 9007199254740993n.toString(), title: "Faster", updated_at: "2026-01-05T09:00:00Z" },
  repository: { id: 1 },
  sender: { id: 42 },
};
const headers = { "X-GitHub-Event": "pull_request", "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958" };

test("a pull request that was opened is added.pull_request", async () => {
  const r = await run(github, request(opened, headers));
  expect(r.ok).toBe(true);
  expect(r.value).toMatchSnapshot();
});

test("an edited title is in previous", async () => {
  const r = await run(github, request({ ...opened, action: "edited", changes: { title: { from: "Fast" } } }, headers));
  expect(r.value).toMatchObject({ action: "updated", previous: { title: "Fast" } });
});

test("an action that pipehook has no word for is kept", async () => {
  const r = await run(github, request({ action: "completed", check_run: { id: 5 } }, { ...headers, "X-GitHub-Event": "check_run" }));
  expect(r.value).toMatchObject({ action: "completed", object: "check_run", objectId: 5 });
});

test("what is not from GitHub is refused", async () => {
  const r = await run(github, request({}, {}));
  expect(r.error?.message).toContain("X-GitHub-Event");
});
