import { expect, test } from 'vitest';
import { encodeFacts, type BackupFacts, type BaseFacts, type WalFacts } from './recovery-facts.ts';
import { factsOfRows, walStart } from './wal-start.ts';

const cluster = { systemIdentifier: '7', majorVersion: 15, segmentSizeBytes: 16 * 1024 * 1024 };

function base(endLsn: bigint, more: Partial<BaseFacts> = {}): BackupFacts {
  const facts: BaseFacts = {
    kind: 'base',
    ...cluster,
    superuser: 'postgres',
    timeline: 1,
    startLsn: endLsn - 8n,
    endLsn,
    endTime: endLsn,
    parentJobId: null,
    checkedPageCount: 0,
    badPageCount: 0,
    badPages: [],
    ...more,
  };
  return { jobId: `base ${endLsn}`, facts };
}

function wal(fromLsn: bigint, toLsn: bigint, timeline = 1, more: Partial<WalFacts> = {}): BackupFacts {
  const pieces = [{ timeline, fromLsn, toLsn, lastCommit: null, complete: null }];
  return { jobId: `wal ${toLsn}`, facts: { kind: 'wal', ...cluster, pieces, histories: [], restorePoints: [], ...more } };
}

test('without a base backup there is nothing to go on from', () => {
  expect(walStart([])).toBeNull();
  expect(walStart([wal(0n, 100n)])).toBeNull();
});

test('the first run begins where the newest base ends', () => {
  expect(walStart([base(100n), base(300n)])).toEqual({ systemIdentifier: '7', place: { timeline: 1, lsn: 300n }, afterLoss: null });
});

test('later ones go on behind what is stored, also when a base is newer, which is the way on after a loss', () => {
  expect(walStart([base(100n), wal(90n, 200n), wal(200n, 400n)])).toMatchObject({ place: { lsn: 400n }, afterLoss: null });
  expect(walStart([base(100n), wal(90n, 200n), base(500n)])).toMatchObject({ place: { lsn: 200n }, afterLoss: { timeline: 1, lsn: 500n } });
  expect(walStart([base(100n), wal(90n, 200n), base(500n), wal(490n, 700n)])).toMatchObject({ place: { lsn: 700n }, afterLoss: null });
});

test('a newer timeline counts, though it began before the end of the old one', () => {
  expect(walStart([base(100n), wal(90n, 900n), wal(400n, 600n, 2)])).toMatchObject({ place: { timeline: 2, lsn: 600n } });
  const promoted = [base(100n), wal(90n, 900n), base(800n, { timeline: 2 })];
  expect(walStart(promoted)).toMatchObject({ place: { timeline: 1, lsn: 900n }, afterLoss: { timeline: 2, lsn: 800n } });
});

test('what is of another cluster counts for nothing', () => {
  const other = { systemIdentifier: '8' };
  expect(walStart([base(100n), wal(90n, 900n), base(200n, other)])).toEqual({
    systemIdentifier: '8',
    place: { timeline: 1, lsn: 200n },
    afterLoss: null,
  });
});

test('the facts of rows, and rows without any', () => {
  const { jobId, facts } = base(100n);
  expect(
    factsOfRows([
      { jobId, metadata: { postgresql: encodeFacts(facts) } },
      { jobId: 'files', metadata: null },
    ]),
  ).toEqual([{ jobId, facts }]);
});
