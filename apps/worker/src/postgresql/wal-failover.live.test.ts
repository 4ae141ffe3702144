import { parseRecoveryTime } from '@holdfast/policy/recovery-time';
import { missingPostgres, startTestPostgres, testMajors, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startServerProxy, type ServerProxy } from '../testing/server-proxy.ts';
import { localServers } from '../testing/slot-keeper.ts';
import { caughtUp, cutOff, startStandby } from '../testing/standby.ts';
import { askRecovered, openWalChain, serverTime, type WalChain } from '../testing/wal-chain.ts';
import { openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

const limitMs = 180_000;

/** A primary with a standby behind one address, which is promoted: WAL goes on over the history of the timelines. */
describe.for(testMajors)('a standby of a PostgreSQL %i server', (major) => {
  const missing = missingPostgres(major);
  let primary: TestPostgres;
  let standby: TestPostgres;
  let fixture: WorkerFixture;
  let chain: WalChain;
  let proxy: ServerProxy;
  let base: string;

  const writeRow = (server: TestPostgres, row: number) => server.query(`INSERT INTO written VALUES (${row})`);
  /** Some segments. */
  const bulk = (server: TestPostgres) =>
    server.query(`SELECT count(pg_logical_emit_message(false, 'bulk', repeat(md5(n::text), 250))) FROM generate_series(1, 6000) n`);
  const promoteStandby = async (): Promise<void> => {
    await standby.query('SELECT pg_promote()');
    proxy.leadTo(standby);
  };
  const rowsOf = async (name: string, pointInTime: Parameters<WalChain['recover']>[2]): Promise<number[]> => {
    const recovered = await chain.recover(base, name, { ...pointInTime, start: true });
    expect(recovered, name).toMatchObject({ status: 'completed', errorMessage: null });
    const rows = await askRecovered<{ row: number }>(recovered.dataDir, primary, 'SELECT row FROM written ORDER BY row');
    return rows.map(({ row }) => row);
  };

  beforeEach(async () => {
    if (missing !== null) return;
    primary = await startTestPostgres({ major, settings: { wal_keep_size: '1GB' } });
    await primary.query('CREATE TABLE written (row int)');
    proxy = await startServerProxy(primary);
    fixture = await openWorkerFixture('postgresql');
    await fixture.startWorker({ config: localServers });
    chain = await openWalChain(fixture, primary, { place: proxy });
    base = await chain.base();
    await writeRow(primary, 1);
    await chain.wal();
    const recovered = await chain.recover(base, 'standby');
    expect(recovered).toMatchObject({ status: 'completed', errorMessage: null });
    standby = await startStandby(primary, recovered.dataDir);
    await caughtUp(primary, standby);
  }, limitMs);
  afterEach(async () => {
    await fixture?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
    await standby?.[Symbol.asyncDispose]();
    await primary?.[Symbol.asyncDispose]();
  });

  test.skipIf(missing !== null)(
    'gives WAL as the primary does, but does not say that it has all; promoted, the chain goes on with its timeline',
    async () => {
      proxy.leadTo(standby);
      await writeRow(primary, 2);
      await caughtUp(primary, standby);
      const onStandby = await chain.wal();
      expect(onStandby.facts.pieces).toMatchObject([{ timeline: 1, complete: null }]);
      await cutOff(standby);
      const claimed = (await chain.windows())[0]?.toUs ?? 0n;
      const before = parseRecoveryTime(await serverTime(primary));
      await writeRow(primary, 3);
      // It has not heard of that.
      await chain.wal();
      const [window] = await chain.windows();
      expect(window?.toUs).toBe(claimed);
      expect(window?.toUs).toBeLessThan(before);

      await primary.stop();
      await promoteStandby();
      await writeRow(standby, 4);
      const { facts } = await chain.wal();
      expect(facts.pieces.map(({ timeline }) => timeline)).toEqual([1, 2]);
      expect(facts.histories).toMatchObject([{ timeline: 2, parents: [{ timeline: 1, switchLsn: facts.pieces[0]?.toLsn }] }]);
      await bulk(standby);
      await writeRow(standby, 5);
      const next = await chain.wal();
      expect(next.facts.pieces.map(({ timeline }) => timeline)).toEqual([2]);
      expect(await chain.windows()).toMatchObject([
        { timeline: 1, gaps: [] },
        { timeline: 2, gaps: [] },
      ]);
      expect(await rowsOf('newest', { pointInTime: { latest: true } })).toEqual([1, 2, 4, 5]);
      expect(await rowsOf('oldest', { pointInTime: { latest: true, timeline: 1 } })).toEqual([1, 2]);
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'is promoted without the last of what was stored: both histories are whole, and neither has of the other',
    async () => {
      await writeRow(primary, 2);
      const afterTwo = await serverTime(primary);
      await writeRow(primary, 3);
      await caughtUp(primary, standby);
      await cutOff(standby);
      await bulk(primary);
      await writeRow(primary, 4);
      const ahead = await chain.wal();
      await primary.stop();
      await promoteStandby();
      const { facts } = await chain.wal();
      expect(facts.histories).toMatchObject([{ timeline: 2 }]);
      expect(facts.histories[0]?.parents[0]?.switchLsn).toBeLessThan(ahead.facts.pieces[0]?.toLsn ?? 0n);
      // Nothing is committed on the new timeline yet: only a server can find where to stop, before the place where the old one was left.
      expect(await rowsOf('after-two', { pointInTime: { time: afterTwo } })).toEqual([1, 2]);
      expect(await rowsOf('after-three', { pointInTime: { latest: true } })).toEqual([1, 2, 3]);

      await bulk(standby);
      await writeRow(standby, 5);
      await chain.wal();
      expect((await chain.windows()).map(({ timeline, gaps }) => [timeline, gaps])).toEqual([
        [1, []],
        [2, []],
      ]);
      expect(await rowsOf('newest', { pointInTime: { latest: true } })).toEqual([1, 2, 3, 5]);
      expect(await rowsOf('left', { pointInTime: { latest: true, timeline: 1 } })).toEqual([1, 2, 3, 4]);
      expect(await rowsOf('by-time', { pointInTime: { time: afterTwo } })).toEqual([1, 2]);
    },
    limitMs,
  );
});
