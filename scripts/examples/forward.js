// Forwards events to another endpoint, signed as Standard Webhooks says, so that any of its
// libraries can check where they come from.
//
// [[listener]]
// name        = "forward"
// script      = "scripts/examples/forward.js"
// match       = ["*.deal", "*.person"]
// secrets     = { FORWARD_SECRET = "${FORWARD_SECRET}" } # whsec_ and base64
// allow_hosts = ["hooks.example.com"]

const endpoint = "https://hooks.example.com/crm";

/** @type {import("pipehook").Handler} */
export default async function (event, ctx) {
  const body = JSON.stringify({
    type: `${event.object}.${event.action}`,
    timestamp: event.occurredAt ?? event.receivedAt,
    data: event.current,
    previous: event.previous,
  });
  const at = Math.floor(Date.now() / 1000);
  const key = Uint8Array.from([...atob(ctx.secrets.FORWARD_SECRET.replace(/^whsec_/, ""))], (c) => c.charCodeAt(0));

  // The event's id stays the same however often this is tried: the receiver can tell a repetition.
  const response = await ctx.fetch(endpoint, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "webhook-id": event.id,
      "webhook-timestamp": String(at),
      "webhook-signature": "v1," + crypto.hmac("SHA-256", key, `${event.id}.${at}.${body}`, "base64"),
    },
    body,
  });
  if (response.status === 410) ctx.fail("the endpoint wants no more");
  if (!response.ok) throw new Error(`the endpoint answered ${response.status}`);
}
