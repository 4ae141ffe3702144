import { HoldfastError } from '@holdfast/errors/holdfast-error';

const daySeconds = 86_400;
const secondsByUnit: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: daySeconds };
/** A token that outlives its owner's memory of it is a password that nobody changes. */
const maxDays = 3650;

/** Reads `90s`, `15m`, `12h`, `30d` as seconds. Codes: request_invalid. */
export function parseDurationSeconds(text: string): number {
  const match = /^(?<amount>[1-9]\d{0,8})(?<unit>[smhd])$/.exec(text)?.groups;
  const seconds = Number(match?.['amount']) * (secondsByUnit[match?.['unit'] ?? ''] ?? Number.NaN);
  if (!(seconds <= maxDays * daySeconds)) {
    throw new HoldfastError('request_invalid', `${JSON.stringify(text)} is no length of time between 1s and ${maxDays}d`, {
      hint: 'write it as a number and s, m, h or d, such as 12h',
    });
  }
  return seconds;
}
