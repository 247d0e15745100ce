// Gives a deal's person the deal's owner, when the deal gets another one.
//
// [[listener]]
// name        = "owner-in-step"
// script      = "scripts/examples/owner-in-step.ts"
// secrets     = { PIPEDRIVE_API_TOKEN = "${PIPEDRIVE_API_TOKEN}" }
// allow_hosts = ["api.pipedrive.com"]

import type { Context, Event } from "pipehook";

export const match = ["updated.deal"];

const api = "https://api.pipedrive.com/api/v2";

export default async function (event: Event, ctx: Context) {
  // What a program changed may be our own doing, and would come back for ever.
  if (event.isFromApi() || !event.changed("owner_id")) return;

  const { owner_id: owner, person_id: person } = event.current;
  if (!person) return;

  const headers = { "x-api-token": ctx.secrets.PIPEDRIVE_API_TOKEN, "Content-Type": "application/json" };
  const found = await call(ctx, `${api}/persons/${person}`, { headers });
  if (found.data.owner_id === owner) return; // done before: by hand, or by an earlier attempt

  await call(ctx, `${api}/persons/${person}`, { method: "PATCH", headers, body: JSON.stringify({ owner_id: owner }) });
  ctx.log.info("owner in step", { person, owner });
}

async function call(ctx: Context, url: string, init: RequestInit): Promise<any> {
  const response = await ctx.fetch(url, init);
  if (response.status === 429) ctx.retryAfter(Number(response.headers.get("x-ratelimit-reset") ?? 2), "the rate limit is used up");
  if (response.status === 404) ctx.fail("the person is gone");
  if (response.status === 401) ctx.fail("the API token is not good");
  if (!response.ok) throw new Error(`Pipedrive answered ${response.status}`);
  return response.json();
}
