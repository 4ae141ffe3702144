import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { Cron } from 'croner';

/**
 * Schedules: cron expressions of five fields (minute hour day-of-month month day-of-week) or six (seconds first), read in an IANA
 * time zone. The queue's schedulers are given nextTick, so that what is accepted here ticks there in the same way. When clocks go
 * forward over a tick it comes when they have moved on; when they go back it comes once.
 */
export interface Schedule {
  readonly pattern: string;
  readonly timeZone: string;
}

/** Far above any sensible expression; the parser reads fields of every length. */
const maxPatternLength = 200;

/** Throws schedule_invalid for what is no cron expression, for one that never ticks, and for an unknown time zone. */
export function assertSchedule(schedule: Schedule): void {
  if (nextTick(schedule, new Date(0)) === undefined) {
    throw new HoldfastError('schedule_invalid', `schedule never comes: ${JSON.stringify(schedule.pattern)}`, { context: { ...schedule } });
  }
}

/** The first tick after `after`; undefined when there is none (such as 30 February). Throws schedule_invalid. */
export function nextTick(schedule: Schedule, after: Date): Date | undefined {
  return parse(schedule).nextRun(after) ?? undefined;
}

/** The last tick before `before`; undefined when there is none. Throws schedule_invalid. */
export function previousTick(schedule: Schedule, before: Date): Date | undefined {
  return parse(schedule).previousRuns(1, before)[0];
}

function parse({ pattern, timeZone }: Schedule): Cron {
  const invalid = (what: string, cause?: unknown): HoldfastError =>
    new HoldfastError('schedule_invalid', what, { context: { pattern, timeZone }, cause });

  if (pattern.length > maxPatternLength) throw invalid(`cron expression has more than ${maxPatternLength} characters`);
  const fieldCount = pattern.trim() === '' ? 0 : pattern.trim().split(/\s+/u).length;
  // The parser would fill in missing fields, and take names such as @daily that other programs read otherwise.
  if (fieldCount !== 5 && fieldCount !== 6)
    throw invalid(`cron expression has ${fieldCount} fields, not five or six: ${JSON.stringify(pattern)}`);
  // H stands for a value drawn by lot at each reading: the same schedule would tick at other times in each process.
  if (/(?<![a-z])h(?![a-z])/iu.test(pattern)) throw invalid(`cron expression may not hold H: ${JSON.stringify(pattern)}`);
  if (!isTimeZone(timeZone)) throw invalid(`no IANA time zone: ${JSON.stringify(timeZone)}`);
  try {
    // Paused: it is asked for times and never runs anything.
    return new Cron(pattern, { timezone: timeZone, paused: true });
  } catch (error) {
    throw invalid(`no cron expression: ${JSON.stringify(pattern)}: ${error instanceof Error ? error.message : String(error)}`, error);
  }
}

/** True for a name such as Europe/Berlin or UTC; false for an offset such as +02:00, which knows no summer time. */
export function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z]/u.test(name)) return false;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}
