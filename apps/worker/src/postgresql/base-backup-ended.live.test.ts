import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock, type Clock } from '@holdfast/engine/clock';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { parseAllowedHosts } from '@holdfast/policy/allowed-hosts';
import { missingPostgres, startTestPostgres, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { expect, test } from 'vitest';
import { isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

/** Physical backups that are ended in the middle, and what the next attempt makes of it. */
const missing = missingPostgres(18);

const configOf = (server: TestPostgres) => ({ databaseHosts: parseAllowedHosts(`127.0.0.1:${server.port}`) });

async function makeConfig(fixture: WorkerFixture, server: TestPostgres, maxRateKiB: number): Promise<string> {
  const connection = { host: server.host, port: server.port, user: server.user, database: 'postgres', tls: { mode: 'disable' } };
  return await fixture.createConfig({
    backupType: 'database_full',
    source: { type: 'postgresql', method: 'physical', connection, maxRateKiB },
    sourcePassword: { place: connectionPlace(connection), password: server.password },
    options: { compression: 'off' },
  });
}

async function streamedBytes(server: TestPostgres): Promise<number> {
  const [row] = await server.query<{ bytes: string }>('SELECT backup_streamed AS bytes FROM pg_stat_progress_basebackup');
  return Number(row?.bytes ?? 0);
}

test.skipIf(missing !== null)('a server that stops in the middle is tried again, and the next attempt is whole', async () => {
  await using fixture = await openWorkerFixture('postgresql');
  await using server = await startTestPostgres({ major: 18 });
  await fixture.startWorker({ config: configOf(server) });
  const id = await fixture.submitBackup(await makeConfig(fixture, server, 5_000));
  await expect.poll(() => streamedBytes(server), { timeout: 20_000 }).toBeGreaterThan(1_000_000);
  await server.stop();
  const seen = await fixture.eventually('backup', id, ({ errorCode }) => errorCode !== null, 20_000);
  expect(seen.errorCode).toBe('postgresql_interrupted');
  const job = () => fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
  expect((await job()).snapshotId).toBeNull();
  await server.start();
  expect(await fixture.eventually('backup', id, isFinal, 60_000)).toMatchObject({ status: 'completed' });
  expect((await job()).snapshotId).not.toBeNull();
  expect(await server.query('SELECT slot_name FROM pg_replication_slots')).toEqual([]);
});

/** Its index is to be behind by half a minute at most, which is soon. */
const hurried: Clock = { ...systemClock, now: () => new Date(performance.timeOrigin + performance.now() * 100) };

test.skipIf(missing !== null)('an attempt that was ended in the middle is followed by one that stores only what is missing', async () => {
  await using fixture = await openWorkerFixture('postgresql');
  await using server = await startTestPostgres({ major: 18 });
  await server.query(
    `CREATE TABLE noise AS SELECT n, (SELECT string_agg(sha512((n || '/' || i)::bytea)::text, '') FROM generate_series(1, 64) i) AS text
     FROM generate_series(1, 6000) n; ALTER TABLE noise ALTER text SET STORAGE EXTERNAL`,
  );
  const config = configOf(server);
  const configId = await makeConfig(fixture, server, 20_000);
  const first = await fixture.startWorker({ config: { ...config, shutdownGraceMs: 0 }, clock: hurried });
  const id = await fixture.submitBackup(configId);
  const indexFiles = async (): Promise<string[]> => readdir(join(fixture.folder, 'storage', 'repository', 'index')).catch(() => []);
  await expect.poll(indexFiles, { timeout: 20_000 }).not.toEqual([]);
  await first.stop();
  await fixture.startWorker({ config });
  expect(await fixture.eventually('backup', id, isFinal, 60_000)).toMatchObject({ status: 'completed', attempt: 2 });
  const { metadata } = await fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
  const { summary } = metadata as { summary: Record<string, number> };
  expect(summary['dataAdded']).toBeLessThan(0.6 * (summary['totalBytesProcessed'] ?? 0));
});
