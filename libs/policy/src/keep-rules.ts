import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * restic's keep rules (`forget --keep-…`), as pure functions: a snapshot stays when any rule wants it. A count rule goes from the
 * newest to the oldest and keeps the newest of each hour, day, ISO week, month or year until its count is used up; while some of it
 * is left the oldest snapshot of all stays too. A span reaches back from the newest snapshot that is not in the future. Hours and
 * days are those of the zone in which a snapshot's time is written.
 */
export interface KeepRules {
  readonly last?: KeepCount;
  readonly hourly?: KeepCount;
  readonly daily?: KeepCount;
  readonly weekly?: KeepCount;
  readonly monthly?: KeepCount;
  readonly yearly?: KeepCount;
  /** Everything within the span. */
  readonly within?: KeepSpan;
  readonly withinHourly?: KeepSpan;
  readonly withinDaily?: KeepSpan;
  readonly withinWeekly?: KeepSpan;
  readonly withinMonthly?: KeepSpan;
  readonly withinYearly?: KeepSpan;
  /** Keeps what has all tags of one of the lists. */
  readonly tags?: readonly (readonly string[])[];
}

export type KeepCount = number | 'all';

/** Calendar steps, as restic's `1y5m7d2h`; at least one is above zero, else the rule is none. */
export interface KeepSpan {
  readonly years?: number;
  readonly months?: number;
  readonly days?: number;
  readonly hours?: number;
}

/** One of a group (a config, or restic's host and paths): rules count within it. */
export interface KeepCandidate {
  readonly id: string;
  readonly time: Date;
  /** Minutes east of UTC in which the time is written; default 0. */
  readonly zoneMinutes?: number;
  readonly tags?: readonly string[];
}

/** Why a snapshot stays; at least one reason. */
export interface KeptSnapshot {
  readonly id: string;
  readonly reasons: readonly string[];
}

/**
 * The snapshots of one group that stay, newest first. No rule at all keeps everything, and rules that want none keep the newest: a
 * mistake in the rules must not cost the last thing there is to recover. Two of the same time are taken in the order of their ids.
 */
export function keepByRules(group: readonly KeepCandidate[], rules: KeepRules, now: Date): KeptSnapshot[] {
  const sorted = group.toSorted((a, b) => b.time.getTime() - a.time.getTime() || (a.id < b.id ? -1 : 1));
  if (isEmpty(rules)) return sorted.map(({ id }) => ({ id, reasons: ['no rule'] }));
  const buckets = [...countBuckets(rules), ...spanBuckets(rules, newestBefore(sorted, now))];
  const kept: KeptSnapshot[] = [];
  for (const [nth, snapshot] of sorted.entries()) {
    const isOldest = nth === sorted.length - 1;
    const reasons = [...tagReasons(snapshot, rules), ...buckets.flatMap((bucket) => bucket.reasonFor(snapshot, nth, isOldest) ?? [])];
    if (reasons.length > 0) kept.push({ id: snapshot.id, reasons });
  }
  const [newest] = sorted;
  return kept.length > 0 || newest === undefined ? kept : [{ id: newest.id, reasons: ['the last one'] }];
}

/** Reads restic's `1y5m7d2h`, its parts in any order and each at most once. Errors: request_invalid. */
export function parseKeepSpan(text: string): KeepSpan {
  const span: { years?: number; months?: number; days?: number; hours?: number } = {};
  const invalid = () => new HoldfastError('request_invalid', `not a span such as 1y5m7d2h: ${JSON.stringify(text)}`);
  let rest = text;
  while (rest !== '') {
    const [part, digits = '', unit = ''] = /^(\d{1,6})([ymdh])/.exec(rest) ?? [];
    const name = spanUnits.get(unit);
    if (part === undefined || name === undefined || span[name] !== undefined) throw invalid();
    span[name] = Number(digits);
    rest = rest.slice(part.length);
  }
  if (Object.keys(span).length === 0) throw invalid();
  return span;
}

const spanUnits = new Map([
  ['y', 'years'],
  ['m', 'months'],
  ['d', 'days'],
  ['h', 'hours'],
] as const) as ReadonlyMap<string, keyof KeepSpan>;

type PeriodOf = (snapshot: KeepCandidate, nth: number) => number;

const localTime = ({ time, zoneMinutes = 0 }: KeepCandidate): Date => new Date(time.getTime() + zoneMinutes * 60_000);

const monthOf: PeriodOf = (snapshot) => localTime(snapshot).getUTCFullYear() * 12 + localTime(snapshot).getUTCMonth();
const hourOf: PeriodOf = (snapshot) => Math.floor(localTime(snapshot).getTime() / 3_600_000);
const dayOf: PeriodOf = (snapshot) => Math.floor(hourOf(snapshot, 0) / 24);
/** ISO weeks begin on Monday; the first of January 1970 was a Thursday. */
const weekOf: PeriodOf = (snapshot) => Math.floor((dayOf(snapshot, 0) + 3) / 7);
const yearOf: PeriodOf = (snapshot) => localTime(snapshot).getUTCFullYear();

const periods = { hourly: hourOf, daily: dayOf, weekly: weekOf, monthly: monthOf, yearly: yearOf } as const;
const periodNames = ['hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const satisfies readonly (keyof typeof periods)[];

interface Bucket {
  /** Why the snapshot stays; undefined when it need not. Asked from the newest on, each once. */
  reasonFor(snapshot: KeepCandidate, nth: number, isOldest: boolean): string | undefined;
}

function countBuckets(rules: KeepRules): Bucket[] {
  const last = countBucket(rules.last, (_snapshot, nth) => nth, 'last');
  return [last, ...periodNames.map((name) => countBucket(rules[name], periods[name], name))];
}

function countBucket(count: KeepCount | undefined, periodOf: PeriodOf, name: string): Bucket {
  let left = count === 'all' ? Infinity : (count ?? 0);
  let former: number | undefined;
  return {
    reasonFor(snapshot, nth, isOldest) {
      if (left <= 0) return undefined;
      const period = periodOf(snapshot, nth);
      if (period === former && !isOldest) return undefined;
      const reason = period === former ? `oldest ${name}` : name;
      former = period;
      left--;
      return reason;
    },
  };
}

function spanBuckets(rules: KeepRules, newest: KeepCandidate | undefined): Bucket[] {
  const within = spanBucket(rules.within, newest, () => 'within');
  const spans = {
    hourly: rules.withinHourly,
    daily: rules.withinDaily,
    weekly: rules.withinWeekly,
    monthly: rules.withinMonthly,
    yearly: rules.withinYearly,
  };
  const perPeriod = periodNames.map((name) => {
    const bucket = countBucket('all', periods[name], name);
    return spanBucket(spans[name], newest, (...asked) => {
      const reason = bucket.reasonFor(...asked);
      return reason === undefined ? undefined : `${reason} within`;
    });
  });
  return [within, ...perPeriod];
}

function spanBucket(span: KeepSpan | undefined, newest: KeepCandidate | undefined, reasonFor: Bucket['reasonFor']): Bucket {
  if (span === undefined || isZero(span)) return { reasonFor: () => undefined };
  // All of them in the future: nothing is older than the span.
  const begin = newest === undefined ? -Infinity : beginOf(span, newest);
  return { reasonFor: (snapshot, nth, isOldest) => (snapshot.time.getTime() > begin ? reasonFor(snapshot, nth, isOldest) : undefined) };
}

/** A day that a month lacks runs over into the next: a month before 31 March is 3 March, or 2 March in a leap year. */
function beginOf({ years = 0, months = 0, days = 0, hours = 0 }: KeepSpan, newest: KeepCandidate): number {
  const begin = localTime(newest);
  begin.setUTCFullYear(begin.getUTCFullYear() - years, begin.getUTCMonth() - months, begin.getUTCDate() - days);
  return begin.getTime() - (newest.zoneMinutes ?? 0) * 60_000 - hours * 3_600_000;
}

/** `sorted` is newest first. */
function newestBefore(sorted: readonly KeepCandidate[], now: Date): KeepCandidate | undefined {
  return sorted.find(({ time }) => time.getTime() < now.getTime());
}

function tagReasons({ tags = [] }: KeepCandidate, rules: KeepRules): string[] {
  const lists = (rules.tags ?? []).filter((wanted) => wanted.every((tag) => tags.includes(tag)));
  return lists.map((wanted) => `tags ${wanted.join(',')}`);
}

function isEmpty({ tags = [], last, hourly, daily, weekly, monthly, yearly, ...spans }: KeepRules): boolean {
  const hasCount = [last, hourly, daily, weekly, monthly, yearly].some((count) => count !== undefined && count !== 0);
  return tags.length === 0 && !hasCount && Object.values(spans).every((span) => span === undefined || isZero(span));
}

function isZero({ years = 0, months = 0, days = 0, hours = 0 }: KeepSpan): boolean {
  return years === 0 && months === 0 && days === 0 && hours === 0;
}
