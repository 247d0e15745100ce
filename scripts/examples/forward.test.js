import { expect, fixture, mock, run, test } from "pipehook/test";
import forward from "./forward";

test("a deal is forwarded with a signature that the receiver can check", async () => {
  mock.now("2026-01-05T09:00:00Z");
  mock.secret("FORWARD_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  mock.fetch("https://hooks.example.com/crm", async (request) => {
    const headers = request.headers;
    const key = Uint8Array.from([...atob("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")], (c) => c.charCodeAt(0));
    const signed = `${headers.get("webhook-id")}.${headers.get("webhook-timestamp")}.${await request.text()}`;
    const good = headers.get("webhook-signature") === "v1," + crypto.hmac("SHA-256", key, signed, "base64");
    return { status: good ? 204 : 401 };
  });
  const r = await run(forward, fixture("updated.deal"));
  expect(r.ok).toBe(true);
  expect(r.effects).toHaveLength(1);
});

test("an endpoint that wants no more is not asked again", async () => {
  mock.secret("FORWARD_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  mock.fetch("https://hooks.example.com/crm", { status: 410 });
  const r = await run(forward, fixture("added.person"));
  expect(r.error?.permanent).toBe(true);
});
