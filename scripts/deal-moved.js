// Says so when a deal moves to another stage. Change the text below and save: it is live at once.

// Which events to call it for, as action.object. "*.deal" is anything that happens to a deal.
export const match = ["updated.deal"];

/** @type {import("pipehook").Handler} */
export default function (event, ctx) {
  // An update tells about every field; this handler minds one of them.
  if (!event.changed("stage_id")) return;

  const { title, stage_id: to } = event.current; // the deal as it is now
  const { stage_id: from } = event.previous; // what it was before: the fields that changed

  ctx.log.info(`"${title}" moved from stage ${from} to ${to}`);
}
