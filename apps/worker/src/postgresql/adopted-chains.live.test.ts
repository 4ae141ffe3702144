import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createAdoptionJob } from '@holdfast/database/adoption-jobs';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createRecoveryJob } from '@holdfast/database/recovery-jobs';
import { createVerification } from '@holdfast/database/verifications';
import { parseAllowedHosts } from '@holdfast/policy/allowed-hosts';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { missingPostgres, startTestPostgres, testMajors } from '@holdfast/sources/postgresql/testing/test-postgres';
import { expect, test } from 'vitest';
import { isFinal, openWorkerFixture } from '../testing/worker-fixture.ts';

const limitMs = 60_000;
/** Since then blocks that changed can be asked for; the worker's own pg_dump may be older than that server. */
const blocksSince = 17;

test.for(testMajors.filter((major) => missingPostgres(major) === null))(
  'backups of a PostgreSQL %i server, whose rows and configs are lost, come back from the repository as what they were, and are recovered',
  { timeout: 4 * limitMs },
  async (major) => {
    const hasBlocks = major >= blocksSince;
    await using server = await startTestPostgres({
      major,
      settings: { wal_keep_size: '1GB', ...(hasBlocks ? { summarize_wal: 'on' } : {}) },
    });
    await using fixture = await openWorkerFixture('postgresql');
    await mkdir(join(fixture.folder, 'scratch'));
    // The account of the server has to pass.
    for (const name of ['', 'target', 'scratch']) await chmod(join(fixture.folder, name), 0o711);
    await fixture.startWorker({ config: { databaseHosts: parseAllowedHosts(`127.0.0.1:${server.port}`) } });
    const { client } = fixture.database.db;

    const connection = { host: server.host, port: server.port, user: server.user, database: 'postgres', tls: { mode: 'disable' } };
    const sourcePassword = { place: connectionPlace(connection), password: server.password };
    const configOf = (method: string) =>
      fixture.createConfig({
        name: method,
        backupType: 'database_full',
        source: { type: 'postgresql', method, connection },
        sourcePassword,
      });
    const [physical, logical] = [await configOf('physical'), await configOf('logical')];
    const wal = await fixture.createConfig({
      name: 'wal',
      backupType: 'database_incremental',
      source: { type: 'postgresql_wal', method: 'wal', baseConfigId: physical },
    });
    const blocks = await fixture.createConfig({
      name: 'blocks',
      backupType: 'database_incremental',
      source: { type: 'postgresql_wal', method: 'blocks', baseConfigId: physical },
    });
    const backUp = async (configId: string): Promise<string> => {
      const id = await fixture.submitBackup(configId);
      expect(await fixture.eventually('backup', id, isFinal, limitMs)).toMatchObject({ status: 'completed', errorMessage: null });
      return id;
    };
    await server.query('CREATE TABLE committed AS SELECT n FROM generate_series(1, 1000) n');
    const base = await backUp(physical);
    if (!hasBlocks) await backUp(logical);
    await server.query('INSERT INTO committed SELECT n FROM generate_series(1001, 1500) n');
    await server.query('CHECKPOINT');
    const increment = hasBlocks ? await backUp(blocks) : base;
    await server.query('INSERT INTO committed SELECT n FROM generate_series(1501, 1600) n');
    await backUp(wal);

    const columns = { id: true, backupConfigId: true, backupType: true, snapshotId: true, checksum: true } as const;
    const read = async () => {
      const jobs = await client.backupJob.findMany({ select: { ...columns, metadata: true }, orderBy: { id: 'asc' } });
      return jobs.map(({ metadata, ...job }) => ({ ...job, postgresql: Reflect.get(Object(metadata), 'postgresql') }));
    };
    const before = await read();
    const { repositoryId } = await client.backupJob.findFirstOrThrow();
    await client.backupJob.deleteMany();
    await client.replicationSlot.deleteMany();
    await client.backupConfig.deleteMany();

    const { id } = await inTransaction(fixture.database.db, (tx) => createAdoptionJob(tx, '*', repositoryId));
    await fixture.queues.enqueueRun('adopt', id);
    expect(await fixture.eventually('adopt', id, isFinal, limitMs)).toMatchObject({ status: 'completed', errorMessage: null });
    expect(before).toHaveLength(3);
    expect(await read()).toEqual(before);
    const sources = await client.backupConfig.findMany({ select: { id: true, source: true, isActive: true, retentionDays: true } });
    const resting = { isActive: false, retentionDays: null };
    const ofServer = (method: string) => ({ type: 'postgresql', method, connection: { host: 'unknown.invalid' } });
    expect(sources).toHaveLength(3);
    expect(Object.fromEntries(sources.map((config) => [config.id, config]))).toMatchObject({
      [physical]: { ...resting, source: ofServer('physical') },
      [wal]: { ...resting, source: { type: 'postgresql_wal', method: 'wal', baseConfigId: physical } },
      ...(hasBlocks
        ? { [blocks]: { ...resting, source: { type: 'postgresql_wal', method: 'blocks', baseConfigId: physical } } }
        : { [logical]: { ...resting, source: ofServer('logical') } }),
    });

    const verify = async (backupJobId: string) => {
      const input = { backupJobId, verificationType: 'restore_test' } as const;
      const verification = await inTransaction(fixture.database.db, (tx) => createVerification(tx, '*', input));
      await fixture.queues.enqueueRun('verify', verification.id);
      return fixture.eventually('verify', verification.id, isFinal, limitMs);
    };
    for (const job of before) expect(await verify(job.id), job.backupConfigId).toMatchObject({ status: 'completed', errorMessage: null });
    const target = {
      targetLocation: join(fixture.folder, 'target', 'recovered'),
      options: { overwrite: false, start: true },
      execute: true,
    };
    const recovery = await inTransaction(fixture.database.db, (tx) =>
      createRecoveryJob(tx, '*', { backupJobId: increment, recoveryType: 'full', ...target }),
    );
    await fixture.queues.enqueueRun('recovery', recovery.id);
    expect(await fixture.eventually('recovery', recovery.id, isFinal, limitMs)).toMatchObject({ status: 'completed', errorMessage: null });
    expect((await client.recoveryJob.findUniqueOrThrow({ where: { id: recovery.id } })).recoveredRecords).toBe(hasBlocks ? 1500n : 1000n);
  },
);
