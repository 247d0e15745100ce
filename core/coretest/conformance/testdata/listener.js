// What coretest.Obey does, as a script.
export default async function (event, ctx) {
  switch (event.object) {
    case "succeed":
      return;
    case "fail":
      throw new Error(event.raw);
    case "permanent":
      ctx.fail(event.raw);
    case "later":
      ctx.retryAfter(event.objectId, event.raw);
    case "slow":
      await new Promise((resolve) => setTimeout(resolve, 3600_000));
    case "tell":
      throw new Error("[" + tell(event, event.action) + "]");
  }
  throw new Error("nobody has said what " + event.object + " means");
}

export function tell(event, part) {
  switch (part) {
    case "sum":
      return crypto.digest("SHA-256", event.raw, "hex");
    case "big":
      return String(event.current?.big ?? "");
    case "words":
      return words(event);
    case "changed":
      return Object.keys(event.changes()).sort().join(",");
    case "objectid":
      return event.objectId;
    case "current":
    case "previous":
    case "meta":
    case "fields":
    case "previousFields":
      return JSON.stringify(event[part]);
    case "received":
      return time(event.receivedAt);
    case "occurred":
      return time(event.occurredAt);
    case "labels":
      return Object.keys(event.labels).sort().map((key) => key + "=" + event.labels[key]).join(",");
    case "gathered":
      return event.gathered.join(",");
    case "user":
      return event.getUserId() ?? "";
    case "company":
      return event.getCompanyId() ?? "";
    case "changesource":
      return event.getChangeSource() ?? "";
  }
  return String(event[part]);
}

// time is without the zeroes that RFC 3339 does without.
const time = (text) => (text ?? "").replace(/\.?0+Z$/, "Z");

function words(event) {
  const asked = {
    create: "isCreate", update: "isUpdate", delete: "isDelete", merge: "isMerge", app: "isFromApp", api: "isFromApi",
    retry: "isRetry", bulk: "isBulkUpdate",
  };
  return Object.keys(asked).filter((word) => event[asked[word]]()).join(",");
}
