/**
 * Times as the format writes them: RFC 3339 with up to nine fraction digits, trailing zeros left off, and the zone of the program that
 * wrote them (`Z` for UTC). In memory nanoseconds since 1970; the zone is kept beside, because it is part of the bytes of a tree.
 */
export interface Timestamp {
  readonly ns: bigint;
  /** Minutes east of UTC. */
  readonly zoneMinutes: number;
}

const nsPerSecond = 1_000_000_000n;
const nsPerMinute = 60n * nsPerSecond;
/** RFC 3339 has four digits for the year. */
const firstNs = BigInt(Date.parse('0000-01-01T00:00:00Z')) * 1_000_000n;
const lastNs = BigInt(Date.parse('9999-12-31T23:59:59Z')) * 1_000_000n + 999_999_999n;
/** Zones reach from −12 to +14 hours; RFC 3339 can write a day less a minute. */
const maxZoneMinutes = 24 * 60 - 1;

/** Times outside the years 0 to 9999, which some file systems hold, are moved to the nearest that can be written. */
export function encodeTimestamp(ns: bigint, zoneMinutes = 0): string {
  let local = ns + BigInt(zoneMinutes) * nsPerMinute;
  if (local < firstNs) local = firstNs;
  if (local > lastNs) local = lastNs;
  let seconds = local / nsPerSecond;
  let fraction = Number(local % nsPerSecond);
  if (fraction < 0) {
    fraction += 1_000_000_000;
    seconds -= 1n;
  }
  return textOfSecond(Number(seconds)) + (fraction === 0 ? '' : fractionText(fraction)) + zoneText(zoneMinutes);
}

/** Files that were written together have their seconds in common. */
const secondTexts = new Map<number, string>();
const maxSecondTexts = 4096;

/** Date and time of day of a second since 1970, without zone. */
function textOfSecond(second: number): string {
  const known = secondTexts.get(second);
  if (known !== undefined) return known;
  if (secondTexts.size >= maxSecondTexts) secondTexts.clear();
  const text = new Date(second * 1000).toISOString().slice(0, 19);
  secondTexts.set(second, text);
  return text;
}

function fractionText(fraction: number): string {
  const digits = fraction.toString().padStart(9, '0');
  let end = digits.length;
  while (digits.charCodeAt(end - 1) === 0x30) end--;
  return `.${digits.slice(0, end)}`;
}

function zoneText(zoneMinutes: number): string {
  if (zoneMinutes === 0) return 'Z';
  const minutes = Math.abs(zoneMinutes);
  return `${zoneMinutes < 0 ? '-' : '+'}${twoDigits(Math.trunc(minutes / 60))}:${twoDigits(minutes % 60)}`;
}

const twoDigits = (value: number): string => value.toString().padStart(2, '0');

const pattern = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d{1,18}))?(?:Z|([+-])(\d\d):(\d\d))$/;

/** The inverse; digits below a nanosecond are cut off. null for what is no RFC 3339 time. */
export function decodeTimestamp(text: string): Timestamp | null {
  const match = pattern.exec(text);
  if (!match) return null;
  const [, day = '', fraction = '', sign, hours, minutes] = match;
  const utc = Date.parse(`${day}Z`);
  // Date takes 24:00:00 and, in some years, a 31st that is none; written again it has to be the same.
  if (Number.isNaN(utc) || !new Date(utc).toISOString().startsWith(day)) return null;
  const zoneMinutes = sign === undefined ? 0 : (Number(hours) * 60 + Number(minutes)) * (sign === '-' ? -1 : 1);
  if (Math.abs(zoneMinutes) > maxZoneMinutes) return null;
  const localNs = BigInt(utc) * 1_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, '0'));
  return { ns: localNs - BigInt(zoneMinutes) * nsPerMinute, zoneMinutes: zoneMinutes === 0 ? 0 : zoneMinutes };
}
