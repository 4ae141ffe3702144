import { rm } from 'node:fs/promises';
import type { WalFacts } from '@holdfast/policy/recovery-facts';
import type { PointInTime } from '@holdfast/policy/recovery-request';
import { formatRecoveryTime } from '@holdfast/policy/recovery-time';
import type { RecoveryWindow } from '@holdfast/policy/recovery-window';
import { formatLsn, parseLsn } from '@holdfast/sources/postgresql/lsn';
import { missingPostgres, startTestPostgres, testMajors, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readCommitLog, recordAt, rowsBefore, rowsByTime, startWriters, type CommitLog } from '../testing/commit-log.ts';
import { localServers } from '../testing/slot-keeper.ts';
import { askRecovered, openWalChain, type WalChain } from '../testing/wal-chain.ts';
import { openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

/**
 * A base backup and WAL of a server under load, recovered to times and places in it: exactly what was committed by then is there. The whole
 * of it is PITR_INCREMENTS=20 PITR_POINTS=10, and takes some minutes a major version.
 */
const incrementCount = Number(process.env['PITR_INCREMENTS'] ?? 6);
/** So many times and so many places at random. */
const pointCount = Number(process.env['PITR_POINTS'] ?? 2);
const writerCount = 3;
const pauseMs = 1_500;
const limitMs = 570_000;

/** Money moves, and none comes or goes. */
const sumsSql = `SELECT (SELECT sum(abalance) FROM pgbench_accounts) AS accounts, (SELECT sum(tbalance) FROM pgbench_tellers) AS tellers,
  (SELECT sum(bbalance) FROM pgbench_branches) AS branches, (SELECT coalesce(sum(delta), 0) FROM pgbench_history) AS history,
  (SELECT coalesce(json_agg(row ORDER BY row), '[]') FROM committed) AS rows`;

interface Found {
  readonly accounts: string;
  readonly tellers: string;
  readonly branches: string;
  readonly history: string;
  readonly rows: readonly number[];
}

describe.for(testMajors)('PostgreSQL %i under load', (major) => {
  const missing = missingPostgres(major);
  let server: TestPostgres;
  let fixture: WorkerFixture;
  let chain: WalChain;
  let log: CommitLog;
  let window: RecoveryWindow;
  let stored: readonly WalFacts[];
  let baseId: string;
  let recoveredCount = 0;

  const expectRecovered = async (pointInTime: PointInTime, rows: readonly number[]): Promise<void> => {
    const what = JSON.stringify(pointInTime);
    const recovered = await chain.recover(baseId, `recovered-${recoveredCount++}`, { pointInTime, start: true });
    expect(recovered, what).toMatchObject({ status: 'completed', errorMessage: null });
    const [found] = await askRecovered<Found>(recovered.dataDir, server, sumsSql);
    expect(found?.rows, what).toEqual(rows);
    for (const sum of [found?.tellers, found?.branches, found?.history]) expect(sum, what).toBe(found?.accounts);
    for (const folder of [recovered.dataDir, `${recovered.dataDir}-wal`]) await rm(folder, { recursive: true });
  };
  const within = (from: bigint, to: bigint): bigint => from + BigInt(Math.floor(Math.random() * Number(to - from)));

  beforeAll(async () => {
    if (missing !== null) return;
    const settings = { wal_keep_size: '8GB', max_wal_size: '1GB', checkpoint_timeout: '30s' };
    server = await startTestPostgres({ major, settings });
    fixture = await openWorkerFixture('postgresql');
    await fixture.startWorker({ config: localServers });
    chain = await openWalChain(fixture, server);
    await server.run('pgbench', ['-i', '-q', '-s', '3', 'postgres']);
    const [{ lsn: begin } = { lsn: '' }] = await server.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
    const writers = await startWriters(server, writerCount);
    const ending = new AbortController();
    const load = (async () => {
      while (!ending.signal.aborted) await server.run('pgbench', ['-n', '-c', '2', '-R', '400', '-T', '3', 'postgres']);
    })();
    const facts: WalFacts[] = [];
    try {
      await delay(pauseMs);
      baseId = await chain.base();
      for (let nth = 0; nth < incrementCount; nth++) {
        await delay(Math.random() * 2 * pauseMs);
        facts.push((await chain.wal()).facts);
      }
    } finally {
      ending.abort();
      await load;
    }
    stored = facts;
    const acknowledged = await writers.stop();
    log = await readCommitLog(server, acknowledged, parseLsn(begin));
    const windows = await chain.windows();
    expect(windows).toMatchObject([{ timeline: 1, gaps: [] }]);
    [window] = windows as [RecoveryWindow];
    const commits = log.ended.filter(({ startLsn, row }) => row !== null && startLsn >= window.fromLsn && startLsn < window.toLsn);
    const seconds = Number(window.toUs - window.fromUs) / 1e6;
    process.stdout.write(
      `point in time, ${major}: ${incrementCount} increments, ${Number(window.toLsn - window.fromLsn) >> 20} MiB of WAL over ${seconds.toFixed(1)} s, ` +
        `${log.ended.length} transactions, ${commits.length} rows to choose from\n`,
    );
    expect(commits.length).toBeGreaterThan(100);
  }, limitMs);
  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test.skipIf(missing !== null)(
    'the log that the recoveries are measured by is whole: it has each commit that a client was told of',
    () => {
      const byRow = new Map(log.ended.flatMap((each) => (each.row === null ? [] : [[each.row, each]])));
      for (const { row, seenLsn } of log.acknowledged)
        expect(byRow.get(row)?.endLsn ?? 1n << 64n, `row ${row}`).toBeLessThanOrEqual(seenLsn);
    },
  );

  test.skipIf(missing !== null)('each run says when the last transaction in it ended, and by when there was no more', () => {
    for (const { pieces } of stored) {
      for (const { fromLsn, toLsn, lastCommit, complete } of pieces) {
        const inside = log.ended.filter(({ startLsn, endLsn }) => startLsn >= fromLsn && endLsn <= toLsn);
        expect(lastCommit).toBe(inside.reduce((latest, { timeUs }) => (timeUs > latest ? timeUs : latest), 0n));
        const missed = log.ended.filter(({ startLsn, timeUs }) => startLsn >= toLsn && complete !== null && timeUs <= complete);
        expect(missed).toEqual([]);
      }
    }
  });

  test.skipIf(missing !== null)(
    'any time: exactly what was committed by then',
    async () => {
      for (let nth = 0; nth < pointCount; nth++) {
        const timeUs = within(window.fromUs, window.toUs);
        await expectRecovered({ time: formatRecoveryTime(timeUs) }, rowsByTime(log, timeUs, true));
      }
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'any place in WAL: exactly what was committed before it',
    async () => {
      for (let nth = 0; nth < pointCount; nth++) {
        const lsn = within(window.fromLsn, window.toLsn);
        // Inclusive is with the record that begins there or is the next one.
        const inclusive = nth % 2 === 0;
        const end = inclusive ? (await recordAt(server, log.ended[0]?.startLsn ?? 0n, lsn)) + 1n : lsn;
        await expectRecovered({ lsn: formatLsn(lsn), inclusive }, rowsBefore(log, end));
      }
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'just at a commit: with it and without it',
    async () => {
      const commits = log.ended.filter(({ startLsn, row }) => row !== null && startLsn > window.fromLsn && startLsn < window.toLsn);
      const [byTime, byLsn] = [commits[commits.length >> 1], commits[commits.length >> 2]];
      if (byTime === undefined || byLsn === undefined) throw new Error('there are no commits');
      for (const inclusive of [true, false]) {
        const { timeUs } = byTime;
        await expectRecovered({ time: formatRecoveryTime(timeUs), inclusive }, rowsByTime(log, timeUs, inclusive));
        const { startLsn } = byLsn;
        const rows = rowsBefore(log, inclusive ? startLsn + 1n : startLsn);
        expect(rows.includes(byLsn.row ?? -1)).toBe(inclusive);
        await expectRecovered({ lsn: formatLsn(startLsn), inclusive }, rows);
      }
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'all that there is',
    async () => {
      const rows = log.ended.filter(({ endLsn }) => endLsn <= window.toLsn);
      await expectRecovered({ latest: true }, rowsBefore({ ...log, ended: rows }, window.toLsn));
    },
    limitMs,
  );
});
