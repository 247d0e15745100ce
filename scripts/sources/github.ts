// GitHub as a sender: a source says what a body is about, and pipehook does the rest.
//
// [[pipeline]]
// name   = "github"
// path   = "/github/webhook"
// source = "script"
// script = "scripts/sources/github.ts"
//
//   [[pipeline.stage]]
//   use       = "authenticate"
//   signature = { header = "X-Hub-Signature-256", prefix = "sha256=", secret = "${GITHUB_WEBHOOK_SECRET}", algorithm = "hmac-sha256", encoding = "hex" }
//
// Then listeners match updated.pull_request, added.issues, *.push, …

import type { SourceRequest, SourceResult } from "pipehook";

// GitHub has dozens of actions. These are the words that pipehook's patterns know; the others are
// kept as they are: completed.check_run.
const words: Record<string, string> = {
  opened: "added", created: "added", published: "added",
  edited: "updated", closed: "updated", reopened: "updated", synchronize: "updated", labeled: "updated",
  deleted: "deleted",
};

export default function (request: SourceRequest): SourceResult {
  const object = request.headers["x-github-event"];
  if (!object) throw new Error("X-GitHub-Event is missing: this is no webhook of GitHub's");
  const body = request.json();
  const subject = body[object] ?? body.issue ?? body.repository ?? null;

  return {
    object,
    action: words[body.action] ?? body.action ?? "added", // a push has no action: it is new
    objectId: subject?.id ?? body.after ?? "",
    current: subject,
    previous: body.changes ? was(body.changes) : null,
    occurredAt: subject?.updated_at ?? null,
    userId: body.sender?.id,
    // GitHub sends a delivery again under the same number, when somebody asks for it.
    key: request.headers["x-github-delivery"],
  };
}

// was turns { title: { from: "old" } } into { title: "old" }.
function was(changes: Record<string, { from?: unknown }>) {
  return Object.fromEntries(Object.entries(changes).map(([field, change]) => [field, change.from]));
}
