import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * One end of a window of time: a moment (ISO 8601 with its zone) or how long ago, as a duration of weeks, days, hours and minutes such as
 * `P7D`, `P2W` or `PT12H`. Months and years are not taken: they are of no certain length.
 */
const duration = /^P(?:(?<weeks>\d{1,4})W)?(?:(?<days>\d{1,5})D)?(?:T(?:(?<hours>\d{1,6})H)?(?:(?<minutes>\d{1,8})M)?)?$/u;
const moment = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2})$/u;

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

export function isWindowEnd(text: string): boolean {
  return parse(text, 0) !== null;
}

/** Milliseconds since 1970 of the moment that `text` means at `now`. Errors: request_invalid. */
export function momentOf(text: string, now: Date): number {
  const parsed = parse(text, now.getTime());
  if (parsed === null) throw new HoldfastError('request_invalid', `is no time and no duration: ${JSON.stringify(text)}`);
  return parsed;
}

function parse(text: string, nowMs: number): number | null {
  if (moment.test(text)) {
    const timeMs = Date.parse(text);
    return Number.isNaN(timeMs) ? null : timeMs;
  }
  const parts = duration.exec(text)?.groups;
  if (parts === undefined || !/\d/u.test(text) || text.endsWith('T')) return null;
  const [weeks, days, hours, minutes] = ['weeks', 'days', 'hours', 'minutes'].map((name) => Number(parts[name] ?? 0));
  return nowMs - (weeks ?? 0) * 7 * dayMs - (days ?? 0) * dayMs - (hours ?? 0) * hourMs - (minutes ?? 0) * minuteMs;
}
