import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { listSnapshots } from '@holdfast/engine/snapshots';
import { check } from '@holdfast/engine/checker';
import { openIndex } from '@holdfast/engine/load-index';
import { openRepository, type Repository } from '@holdfast/engine/repository';
import { errnoCode } from '@holdfast/errors/errno-code';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { missingPostgres, startTestPostgres, testMajors, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startServerProxy, type ServerProxy } from '../testing/server-proxy.ts';
import { localServers } from '../testing/slot-keeper.ts';
import { askRecovered, openWalChain, type WalChain } from '../testing/wal-chain.ts';
import { isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';
import { startWorkerProcess } from '../testing/worker-process.ts';

/** kill -9 takes a worker in the middle of what it reads from a server; another one takes over. */
const limitMs = 240_000;
const takeoverMs = 120_000;
/** So that there is time to kill the worker before it has all. */
const slowBytesPerS = 80_000_000;

describe.for(testMajors)('a worker that is killed while it backs up PostgreSQL %i', (major) => {
  const missing = missingPostgres(major);
  let server: TestPostgres;
  let fixture: WorkerFixture;
  let chain: WalChain;
  let proxy: ServerProxy;

  /** What is whole: files that are being written have other names. */
  const inRepository = async (name: string): Promise<string[]> => {
    // There is no repository before the first backup.
    const names = await readdir(join(fixture.folder, 'storage', 'repository', name)).catch((error: unknown) => {
      if (errnoCode(error) === 'ENOENT') return [];
      throw error;
    });
    return names.filter((each) => /^[0-9a-f]{64}$/u.test(each));
  };
  const jobOf = (id: string) => fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
  /** Neither a sender nor a slot that goes with one. */
  const expectNothingAtServer = async (): Promise<void> => {
    const left =
      'SELECT pid::text AS what FROM pg_stat_replication UNION ALL SELECT slot_name FROM pg_replication_slots WHERE temporary OR active';
    await expect.poll(() => server.query(left), { timeout: 10_000 }).toEqual([]);
  };
  /** Submits a run and kills the worker once so many indexes tell of a part of it. */
  const killInTheMiddle = async (configId: string, indexCount: number): Promise<string> => {
    await using worker = await startWorkerProcess(fixture, { HOLDFAST_DATABASE_HOSTS: '127.0.0.1' });
    const [indexes, snapshots] = [await inRepository('index'), await inRepository('snapshots')];
    const id = await fixture.submitBackup(configId);
    await expect
      .poll(async () => (await inRepository('index')).length, { timeout: 60_000, interval: 10 })
      .toBeGreaterThanOrEqual(indexes.length + indexCount);
    await worker.kill();
    expect(await jobOf(id)).toMatchObject({ status: 'running', attempt: 1, snapshotId: null });
    expect(await inRepository('snapshots')).toEqual(snapshots);
    await expectNothingAtServer();
    return id;
  };
  const openOwn = async (): Promise<Repository> => {
    const storage = await openLocalStorage({ path: join(fixture.folder, 'storage', 'repository') });
    return await openRepository({ storage, password: 'secret' });
  };
  /** How much the repository's index tells of, and how many blobs lie in it twice. */
  const indexed = async () => {
    await using repository = await openOwn();
    const index = await openIndex(repository);
    const entries = Array.from({ length: index.entryCount }, (_, entry) => entry);
    const bytes = entries.reduce((sum, entry) => sum + (index.placeOf(entry).plainLength || index.placeOf(entry).length), 0);
    return { bytes, twice: entries.filter((entry) => !index.isFirst(entry)).length };
  };
  const takeOver = async (id: string, what: string): Promise<void> => {
    const before = await indexed();
    const worker = await fixture.startWorker({ config: localServers });
    expect(await fixture.eventually('backup', id, isFinal, takeoverMs)).toMatchObject({
      status: 'completed',
      attempt: 2,
      errorMessage: null,
    });
    await worker.stop();
    await expectNothingAtServer();
    const { metadata } = await jobOf(id);
    const { dataAdded = 0, totalBytesProcessed = 0 } = (metadata as { summary: Record<string, number> }).summary;
    const figures = [before.bytes, dataAdded, totalBytesProcessed].map((bytes) => `${Math.round(bytes / 1e6)} MB`);
    process.stdout.write(
      `killed in ${what} of ${major}: ${figures[0]} were in the index, of ${figures[2]} then ${figures[1]} were stored\n`,
    );
    expect(before.bytes).toBeGreaterThan(1_000_000);
    // What the index told of was not stored again.
    expect(await indexed()).toMatchObject({ twice: 0 });
  };
  const expectWholeRepository = async (snapshotCount: number): Promise<void> => {
    await using repository = await openOwn();
    expect(await listSnapshots(repository)).toHaveLength(snapshotCount);
    const { findings } = await check({ repository, level: 'checksum' });
    expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
  };

  beforeEach(async () => {
    if (missing !== null) return;
    server = await startTestPostgres({ major, settings: { wal_keep_size: '2GB', max_wal_size: '2GB' } });
    await server.query(
      `CREATE TABLE noise AS SELECT n, (SELECT string_agg(sha512((n || '/' || i)::bytea)::text, '') FROM generate_series(1, 64) i) AS text
       FROM generate_series(1, 6000) n; CREATE TABLE written (n int)`,
    );
    fixture = await openWorkerFixture('postgresql');
    proxy = await startServerProxy(server);
    chain = await openWalChain(fixture, server, { place: proxy });
  });
  afterEach(async () => {
    await fixture?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test.skipIf(missing !== null)(
    'in the middle of a physical backup: the next one is whole, and stores only what is missing',
    async () => {
      const connection = { host: server.host, port: server.port, user: server.user, database: 'postgres', tls: { mode: 'disable' } };
      const configId = await fixture.createConfig({
        name: 'slow',
        backupType: 'database_full',
        source: { type: 'postgresql', method: 'physical', connection, maxRateKiB: 20_000 },
        sourcePassword: { place: connectionPlace(connection), password: server.password },
        encryptionKey: 'secret',
        options: { compression: 'off' },
      });
      const id = await killInTheMiddle(configId, 1);
      await takeOver(id, 'a base backup');
      await expectWholeRepository(1);
      expect(await server.query('SELECT slot_name FROM pg_replication_slots')).toEqual([]);
      await fixture.startWorker({ config: localServers });
      const recovered = await chain.recover(id, 'whole', { start: true });
      expect(recovered).toMatchObject({ status: 'completed', errorMessage: null, job: { recoveredRecords: 6000n } });
      const sql = "SELECT md5(string_agg(text, ',' ORDER BY n)) AS sum FROM noise";
      expect(await askRecovered(recovered.dataDir, server, sql)).toEqual(await server.query(sql));
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'in the middle of WAL: the chain goes on without a gap',
    async () => {
      const worker = await fixture.startWorker({ config: localServers });
      await chain.base();
      await chain.wal();
      await worker.stop();
      await server.query('INSERT INTO written VALUES (1)');
      await server.query(`SELECT count(pg_logical_emit_message(false, 'bulk', text || nth)) FROM noise, generate_series(1, 8) nth`);
      await server.query('INSERT INTO written VALUES (2)');
      proxy.limit(slowBytesPerS);
      const id = await killInTheMiddle(chain.walConfigId, 2);
      proxy.limit(Number.POSITIVE_INFINITY);
      await server.query('INSERT INTO written VALUES (3)');
      await takeOver(id, 'WAL');

      await fixture.startWorker({ config: localServers });
      await server.query('INSERT INTO written VALUES (4)');
      const last = await chain.wal();
      expect(await chain.windows()).toMatchObject([{ timeline: 1, gaps: [], toLsn: last.facts.pieces.at(-1)?.toLsn }]);
      await expectWholeRepository(4);
      expect(await server.query('SELECT temporary, active FROM pg_replication_slots')).toEqual([{ temporary: false, active: false }]);
      const recovered = await chain.recover(id, 'latest', { pointInTime: { latest: true }, start: true });
      expect(recovered).toMatchObject({ status: 'completed', errorMessage: null, job: { recoveredRecords: 6004n } });
    },
    limitMs,
  );
});
