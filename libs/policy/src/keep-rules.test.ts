import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { keepByRules, parseKeepSpan, type KeepCandidate, type KeepRules } from './keep-rules.ts';

const now = new Date('2026-06-01T00:00:00Z');
const hourMs = 3600 * 1000;
const at = (id: string, time: string, tags: string[] = []): KeepCandidate => ({ id, time: new Date(time), tags });
const idsOf = (group: readonly KeepCandidate[], rules: KeepRules): string[] => keepByRules(group, rules, now).map(({ id }) => id);

const groups = fc
  .uniqueArray(fc.integer({ min: -1000, max: 3 * 365 * 24 }), { maxLength: 40 })
  .chain((ages) =>
    fc.tuple(...ages.map((age) => fc.record({ age: fc.constant(age), tags: fc.subarray(['a', 'b', 'c']), zoneMinutes: fc.constant(0) }))),
  )
  .map((records) => records.map(({ age, ...rest }, nth) => ({ id: `s${nth}`, time: new Date(now.getTime() - age * hourMs - 1), ...rest })));
const count = fc.option(fc.oneof(fc.nat(5), fc.constant('all' as const)), { nil: undefined });
const span = fc.option(fc.record({ years: fc.nat(1), months: fc.nat(13), days: fc.nat(40), hours: fc.nat(30) }), { nil: undefined });
const counts = { last: count, hourly: count, daily: count, weekly: count, monthly: count, yearly: count };
const spans = { within: span, withinHourly: span, withinDaily: span, withinWeekly: span, withinMonthly: span, withinYearly: span };
const tags = fc.option(fc.array(fc.subarray(['a', 'b', 'c'], { minLength: 1 }), { maxLength: 2 }), { nil: undefined });
const rulesArbitrary = fc.record({ ...counts, ...spans, tags }).map((record) => withoutUndefined(record));

function withoutUndefined(record: Record<string, unknown>): KeepRules {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}

describe('keepByRules', () => {
  test('keeps the newest of each period, and the oldest while a count is left', () => {
    const group = [
      at('late', '2026-05-03T23:30:00Z'),
      at('early', '2026-05-03T01:00:00Z'),
      at('april', '2026-04-30T12:00:00Z'),
      at('april-first', '2026-04-01T12:00:00Z'),
    ];
    expect(idsOf(group, { daily: 2 })).toEqual(['late', 'april']);
    expect(idsOf(group, { monthly: 2 })).toEqual(['late', 'april']);
    expect(idsOf(group, { monthly: 3 })).toEqual(['late', 'april', 'april-first']);
    expect(keepByRules(group, { yearly: 2 }, now)).toEqual([
      { id: 'late', reasons: ['yearly'] },
      { id: 'april-first', reasons: ['oldest yearly'] },
    ]);
  });

  test('days are those of the zone in which the time is written', () => {
    const [a, b] = [at('a', '2026-05-03T23:30:00Z'), at('b', '2026-05-03T01:00:00Z')];
    expect(idsOf([a, b, at('c', '2026-05-01T00:00:00Z')], { daily: 2 })).toEqual(['a', 'c']);
    expect(idsOf([{ ...a, zoneMinutes: 60 }, b, at('c', '2026-05-01T00:00:00Z')], { daily: 2 })).toEqual(['a', 'b']);
  });

  test('weeks are those of ISO 8601', () => {
    // Sunday, the Monday before, and the Sunday before that; across a new year.
    const group = [at('sunday', '2026-01-04T10:00:00Z'), at('monday', '2025-12-29T10:00:00Z'), at('before', '2025-12-28T10:00:00Z')];
    expect(idsOf([...group, at('old', '2020-01-01T00:00:00Z')], { weekly: 2 })).toEqual(['sunday', 'before']);
  });

  test('a span reaches back by the calendar from the newest that is not in the future', () => {
    const group = [at('future', '2026-07-01T00:00:00Z'), at('newest', '2026-03-31T00:00:00Z'), at('x', '2026-03-03T00:00:01Z')];
    expect(idsOf([...group, at('y', '2026-03-03T00:00:00Z')], { within: { months: 1 } })).toEqual(['future', 'newest', 'x']);
    expect(idsOf(group, { withinYearly: { years: 1 } })).toEqual(['future', 'x']);
  });

  test('tags keep what has all of one list', () => {
    const group = [at('1', '2026-05-03T00:00:00Z', ['a', 'b']), at('2', '2026-05-02T00:00:00Z', ['a']), at('3', '2026-05-01T00:00:00Z')];
    expect(idsOf(group, { tags: [['a', 'b']] })).toEqual(['1']);
    expect(idsOf(group, { tags: [['a', 'b'], ['a']] })).toEqual(['1', '2']);
    expect(idsOf(group, { tags: [['x']] })).toEqual(['1']);
  });

  test('never empties a group, and no rule keeps all', () => {
    fc.assert(
      fc.property(groups, rulesArbitrary, (group, rules) => {
        const kept = new Set(idsOf(group, rules));
        expect(kept.size > 0).toBe(group.length > 0);
        expect([...kept].every((id) => group.some((snapshot) => snapshot.id === id))).toBe(true);
        expect(idsOf(group, {})).toHaveLength(group.length);
      }),
    );
  });

  test('a rule more never costs a snapshot, but for the last that is kept without one', () => {
    fc.assert(
      fc.property(groups, rulesArbitrary, rulesArbitrary, (group, some, others) => {
        if (Object.keys(some).length === 0) return;
        const before = keepByRules(group, some, now).filter(
          ({ reasons }) => !reasons.some((why) => why === 'the last one' || why === 'no rule'),
        );
        const after = new Set(idsOf(group, { ...others, ...some }));
        expect(before.filter(({ id }) => !after.has(id))).toEqual([]);
      }),
    );
  });

  test('keeps at least as many as a count says, when there are as many periods', () => {
    fc.assert(
      fc.property(groups, fc.integer({ min: 1, max: 10 }), (group, daily) => {
        const days = new Set(group.map(({ time }) => Math.floor(time.getTime() / (24 * hourMs))));
        expect(idsOf(group, { daily }).length).toBeGreaterThanOrEqual(Math.min(daily, days.size));
        expect(idsOf(group, { last: daily })).toHaveLength(Math.min(daily, group.length));
      }),
    );
  });

  test('what stays under the same rules stays again: forgetting twice is forgetting once', () => {
    fc.assert(
      fc.property(groups, fc.record({ daily: fc.nat(5), monthly: fc.nat(5), last: fc.integer({ min: 1, max: 3 }) }), (group, rules) => {
        const kept = new Set(idsOf(group, rules));
        const left = group.filter(({ id }) => kept.has(id));
        expect(new Set(idsOf(left, rules))).toEqual(kept);
      }),
    );
  });
});

describe('parseKeepSpan', () => {
  test('reads what restic reads', () => {
    expect(parseKeepSpan('1y5m7d2h')).toEqual({ years: 1, months: 5, days: 7, hours: 2 });
    expect(parseKeepSpan('36h')).toEqual({ hours: 36 });
    for (const text of ['', '1', 'y', '1d1d', '1w', '-1d', '1.5d']) expect(() => parseKeepSpan(text)).toThrow('not a span');
  });
});
