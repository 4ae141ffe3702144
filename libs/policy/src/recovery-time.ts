import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * Points in time as PostgreSQL counts them, in whole microseconds; here since 1970 in UTC, as bigint: a double in milliseconds would
 * be off by some, and a commit too much would be recovered.
 */
export type TimeUs = bigint;

/** ISO 8601 with a zone: `2026-05-01T03:00:00.123456+02:00`, also with a blank for the T, and `Z`, `+02` or `+0200`. */
const pattern = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(?::(\d{2})(?:[.,](\d{1,6}))?)?\s?(Z|[+-]\d{2}(?::?\d{2})?)$/iu;

const usPerMs = 1_000n;
const fractionDigits = 6;

/** Reads a point in time. One without a zone would mean another moment on each machine. Code: request_invalid. */
export function parseRecoveryTime(text: string): TimeUs {
  const [, day, minute, second = '00', fraction = '', zone = ''] = pattern.exec(text.trim()) ?? [];
  const offset = zone.toUpperCase() === 'Z' ? 'Z' : `${zone.slice(0, 3)}:${zone.slice(3).replace(':', '') || '00'}`;
  const ms = day === undefined || minute === undefined ? Number.NaN : Date.parse(`${day}T${minute}:${second}${offset}`);
  if (Number.isNaN(ms) || !isCalendarDay(day ?? '')) {
    throw new HoldfastError('request_invalid', `${JSON.stringify(text.slice(0, 60))} is no point in time`, {
      hint: 'give it with its offset from UTC, such as 2026-05-01T03:00:00+02:00',
    });
  }
  return BigInt(ms) * usPerMs + BigInt(fraction.padEnd(fractionDigits, '0'));
}

/** `2026-05-01T01:00:00.123456Z`: always UTC, always six digits, so that texts sort as times do. */
export function formatRecoveryTime(timeUs: TimeUs): string {
  const rest = ((timeUs % usPerMs) + usPerMs) % usPerMs;
  const iso = new Date(Number((timeUs - rest) / usPerMs)).toISOString();
  return `${iso.slice(0, -1)}${rest.toString().padStart(3, '0')}Z`;
}

/** Date.parse takes 31 April for 1 May. */
function isCalendarDay(day: string): boolean {
  const read = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(read.getTime()) && read.toISOString().startsWith(day);
}
