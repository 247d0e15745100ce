// What the types of an account's own fields allow and what they refuse, checked by tsc with those of fields.json.
import type { Context, DealEvent, DealFields, Handler, LeadFields, PersonEvent } from "pipehook";

export default async function (event: DealEvent, ctx: Context) {
  if (event.fields.tier === 'Gold "1"') ctx.log.info("it is gold");
  // @ts-expect-error there is no such option
  if (event.fields.tier === "Bronze") ctx.log.info("never");
  const interests: readonly ("Golf" | "Chess" | number)[] = event.fields.interests ?? [];
  const ends: string | null | undefined = event.fields.contract_end;
  const size: number = (event.fields.größe ?? 0) + (event.fields.budget?.value ?? 0);
  const street: string | undefined = event.fields['odd-name "x"']?.value;
  const until: string | undefined = event.fields.meeting?.until;
  const before = event.previousFields.budget?.currency;
  // @ts-expect-error there is no such field
  event.fields.teir;
  // @ts-expect-error nor can it be changed
  event.fields.contract_end = "2027-01-01";
  ctx.log.info(event.current.title, { interests, ends, size, street, until, before, other: event.fields.new_kind });
}

export const typed: Handler<{ id: number }, { id?: number }, DealFields> = (event) => event.current.id + (event.fields.größe ?? 0);

export const person = (event: PersonEvent) => event.fields.shoe_size;

export const lead = (fields: LeadFields) => fields.contract_end;
