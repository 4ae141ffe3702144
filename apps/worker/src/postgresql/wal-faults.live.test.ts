import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { requestCancel } from '@holdfast/database/runs';
import type { HoldfastError } from '@holdfast/errors/holdfast-error';
import { factsOf } from '@holdfast/policy/recovery-facts';
import { missingPostgres, startTestPostgres, testMajors, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { processBackup } from '../processors/backup.ts';
import type { RunWork } from '../run-with-claim.ts';
import { startServerProxy, type ServerProxy } from '../testing/server-proxy.ts';
import { localServers } from '../testing/slot-keeper.ts';
import { openWalChain, serverTime, type WalChain } from '../testing/wal-chain.ts';
import { isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

const limitMs = 180_000;
/** So that there is time to do something to a run before it has all. */
const slowBytesPerS = 40_000_000;

/** What goes wrong with runs of WAL: what they say of it, and that the chain is as if it had not been, or says what is missing. */
describe.for(testMajors)('runs of WAL of PostgreSQL %i', (major) => {
  const missing = missingPostgres(major);
  let server: TestPostgres;
  let fixture: WorkerFixture;
  let chain: WalChain;
  let proxy: ServerProxy;
  let failures: HoldfastError[] = [];

  const snapshots = async (): Promise<string[]> => (await readdir(join(fixture.folder, 'storage', 'repository', 'snapshots'))).toSorted();
  const packCount = async (): Promise<number> =>
    (await readdir(join(fixture.folder, 'storage', 'repository', 'data'), { recursive: true })).length;
  const slots = () => server.query('SELECT active, temporary, wal_status AS status FROM pg_replication_slots');
  const idleSlot = [{ active: false, temporary: false, status: 'reserved' }];
  const writeRow = (row: number) => server.query(`INSERT INTO written VALUES (${row})`);
  const bulk = () =>
    server.query(`SELECT count(pg_logical_emit_message(false, 'bulk', repeat(md5(n::text), 250))) FROM generate_series(1, 25000) n`);
  const expectNoGap = async (): Promise<void> => expect(await chain.windows()).toMatchObject([{ timeline: 1, gaps: [] }]);
  /** A run that is read slowly; given once some of it is in the repository. */
  const slowRun = async (): Promise<string> => {
    await bulk();
    proxy.limit(slowBytesPerS);
    const before = await packCount();
    const id = await fixture.submitBackup(chain.walConfigId);
    await expect.poll(packCount, { timeout: 30_000, interval: 10 }).toBeGreaterThan(before);
    return id;
  };

  beforeAll(async () => {
    if (missing !== null) return;
    server = await startTestPostgres({ major, settings: { wal_keep_size: '2GB', max_wal_size: '2GB' } });
    await server.query('CREATE TABLE written (row int)');
    proxy = await startServerProxy(server);
    fixture = await openWorkerFixture('postgresql');
    const backup: RunWork<'backup'> = async (run) => {
      run.onFailure((error) => failures.push(error));
      return await processBackup(run);
    };
    await fixture.startWorker({ config: localServers, works: { backup } });
    chain = await openWalChain(fixture, server, { place: proxy });
    await chain.base();
    await writeRow(1);
    await chain.wal();
  }, limitMs);
  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test.skipIf(missing !== null)(
    'one that is cancelled leaves no snapshot, and the server keeps what it had not stored',
    async () => {
      await writeRow(2);
      const before = await snapshots();
      const id = await slowRun();
      await requestCancel(fixture.database.db, 'backup', id);
      expect(await fixture.eventually('backup', id, isFinal, 10_000)).toMatchObject({ status: 'cancelled' });
      proxy.limit(Number.POSITIVE_INFINITY);
      expect(await snapshots()).toEqual(before);
      await expect.poll(slots, { timeout: 10_000 }).toMatchObject([{ active: false, temporary: false }]);
      await chain.wal();
      await expectNoGap();
      expect(await slots()).toEqual(idleSlot);
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'one that the server leaves in the middle is tried again when it is back',
    async () => {
      await writeRow(3);
      const before = await snapshots();
      const id = await slowRun();
      await server.stop();
      const seen = await fixture.eventually('backup', id, ({ errorCode }) => errorCode !== null, 20_000);
      expect(seen).toMatchObject({ errorCode: 'postgresql_interrupted' });
      expect(await snapshots()).toEqual(before);
      proxy.limit(Number.POSITIVE_INFINITY);
      await server.start();
      expect(await fixture.eventually('backup', id, isFinal, 90_000)).toMatchObject({ status: 'completed', errorMessage: null });
      await expectNoGap();
      expect(await slots()).toEqual(idleSlot);
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'one whose snapshot was written, and not its row, is taken over as it is, and the next one follows on it',
    async () => {
      await writeRow(4);
      const { id, facts } = await chain.wal();
      const before = await snapshots();
      const lost = { status: 'queued', snapshotId: null, metadata: {}, endTime: null } as const;
      await fixture.database.db.client.backupJob.update({ where: { id }, data: lost });
      // What another run stores meanwhile does not know of it and begins where it began.
      await writeRow(5);
      await chain.wal();
      await fixture.queues.enqueueRun('backup', id);
      expect(await fixture.eventually('backup', id, isFinal, 20_000)).toMatchObject({ status: 'completed' });
      const { metadata } = await fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
      expect(metadata).toMatchObject({ adopted: true });
      expect(factsOf(metadata)).toEqual(facts);
      expect(await snapshots()).toHaveLength(before.length + 1);
      await writeRow(6);
      await chain.wal();
      await expectNoGap();
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'a server that writes too little WAL says which settings it lacks',
    async () => {
      const settings = { wal_level: 'minimal', max_wal_senders: '0' };
      await using minimal = await startTestPostgres({ major, password: server.password, settings });
      proxy.leadTo(minimal);
      failures = [];
      expect(await chain.backUp('wal')).toMatchObject({ status: 'failed', errorCode: 'postgresql_setting_missing', attempt: 1 });
      expect(failures).toMatchObject([{ hint: expect.stringContaining("wal_level = 'replica'") }]);
      expect(await minimal.query('SELECT slot_name FROM pg_replication_slots')).toEqual([]);
      proxy.leadTo(server);
      await chain.wal();
      await expectNoGap();
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'and all of it is there in the end',
    async () => {
      const { id } = await chain.wal();
      const recovered = await chain.recover(id, 'all', { pointInTime: { latest: true }, start: true });
      expect(recovered).toMatchObject({ status: 'completed', errorMessage: null, job: { recoveredRecords: 6n } });
    },
    limitMs,
  );
});

describe.for(testMajors)('a slot that PostgreSQL %i gave up', (major) => {
  const missing = missingPostgres(major);
  let server: TestPostgres;
  let fixture: WorkerFixture;
  let chain: WalChain;
  let failures: HoldfastError[] = [];
  let written = 0;

  const writeRow = async (): Promise<string> => {
    await server.query(`INSERT INTO written VALUES (${++written})`);
    return await serverTime(server);
  };
  const slotStatus = async (): Promise<string | undefined> =>
    (await server.query<{ status: string }>('SELECT wal_status AS status FROM pg_replication_slots WHERE NOT temporary'))[0]?.status;
  /** Somebody writes more than the server may keep for it. */
  const lose = async (): Promise<void> => {
    for (let round = 0; round < 20 && (await slotStatus()) !== 'lost'; round++) {
      await server.query(`SELECT count(pg_logical_emit_message(false, 'bulk', repeat('x', 100000))) FROM generate_series(1, 60) n`);
      await server.query('CHECKPOINT');
    }
    expect(await slotStatus()).toBe('lost');
  };
  const expectLost = async (): Promise<void> => {
    failures = [];
    expect(await chain.backUp('wal')).toMatchObject({ status: 'failed', errorCode: 'postgresql_wal_lost', attempt: 1 });
    expect(failures).toMatchObject([{ hint: expect.stringContaining(chain.baseConfigId) }]);
    // It keeps from now on what comes, so that the next base backup has something to follow it.
    expect(await slotStatus()).toBe('reserved');
  };

  beforeAll(async () => {
    if (missing !== null) return;
    const settings = { max_slot_wal_keep_size: '4MB', max_wal_size: '4MB', min_wal_size: '2MB', wal_keep_size: '0' };
    server = await startTestPostgres({ major, settings, initdb: ['--wal-segsize=1'] });
    await server.query('CREATE TABLE written (row int)');
    fixture = await openWorkerFixture('postgresql');
    const backup: RunWork<'backup'> = async (run) => {
      run.onFailure((error) => failures.push(error));
      return await processBackup(run);
    };
    await fixture.startWorker({ config: localServers, works: { backup } });
    chain = await openWalChain(fixture, server);
    await chain.base();
    await writeRow();
    await chain.wal();
  }, limitMs);
  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test.skipIf(missing !== null)(
    'without a newer base backup the run fails and the window ends; with one the next run goes on behind a gap',
    async () => {
      const before = await chain.windows();
      const inFirst = await writeRow();
      await chain.wal();
      await writeRow();
      const inGap = await serverTime(server);
      await lose();
      await expectLost();
      const [ended] = await chain.windows();
      expect(ended).toMatchObject({ gaps: [], fromLsn: before[0]?.fromLsn });

      await writeRow();
      const base = await chain.base();
      await writeRow();
      const { id } = await chain.wal();
      const [window] = await chain.windows();
      expect(window?.gaps).toMatchObject([{ fromLsn: ended?.toLsn, fromUs: ended?.toUs }]);
      expect(window?.parts).toHaveLength(2);
      const first = await chain.recover(base, 'first', { pointInTime: { time: inFirst }, start: true });
      expect(first).toMatchObject({ status: 'completed', errorMessage: null, job: { recoveredRecords: 2n } });
      const gap = await chain.recover(base, 'gap', { pointInTime: { time: inGap }, start: true });
      expect(gap).toMatchObject({ status: 'failed', errorCode: 'postgresql_target_uncovered' });
      const last = await chain.recover(id, 'last', { pointInTime: { latest: true }, start: true });
      expect(last).toMatchObject({ status: 'completed', errorMessage: null, job: { recoveredRecords: BigInt(written) } });
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'with a newer base backup already there the run itself goes on behind a gap',
    async () => {
      await lose();
      await chain.base();
      await writeRow();
      const { id } = await chain.wal();
      expect((await chain.windows())[0]?.gaps).toHaveLength(2);
      expect(await slotStatus()).toBe('reserved');
      const last = await chain.recover(id, 'latest', { pointInTime: { latest: true }, start: true });
      expect(last).toMatchObject({ status: 'completed', errorMessage: null, job: { recoveredRecords: BigInt(written) } });
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'when what follows on the newer base backup is lost too, only another one goes on',
    async () => {
      await chain.base();
      await lose();
      await expectLost();
      await chain.base();
      await chain.wal();
      expect((await chain.windows())[0]?.gaps.length).toBeGreaterThan(2);
    },
    limitMs,
  );
});
