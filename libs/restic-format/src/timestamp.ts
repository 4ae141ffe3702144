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

/** A node's times are often one and the same. */
let lastNsText = { ns: 0n, zoneMinutes: 0, text: '1970-01-01T00:00:00Z' };

/** Times outside the years 0 to 9999, which some file systems hold, are moved to the nearest that can be written. */
export function encodeTimestamp(ns: bigint, zoneMinutes = 0): string {
  if (lastNsText.ns === ns && lastNsText.zoneMinutes === zoneMinutes) return lastNsText.text;
  let local = ns + BigInt(zoneMinutes) * nsPerMinute;
  if (local < firstNs) local = firstNs;
  if (local > lastNs) local = lastNs;
  let seconds = local / nsPerSecond;
  let fraction = Number(local % nsPerSecond);
  if (fraction < 0) {
    fraction += 1_000_000_000;
    seconds -= 1n;
  }
  const text = textOfSecond(Number(seconds)) + (fraction === 0 ? '' : fractionText(fraction)) + zoneText(zoneMinutes);
  lastNsText = { ns, zoneMinutes, text };
  return text;
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

const shortestBytes = '0000-00-00T00:00:00Z'.length;
const maxFractionDigits = 18;
const nsDigits = 9;
const msPerSecond = 1000;

/**
 * The inverse; digits below a nanosecond are cut off. null for what is no RFC 3339 time. Character by character: a tree has three
 * times a node, and matching a pattern against each is most of what reading a tree costs.
 */
export function decodeTimestamp(text: string): Timestamp | null {
  const seconds = text.length < shortestBytes ? Number.NaN : secondsOf(text);
  if (Number.isNaN(seconds)) return null;
  let at = '0000-00-00T00:00:00'.length;
  let fractionNs = 0;
  if (text[at] === '.' || text[at] === ',') {
    const first = ++at;
    for (let digit = digitAt(text, at); digit >= 0; digit = digitAt(text, ++at))
      if (at - first < nsDigits) fractionNs = fractionNs * 10 + digit;
    const count = at - first;
    if (count === 0 || count > maxFractionDigits) return null;
    for (let nth = count; nth < nsDigits; nth++) fractionNs *= 10;
  }
  const zoneMinutes = zoneOf(text, at);
  if (zoneMinutes === null) return null;
  return { ns: BigInt(seconds - zoneMinutes * 60) * nsPerSecond + BigInt(fractionNs), zoneMinutes };
}

/** Seconds since 1970 of the first 19 characters, NaN when they are no time: a 31st that is none, a 24th hour, a leap second. */
function secondsOf(text: string): number {
  const isPunctuated = text[4] === '-' && text[7] === '-' && text[10] === 'T' && text[13] === ':' && text[16] === ':';
  const year = twoDigitsAt(text, 0) * 100 + twoDigitsAt(text, 2);
  const [month, day] = [twoDigitsAt(text, 5), twoDigitsAt(text, 8)];
  const [hours, minutes, seconds] = [twoDigitsAt(text, 11), twoDigitsAt(text, 14), twoDigitsAt(text, 17)];
  // NaN is not below any limit.
  const isInRange = isPunctuated && year >= 0 && month <= 12 && day >= 1 && hours < 24 && minutes < 60 && seconds < 60;
  const monthDays = monthLengths[month - 1] ?? 0;
  if (!isInRange || day > monthDays + (month === 2 && isLeapYear(year) ? 1 : 0)) return Number.NaN;
  return startOfMonth(year, month) / msPerSecond + ((day - 1) * 24 + hours) * 3600 + minutes * 60 + seconds;
}

const monthLengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

const isLeapYear = (year: number): boolean => (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;

/** Date.UTC takes the years below 100 for those of the last century. */
function startOfMonth(year: number, month: number): number {
  return year >= 100 ? Date.UTC(year, month - 1) : new Date(0).setUTCFullYear(year, month - 1, 1);
}

/** Minutes east of UTC; null when the text does not end in a zone there. */
function zoneOf(text: string, at: number): number | null {
  if (text[at] === 'Z') return at + 1 === text.length ? 0 : null;
  const isZone = (text[at] === '+' || text[at] === '-') && text[at + 3] === ':' && text.length === at + '+00:00'.length;
  const minutes = isZone ? twoDigitsAt(text, at + 1) * 60 + twoDigitsAt(text, at + 4) : Number.NaN;
  if (!(minutes <= maxZoneMinutes)) return null;
  return text[at] === '-' && minutes !== 0 ? -minutes : minutes;
}

/** NaN when they are none. */
function twoDigitsAt(text: string, at: number): number {
  const [tens, ones] = [digitAt(text, at), digitAt(text, at + 1)];
  return tens < 0 || ones < 0 ? Number.NaN : tens * 10 + ones;
}

/** −1 when it is none. */
function digitAt(text: string, at: number): number {
  const digit = text.charCodeAt(at) - 0x30;
  return digit >= 0 && digit <= 9 ? digit : -1;
}
