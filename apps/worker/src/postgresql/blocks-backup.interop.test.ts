import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { findBackupConfig } from '@holdfast/database/backup-configs';
import { findBackupWork } from '@holdfast/database/backup-jobs';
import { listChainBackups } from '@holdfast/database/chain-backups';
import { listSnapshots } from '@holdfast/engine/snapshots';
import { findStockRestics } from '@holdfast/engine/testing/stock-restic';
import { factsOf } from '@holdfast/policy/recovery-facts';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { parseAllowedHosts } from '@holdfast/policy/allowed-hosts';
import { combineBackups } from '@holdfast/sources/postgresql/recovery/combine';
import { folderBackup, folderWriter } from '@holdfast/sources/postgresql/recovery/folder-backup';
import { missingPostgres, startTestPostgres, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { backupStoring } from '../backup-storing.ts';
import { openRepositoryOf } from '../open-repository.ts';
import { processBackup } from '../processors/backup.ts';
import type { RunWork } from '../run-with-claim.ts';
import { isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';
import { backUpBlocks } from './blocks-backup.ts';

const missing = missingPostgres(18);
const { found } = await findStockRestics();

/** What becomes of the cluster between two backups. */
const changes = [
  "UPDATE numbers SET word = 'first' WHERE n % 50 = 1; CREATE TABLE made_later AS SELECT g AS n FROM generate_series(1, 1000) g",
  'DELETE FROM numbers WHERE n > 90000; INSERT INTO made_later SELECT g FROM generate_series(1001, 5000) g; DROP TABLE dropped',
];

describe.skipIf(missing !== null)(`a chain of block-incremental backups of PostgreSQL 18 ${missing ?? ''}`, () => {
  let server: TestPostgres;
  let fixture: WorkerFixture;
  let baseConfigId: string;
  let blocksConfigId: string;

  /** The dispatch of a config whose source names the base config. */
  const work: RunWork<'backup'> = async (run) => {
    const { client } = run.context.database;
    const job = await findBackupWork(client, run.claim.id);
    if (job.backupConfigId !== blocksConfigId) return await processBackup(run);
    await using repository = await openRepositoryOf(run, job.repository, { create: true, warm: true, limits: {} });
    const snapshots = await listSnapshots(repository, { signal: run.signal });
    const baseConfig = await findBackupConfig(client, '*', baseConfigId);
    const chain = await listChainBackups(client, baseConfigId);
    return await backUpBlocks(run, job, { baseConfig, chain }, backupStoring(run, job, { repository, snapshots }));
  };
  const backUp = async (configId: string) => {
    const id = await fixture.submitBackup(configId);
    const row = await fixture.eventually('backup', id, isFinal, 60_000);
    const job = await fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
    return { id, row, snapshotId: job.snapshotId ?? '', facts: factsOf(job.metadata), hint: job.errorMessage };
  };

  beforeAll(async () => {
    server = await startTestPostgres({ major: 18, settings: { summarize_wal: 'on', checkpoint_timeout: '1h' } });
    await server.query(
      `CREATE TABLE numbers AS SELECT n, md5(n::text) AS word FROM generate_series(1, 100000) n; CREATE TABLE dropped AS SELECT 1 AS n`,
    );
    fixture = await openWorkerFixture('postgresql');
    const { host, port, user, password } = server;
    const connection = { host, port, user, database: 'postgres', tls: { mode: 'disable' } };
    const source = { type: 'postgresql', method: 'physical', connection };
    const sourcePassword = { place: connectionPlace(connection), password };
    const common = { encryptionKey: 'secret', name: 'base' };
    baseConfigId = await fixture.createConfig({ ...common, backupType: 'database_full', source, sourcePassword });
    const incremental = { type: 'postgresql_wal', method: 'blocks', baseConfigId };
    blocksConfigId = await fixture.createConfig({ ...common, backupType: 'database_incremental', name: 'blocks', source: incremental });
    await fixture.startWorker({ config: { databaseHosts: parseAllowedHosts(`127.0.0.1:${server.port}`) }, works: { backup: work } });
  });
  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test('has to begin with a full one', async () => {
    const { row } = await backUp(blocksConfigId);
    expect(row).toMatchObject({ status: 'failed', errorCode: 'postgresql_wal_lost', attempt: 1 });
    expect(row.errorMessage).toContain('there is no base backup to build on');
  });

  test.each(found)('that $name $version restored is combined to a cluster that starts with all rows', async (restic) => {
    const chain = [await backUp(baseConfigId)];
    for (const sql of changes) {
      for (const statement of sql.split(';')) await server.query(statement);
      chain.push(await backUp(blocksConfigId));
    }
    expect(chain.map(({ row }) => row)).toEqual(chain.map(() => expect.objectContaining({ status: 'completed', errorMessage: null })));
    const parents = chain.map(({ facts }) => (facts?.kind === 'base' ? facts.parentJobId : undefined));
    expect(parents).toEqual([null, chain[0]?.id, chain[1]?.id]);

    const folder = join(fixture.folder, `restored-by-${restic.version}`);
    const repository = join(fixture.folder, 'storage', 'repository');
    for (const { id, snapshotId } of chain) await restic.run(repository, ['restore', snapshotId, '--target', join(folder, id)]);
    const combined = join(folder, 'combined');
    await mkdir(combined, { mode: 0o700 });
    const backups = chain.map(({ id }) => folderBackup(join(folder, id, 'data')));
    const { rebuiltCount } = await combineBackups({ chain: backups, writer: folderWriter(combined), signal: AbortSignal.timeout(60_000) });
    expect(rebuiltCount).toBeGreaterThan(500);
    const sql = `SELECT (SELECT count(*) || md5(string_agg(n || word, ',' ORDER BY n)) FROM numbers) AS numbers,
      (SELECT count(*) FROM made_later) AS later, to_regclass('dropped')::text AS dropped`;
    await using copy = await startTestPostgres({ major: 18, dataDir: combined, password: server.password });
    expect(await copy.query(sql)).toEqual(await server.query(sql));
    await server.query('DROP TABLE made_later; CREATE TABLE dropped AS SELECT 1 AS n');
  });

  test('needs a new full one when the server has no summaries from there on', async () => {
    await backUp(baseConfigId);
    await server.query('ALTER SYSTEM SET summarize_wal = off');
    await server.query('SELECT pg_reload_conf()');
    await expect.poll(async () => (await server.query('SHOW summarize_wal'))[0]).toEqual({ summarize_wal: 'off' });
    await server.query('INSERT INTO numbers SELECT n FROM generate_series(1, 1000) n');
    const off = await backUp(blocksConfigId);
    expect(off.row).toMatchObject({ status: 'failed', errorCode: 'postgresql_setting_missing' });
    await server.query('ALTER SYSTEM SET summarize_wal = on');
    await server.query('SELECT pg_switch_wal()');
    await server.query('CHECKPOINT');
    await server.query('SELECT pg_reload_conf()');
    const gone = await backUp(blocksConfigId);
    expect(gone.row).toMatchObject({ status: 'failed', errorCode: 'postgresql_wal_lost' });
  });
});
