// Tells a chat when a deal moves to another stage.
//
// [[listener]]
// name        = "notify-chat"
// script      = "scripts/examples/notify-chat.ts"
// secrets     = { CHAT_WEBHOOK = "${CHAT_WEBHOOK}" } # an incoming webhook of Slack, Mattermost, Google Chat, …
// allow_hosts = ["hooks.slack.com"]

import type { Context, Event } from "pipehook";

export const match = ["updated.deal"];

export default async function (event: Event, ctx: Context) {
  if (!event.changed("stage_id")) return;

  const { title, value, currency, stage_id: to } = event.current;
  const { stage_id: from } = event.previous;

  const response = await ctx.fetch(ctx.secrets.CHAT_WEBHOOK, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text: `*${title}* (${value} ${currency}) moved from stage ${from} to ${to}` }),
  });

  // Chats limit how fast one may talk. Come back when they say so, without using up the patience
  // that is meant for outages.
  if (response.status === 429) ctx.retryAfter(Number(response.headers.get("Retry-After") ?? 30), "the chat is busy");
  // What is wrong with the message or the address stays wrong, however often it is tried.
  if (response.status >= 400 && response.status < 500) ctx.fail(`the chat refused the message: ${response.status}`);
  // Anything else may be better in a moment: a failed call is made again.
  if (!response.ok) throw new Error(`the chat answered ${response.status}`);
}
