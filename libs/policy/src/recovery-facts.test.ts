import { expect, test } from 'vitest';
import { chainsOf, encodeFacts, factsOf, type BaseFacts, type WalFacts } from './recovery-facts.ts';
import { parseRecoveryTime } from './recovery-time.ts';
import { recoveryWindows } from './recovery-window.ts';

const segmentSizeBytes = 16 * 1024 * 1024;
const segment = BigInt(segmentSizeBytes);
const time = (clock: string): bigint => parseRecoveryTime(`2026-05-01T${clock}Z`);
const cluster = { systemIdentifier: '7438120077123456789', majorVersion: 18, segmentSizeBytes };

const base = (more: Partial<BaseFacts> = {}): BaseFacts => ({
  kind: 'base',
  ...cluster,
  superuser: 'postgres',
  timeline: 1,
  startLsn: 2n * segment + 40n,
  endLsn: 2n * segment + 344n,
  endTime: time('03:00:00.000001'),
  parentJobId: null,
  checkedPageCount: 10,
  badPageCount: 0,
  badPages: [],
  ...more,
});

const wal = (fromLsn: bigint, toLsn: bigint, more: Partial<WalFacts> = {}): WalFacts => ({
  kind: 'wal',
  ...cluster,
  pieces: [{ timeline: 1, fromLsn, toLsn, lastCommit: time('03:10:00'), complete: time('03:20:00') }],
  histories: [],
  restorePoints: [],
  ...more,
});

test('facts go through a row and back', () => {
  const facts = wal(2n * segment, 4n * segment + 77n, {
    histories: [{ timeline: 2, parents: [{ timeline: 1, switchLsn: 3n * segment }] }],
    restorePoints: [{ name: 'before "the" move', timeline: 1, lsn: 3n * segment + 5n }],
  });
  const row: unknown = JSON.parse(JSON.stringify({ hostname: 'a', postgresql: encodeFacts(facts) }));
  expect(row).toMatchObject({ postgresql: { pieces: [{ fromLsn: '0/2000000', toLsn: '0/400004D' }] } });
  expect(factsOf(row)).toEqual(facts);
  expect(factsOf(JSON.parse(JSON.stringify({ postgresql: encodeFacts(base()) })))).toEqual(base());
});

test('a row of another kind of backup says nothing, and one that says it wrongly is not passed over', () => {
  expect(factsOf(null)).toBeNull();
  expect(factsOf({ hostname: 'a' })).toBeNull();
  expect(() => factsOf({ postgresql: { kind: 'base', timeline: 0 } })).toThrow(/timeline/u);
});

test('a base backup alone can be recovered as far as its own WAL goes, and WAL behind it without a gap goes on', () => {
  const alone = chainsOf([{ jobId: 'a', facts: base() }]);
  expect(alone && recoveryWindows(alone)).toMatchObject([{ toLsn: 2n * segment + 344n, fromUs: base().endTime, toUs: base().endTime }]);
  const followed = chainsOf([
    { jobId: 'a', facts: base() },
    { jobId: 'b', facts: wal(2n * segment, 4n * segment + 77n) },
  ]);
  expect(followed && recoveryWindows(followed)).toMatchObject([{ toLsn: 4n * segment + 77n, toUs: time('03:20:00'), gaps: [] }]);
});

test('what is of another cluster than the newest base is left out', () => {
  const old = { systemIdentifier: '1' };
  const chains = chainsOf([
    { jobId: 'old', facts: base({ ...old, endTime: time('01:00') }) },
    { jobId: 'oldWal', facts: wal(2n * segment, 9n * segment, old) },
    { jobId: 'new', facts: base() },
  ]);
  expect(chains?.systemIdentifier).toBe(cluster.systemIdentifier);
  expect(chains?.bases.map(({ id }) => id)).toEqual(['new']);
  expect(chains?.wal).toHaveLength(1);
  expect(chainsOf([{ jobId: 'x', facts: wal(0n, segment) }])).toBeNull();
});

test('a restore point in a segment that was fetched twice is there once', () => {
  const restorePoints = [{ name: 'p', timeline: 1, lsn: 3n * segment }];
  const chains = chainsOf([
    { jobId: 'a', facts: base() },
    { jobId: 'b', facts: wal(2n * segment, 3n * segment + 9n, { restorePoints }) },
    { jobId: 'c', facts: wal(3n * segment, 5n * segment, { restorePoints }) },
  ]);
  expect(chains?.restorePoints).toEqual(restorePoints);
});
