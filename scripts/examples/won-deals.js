// Collects won deals, one row for each, and says so to whoever listens to added.won_deal.
//
//   pipehook kv list --shared --prefix won/ --csv > won.csv
//
// A deal that is opened again loses its row.

/** @type {import("pipehook").Match} */
export const match = ["added.deal", "updated.deal", "deleted.deal"];

/** @type {import("pipehook").Handler} */
export default async function (event, ctx) {
  const key = `won/${event.objectId}`;
  const deal = event.current;

  if (event.isDelete() || deal.status !== "won") {
    await ctx.kv.shared.delete(key);
    return;
  }

  const row = {
    id: event.objectId, // text: every digit as sent
    title: deal.title,
    value: deal.value,
    currency: deal.currency,
    owner: deal.owner_id,
    won: deal.won_time,
  };
  await ctx.kv.shared.set(key, row, { ttl: "730d" });

  // Only the change to won is news. The same event emits the same key, so a second attempt of this
  // call tells nobody twice.
  if (event.isCreate() || event.changed("status")) {
    await ctx.emit("added.won_deal", { objectId: event.objectId, current: row });
  }
}
