import { setTimeout as delay } from 'node:timers/promises';
import { formatRecoveryTime, parseRecoveryTime } from '@holdfast/policy/recovery-time';
import { missingPostgres, startTestPostgres, testMajors, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { localServers } from '../testing/slot-keeper.ts';
import { askRecovered, openWalChain, serverTime, type WalChain } from '../testing/wal-chain.ts';
import { openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

const segmentBytes = 16n * 1024n * 1024n;

/** A server that nobody writes to: each run says that there was no more by then, and so the window goes on with the clock. */
describe.for(testMajors)('WAL of an idle PostgreSQL %i server', (major) => {
  const missing = missingPostgres(major);
  let server: TestPostgres;
  let fixture: WorkerFixture;
  let chain: WalChain;

  /** Hint bits that a login sets are WAL too, and are not written out for some time. */
  const quiet = async (): Promise<void> => void (await server.query('CHECKPOINT'));
  const toUs = async (): Promise<bigint> => (await chain.windows()).at(-1)?.toUs ?? 0n;
  /** A run, before which the server's clock is read: the window has to reach that far. */
  const runAndLook = async () => {
    const before = parseRecoveryTime(await serverTime(server));
    const { id, facts } = await chain.wal();
    const reached = await toUs();
    expect(reached).toBeGreaterThanOrEqual(before);
    expect(reached).toBeLessThanOrEqual(parseRecoveryTime(await serverTime(server)));
    return { id, reached, pieces: facts.pieces };
  };

  beforeAll(async () => {
    if (missing !== null) return;
    server = await startTestPostgres({ major, settings: { wal_keep_size: '1GB', checkpoint_timeout: '1h' } });
    fixture = await openWorkerFixture('postgresql');
    await fixture.startWorker({ config: localServers });
    chain = await openWalChain(fixture, server);
    await server.query('CREATE TABLE written AS SELECT n FROM generate_series(1, 1000) n');
    await chain.base();
    // A base backup tells its end in whole seconds, rounded up: within that second a window reaches ahead of the clock.
    const [window] = await chain.windows();
    while (parseRecoveryTime(await serverTime(server)) <= (window?.fromUs ?? 0n)) await delay(50);
  });
  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test.skipIf(missing !== null)('in the middle of a segment', async () => {
    await server.query('INSERT INTO written VALUES (1001)');
    await quiet();
    const first = await runAndLook();
    const second = await runAndLook();
    expect(second.reached).toBeGreaterThan(first.reached);
    expect(second.pieces.at(-1)?.toLsn).toBe(first.pieces.at(-1)?.toLsn);
  });

  test.skipIf(missing !== null)('at the end of a segment, also when there is nothing at all to fetch', async () => {
    await server.query('INSERT INTO written VALUES (1002)');
    await quiet();
    await server.query('SELECT pg_switch_wal()');
    const first = await runAndLook();
    const end = first.pieces.at(-1)?.toLsn ?? 1n;
    expect(end % segmentBytes).toBe(0n);
    const second = await runAndLook();
    expect(second.pieces).toMatchObject([{ fromLsn: end, toLsn: end, lastCommit: null }]);
    const third = await runAndLook();
    expect(third.reached).toBeGreaterThan(second.reached);
    expect(await chain.windows()).toMatchObject([{ gaps: [], toLsn: end }]);

    const options = { pointInTime: { time: formatRecoveryTime(third.reached) }, start: true };
    const recovered = await chain.recover(second.id, 'to-the-clock', options);
    expect(recovered).toMatchObject({ status: 'completed', errorMessage: null, job: { recoveredRecords: 1002n } });
    const toItsEnd = await chain.recover(second.id, 'to-its-end');
    expect(toItsEnd).toMatchObject({ status: 'completed', errorMessage: null });
    expect(await askRecovered(toItsEnd.dataDir, server, 'SELECT max(n) FROM written')).toEqual([{ max: 1002 }]);
  });

  test.skipIf(missing !== null)('and what is written then follows without a gap', async () => {
    await server.query('INSERT INTO written VALUES (1003)');
    await quiet();
    const { id, pieces } = await runAndLook();
    expect((pieces[0]?.fromLsn ?? 1n) % segmentBytes).toBe(0n);
    const [window] = await chain.windows();
    expect(window?.gaps).toEqual([]);
    const latest = await chain.recover(id, 'latest', { pointInTime: { latest: true }, start: true });
    expect(latest).toMatchObject({ status: 'completed', errorMessage: null, job: { recoveredRecords: 1003n } });
  });
});
