import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { selectKept, selectKeptByConfig, type RetainedSnapshot } from './retention.ts';

const now = new Date('2026-05-01T00:00:00Z');
const dayMs = 24 * 3600 * 1000;
const aged = (id: string, days: number, configId = 'a'): RetainedSnapshot => ({
  id,
  configId,
  time: new Date(now.getTime() - days * dayMs),
});

const snapshots = fc
  .array(
    fc.record({
      configId: fc.constantFrom('a', 'b', 'c'),
      ageMs: fc.integer({ min: -10 * dayMs, max: 400 * dayMs }),
      completed: fc.boolean(),
    }),
    { maxLength: 40 },
  )
  .map((entries) =>
    entries.map(({ configId, ageMs, completed }, index) => ({
      id: `s${index}`,
      configId,
      completed,
      time: new Date(now.getTime() - ageMs),
    })),
  );
const days = fc.integer({ min: 0, max: 365 });

describe('selectKept', () => {
  test('keeps the young and lets the old go', () => {
    expect([...selectKept([aged('new', 1), aged('edge', 7), aged('old', 7.001)], { retentionDays: 7, now })]).toEqual(['new', 'edge']);
  });

  test('keeps the newest of a config however old it is', () => {
    const kept = selectKept([aged('x', 300), aged('y', 200), aged('z', 100, 'b')], { retentionDays: 7, now });
    expect([...kept].toSorted()).toEqual(['y', 'z']);
  });

  test('an incomplete one is not the newest', () => {
    const kept = selectKept([aged('whole', 300), { ...aged('half', 200), completed: false }], { retentionDays: 7, now });
    expect([...kept]).toEqual(['whole']);
  });

  test('never lets go of what is younger than the rule says', () => {
    fc.assert(
      fc.property(snapshots, days, (all, retentionDays) => {
        const kept = selectKept(all, { retentionDays, now });
        const young = all.filter((snapshot) => now.getTime() - snapshot.time.getTime() <= retentionDays * dayMs);
        expect(young.every((snapshot) => kept.has(snapshot.id))).toBe(true);
      }),
    );
  });

  test('never leaves a config that had a completed backup without one', () => {
    fc.assert(
      fc.property(snapshots, days, (all, retentionDays) => {
        const kept = selectKept(all, { retentionDays, now });
        const whole = all.filter((snapshot) => snapshot.completed);
        const left = new Set(whole.filter((snapshot) => kept.has(snapshot.id)).map((snapshot) => snapshot.configId));
        expect(left).toEqual(new Set(whole.map((snapshot) => snapshot.configId)));
      }),
    );
  });

  test('keeps no more than it must, whatever the order', () => {
    fc.assert(
      fc.property(snapshots, days, (all, retentionDays) => {
        const kept = selectKept(all, { retentionDays, now });
        const old = all.filter((snapshot) => kept.has(snapshot.id) && now.getTime() - snapshot.time.getTime() > retentionDays * dayMs);
        expect(new Set(old.map((snapshot) => snapshot.configId)).size).toBe(old.length);
      }),
    );
  });

  test('a longer rule keeps at least as much', () => {
    fc.assert(
      fc.property(snapshots, days, days, (all, one, other) => {
        const shorter = selectKept(all, { retentionDays: Math.min(one, other), now });
        const longer = selectKept(all, { retentionDays: Math.max(one, other), now });
        expect([...shorter].every((id) => longer.has(id))).toBe(true);
      }),
    );
  });
});

describe('selectKeptByConfig', () => {
  test('each config has its rule, and one without a rule keeps all', () => {
    const all = [aged('a1', 1), aged('a9', 9), aged('b1', 1, 'b'), aged('b9', 9, 'b'), aged('c900', 900, 'c'), aged('c1', 1, 'c')];
    const kept = selectKeptByConfig(all, new Map(Object.entries({ a: 5, b: 10 })), now);
    expect([...kept].toSorted()).toEqual(['a1', 'b1', 'b9', 'c1', 'c900']);
  });
});
