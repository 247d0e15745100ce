// Says so when a deal moves to another stage. Change the text and save: the next event shows it.
export const match = ["updated.deal"];

export default function (event, ctx) {
  if (!event.changed("stage_id")) return;
  const { stage_id: from } = event.previous;
  const { title, stage_id: to } = event.current;
  ctx.log.info(`"${title}" moved from stage ${from} to ${to}`);
}
