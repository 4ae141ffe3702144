import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createCopyJob } from '@holdfast/database/copy-jobs';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createRecoveryJob } from '@holdfast/database/recovery-jobs';
import { findOrCreateRepository } from '@holdfast/database/repositories';
import { requestCancel } from '@holdfast/database/runs';
import { createVerification } from '@holdfast/database/verifications';
import type { Snapshot } from '@holdfast/engine/snapshots';
import { giveTo } from '@holdfast/sources/postgresql/recovery/server-account';
import { missingPostgres, startTestPostgres, testMajors, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { selectExpired } from '../select-expired.ts';
import { openChainWriter, type ChainWriter } from '../testing/chain-writer.ts';
import { isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

const limitMs = 60_000;
const nobody = { uid: 65_534, gid: 65_534 };

describe.for(testMajors)('recovery of physical backups of PostgreSQL %i', (major) => {
  const missing = missingPostgres(major);
  let server: TestPostgres;
  let fixture: WorkerFixture;
  let chain: ChainWriter;
  let base: string;
  let wal: string;
  let newest: string;
  const commits: { row: number; time: string; lsn: string }[] = [];

  const commit = async (count: number): Promise<void> => {
    for (let nth = 0; nth < count; nth++) {
      const row = commits.length + 1;
      await server.query(`INSERT INTO committed VALUES (${row}); INSERT INTO apart VALUES (${row})`);
      const [at] = await server.query<{ time: string; lsn: string }>(
        `SELECT to_char(pg_xact_commit_timestamp(xmin) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS time,
          pg_current_wal_insert_lsn()::text AS lsn FROM committed WHERE row = ${row}`,
      );
      commits.push({ row, time: at?.time ?? '', lsn: at?.lsn ?? '' });
    }
  };
  const submit = async (backupJobId: string, name: string, options: object, recoveryType: 'full' | 'point_in_time' = 'point_in_time') => {
    const targetLocation = join(fixture.folder, 'target', name);
    const input = { backupJobId, recoveryType, targetLocation, options: { overwrite: false, ...options }, execute: true };
    const { id } = await inTransaction(fixture.database.db, (tx) => createRecoveryJob(tx, '*', input));
    await fixture.queues.enqueueRun('recovery', id);
    return { id, dataDir: targetLocation };
  };
  const recover = async (...request: Parameters<typeof submit>) => {
    const { id, dataDir } = await submit(...request);
    const row = await fixture.eventually('recovery', id, isFinal, limitMs);
    return { ...row, dataDir, job: await fixture.database.db.client.recoveryJob.findUniqueOrThrow({ where: { id } }) };
  };
  /** As whoever has the folder: starts a server on it, which recovers first when it has not yet. */
  const rowsIn = async (dataDir: string, table = 'committed'): Promise<number[]> => {
    if (process.getuid?.() === 0) await promisify(execFile)('chown', ['-R', `${nobody.uid}:${nobody.gid}`, `${dataDir}-wal`]);
    await using copy = await startTestPostgres({ major, dataDir, password: server.password });
    const isPromoted = async () => (await copy.query<{ yes: boolean }>('SELECT NOT pg_is_in_recovery() AS yes'))[0]?.yes;
    await expect.poll(isPromoted, { timeout: 20_000 }).toBe(true);
    return (await copy.query<{ row: number }>(`SELECT row FROM ${table} ORDER BY row`)).map(({ row }) => row);
  };
  const upTo = (count: number): number[] => commits.slice(0, count).map(({ row }) => row);
  const targets = async () => (await readdir(join(fixture.folder, 'target'))).toSorted();
  const verify = async (backupJobId: string, options?: object) => {
    const input = { backupJobId, verificationType: 'restore_test', ...(options === undefined ? {} : { options: { ...options } }) } as const;
    const { id } = await inTransaction(fixture.database.db, (tx) => createVerification(tx, '*', input));
    await fixture.queues.enqueueRun('verify', id);
    const row = await fixture.eventually('verify', id, isFinal, limitMs);
    const { details } = await fixture.database.db.client.backupVerification.findUniqueOrThrow({ where: { id } });
    return { ...row, details };
  };

  beforeAll(async () => {
    if (missing !== null) return;
    const settings = { wal_keep_size: '1GB', track_commit_timestamp: 'on', ...(major >= 17 ? { summarize_wal: 'on' } : {}) };
    server = await startTestPostgres({ major, settings });
    const space = join(server.folder, 'space');
    await mkdir(space);
    await giveTo(space, nobody);
    await server.query(`CREATE TABLESPACE elsewhere LOCATION '${space}'`);
    await server.query('CREATE TABLE committed (row int); CREATE TABLE apart (row int) TABLESPACE elsewhere');
    fixture = await openWorkerFixture('postgresql');
    // The account of the server has to pass.
    await mkdir(join(fixture.folder, 'scratch'));
    for (const name of ['', 'target', 'scratch']) await chmod(join(fixture.folder, name), 0o711);
    chain = await openChainWriter(fixture, server);
    await commit(5);
    base = await chain.base();
    await commit(5);
    await server.query("SELECT pg_create_restore_point('middle')");
    await commit(5);
    wal = await chain.wal();
    await commit(5);
    if (major >= 17) {
      newest = await chain.base(base);
      await commit(5);
    }
    await chain.wal();
    // Not before: it would take the writer's jobs.
    await fixture.startWorker();
  }, limitMs);
  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test.skipIf(missing !== null)(
    'to a time, started: exactly what was committed by then, in a tablespace of its own place',
    async () => {
      const [{ oid } = { oid: 0 }] = await server.query<{ oid: number }>("SELECT oid FROM pg_tablespace WHERE spcname = 'elsewhere'");
      const place = join(fixture.folder, 'target', 'space');
      const options = { pointInTime: { time: commits[7]?.time }, start: true, tablespaces: { [oid]: place } };
      const done = await recover(base, 'by-time', options);
      expect(done).toMatchObject({ status: 'completed', errorMessage: null });
      expect(done.job.recoveredRecords).toBe(16n);
      expect(done.job.metadata).toMatchObject({ tablespaces: { [oid]: place }, recovered: { timeline: 2 }, findingCount: 0 });
      expect(await readdir(place)).toHaveLength(1);
      expect(await rowsIn(done.dataDir)).toEqual(upTo(8));
      expect(await readdir(done.dataDir)).not.toContain('postmaster.pid');
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'to an LSN, exclusive, started by hand',
    async () => {
      const done = await recover(wal, 'by-lsn', { pointInTime: { lsn: commits[11]?.lsn, inclusive: false } });
      expect(done).toMatchObject({ status: 'completed', errorMessage: null });
      expect(done.job.metadata).toMatchObject({ stop: 'lsn', backups: [base] });
      expect(await rowsIn(done.dataDir)).toEqual(upTo(12));
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'to a restore point, and to the latest state',
    async () => {
      const named = await recover(base, 'by-name', { pointInTime: { name: 'middle' }, start: true });
      expect(named).toMatchObject({ status: 'completed', errorMessage: null, job: { recoveredRecords: 20n } });
      const latest = await recover(base, 'latest', { pointInTime: { latest: true }, start: true });
      expect(latest).toMatchObject({ status: 'completed', errorMessage: null, job: { recoveredRecords: BigInt(commits.length * 2) } });
      expect(await rowsIn(latest.dataDir, 'apart')).toEqual(upTo(commits.length));
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'of a base backup alone, and of WAL to its end',
    async () => {
      const alone = await recover(base, 'alone', {}, 'full');
      expect(alone).toMatchObject({ status: 'completed', errorMessage: null });
      expect(await rowsIn(alone.dataDir)).toEqual(upTo(5));
      const toEnd = await recover(wal, 'to-end', { start: true }, 'full');
      expect(toEnd).toMatchObject({ status: 'completed', errorMessage: null, job: { recoveredRecords: 30n } });
    },
    limitMs,
  );

  test.skipIf(missing !== null || major < 17)(
    'of a chain of blocks',
    async () => {
      const done = await recover(newest, 'blocks', { start: true }, 'full');
      expect(done).toMatchObject({ status: 'completed', errorMessage: null, job: { recoveredRecords: 40n } });
      expect(done.job.metadata).toMatchObject({ backups: [base, newest] });
      expect(await verify(newest)).toMatchObject({ status: 'completed', errorMessage: null, details: { rows: 40 } });
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'that is not covered, or has no place, writes nothing',
    async () => {
      const before = await targets();
      const early = await recover(base, 'early', { pointInTime: { time: '2020-01-01T00:00:00Z' } });
      expect(early).toMatchObject({ status: 'failed', errorCode: 'postgresql_target_uncovered' });
      const outside = await recover(base, 'outside', { tablespaces: { 16_384: '/somewhere/else' } }, 'full');
      expect(outside).toMatchObject({ status: 'failed', errorCode: 'path_outside_roots' });
      expect(await targets()).toEqual(before);
      await mkdir(join(fixture.folder, 'target', 'taken'));
      await writeFile(join(fixture.folder, 'target', 'taken', 'precious'), 'x');
      expect(await recover(base, 'taken', {}, 'full')).toMatchObject({ status: 'failed', errorCode: 'target_not_empty' });
      expect(await targets()).toEqual([...before, 'taken'].toSorted());
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'what a former attempt left half done is begun anew',
    async () => {
      const { dataDir, job } = await recover(base, 'half', {}, 'full');
      await writeFile(join(dataDir, 'backup_label'), 'half');
      await fixture.database.db.client.recoveryJob.update({ where: { id: job.id }, data: { status: 'queued', endTime: null } });
      // The note is what a run has in its row until it ends.
      const { metadata } = job;
      const folders = await Promise.all([dataDir, `${dataDir}-wal`].map(noteOf));
      await fixture.database.db.client.recoveryJob.update({
        where: { id: job.id },
        data: { metadata: { ...(metadata as object), folders } },
      });
      await fixture.queues.enqueueRun('recovery', job.id);
      expect(await fixture.eventually('recovery', job.id, isFinal, limitMs)).toMatchObject({ status: 'completed', errorMessage: null });
      expect(await readFile(join(dataDir, 'backup_label'), 'utf8')).toContain('START WAL LOCATION');
    },
    limitMs,
  );

  test.skipIf(missing !== null)(
    'a cancellation ends it, and no server stays',
    async () => {
      const { id } = await submit(base, 'cancelled', { pointInTime: { latest: true }, start: true });
      await fixture.eventually('recovery', id, ({ status }) => status === 'running');
      await requestCancel(fixture.database.db, 'recovery', id);
      expect(await fixture.eventually('recovery', id, isFinal, 10_000)).toMatchObject({ status: 'cancelled' });
      expect((await readdir(join(fixture.folder, 'scratch'))).filter((name) => !name.startsWith('postgresql-'))).toEqual([]);
    },
    limitMs,
  );

  /** The row of a folder to which the first repository of the chain is copied. */
  const secondRepository = async (name: string): Promise<string> => {
    const { db } = fixture.database;
    const { businessEntityId } = await db.client.backupJob.findUniqueOrThrow({ where: { id: base } });
    const path = join(fixture.folder, 'storage', name);
    const place = { businessEntityId, storageLocation: 'local', locationKey: `local:${path}`, encryptionEnabled: true } as const;
    const input = { ...place, storageOptions: { type: 'local', path } };
    return (await inTransaction(db, (tx) => findOrCreateRepository(tx, input, fixture.config.masterKey))).id;
  };

  test.skipIf(missing !== null)(
    'comes from copies when the repository is lost; the copy of WAL has brought its base backup along',
    async () => {
      const { db } = fixture.database;
      const { businessEntityId, repositoryId, backupConfigId } = await db.client.backupJob.findUniqueOrThrow({ where: { id: wal } });
      const targetRepositoryId = await secondRepository('copies');
      const options = { verify: true, snapshots: { backupConfigIds: [backupConfigId] } };
      const copy = { businessEntityId, sourceRepositoryId: repositoryId, targetRepositoryId, copyConfigId: null, options, execute: true };
      const { id } = await inTransaction(db, (tx) => createCopyJob(tx, copy));
      await fixture.queues.enqueueRun('copy', id);
      expect(await fixture.eventually('copy', id, isFinal, limitMs)).toMatchObject({ status: 'completed', errorMessage: null });
      const copied = await db.client.snapshotCopy.findMany({ where: { repositoryId: targetRepositoryId } });
      expect(copied.map(({ backupJobId }) => backupJobId)).toEqual(expect.arrayContaining([base, wal]));

      const [place, away] = ['repository', 'away'].map((name) => join(fixture.folder, 'storage', name)) as [string, string];
      await rename(place, away);
      try {
        const input = { backupJobId: wal, fromRepositoryId: targetRepositoryId, recoveryType: 'full' } as const;
        const targetLocation = join(fixture.folder, 'target', 'from copies');
        const recovery = await inTransaction(db, (tx) =>
          createRecoveryJob(tx, '*', { ...input, targetLocation, options: { overwrite: false }, execute: true }),
        );
        await fixture.queues.enqueueRun('recovery', recovery.id);
        const row = await fixture.eventually('recovery', recovery.id, isFinal, limitMs);
        expect(row).toMatchObject({ status: 'completed', errorMessage: null });
        expect(await rowsIn(targetLocation)).toEqual(upTo(15));
      } finally {
        await rename(away, place);
      }
    },
    limitMs,
  );

  test.skipIf(missing !== null)('retention leaves what a kept backup needs', async () => {
    const { client } = fixture.database.db;
    const jobs = await client.backupJob.findMany({ where: { snapshotId: { not: null } }, orderBy: { createdAt: 'asc' } });
    const snapshots = jobs.map(({ id, backupConfigId, snapshotId, createdAt }) => ({
      id: snapshotId,
      timeNs: BigInt(createdAt.getTime()) * 1_000_000n,
      tags: ['holdfast', `job:${id}`, `config:${backupConfigId}`],
    })) as unknown as Snapshot[];
    const inSixtyDays = new Date(Date.now() + 60 * 24 * 3600 * 1000);
    // By its rule only the newest of each config stays; that of WAL needs the full backup and the WAL before it.
    expect(await selectExpired(client, jobs[0]?.repositoryId ?? '', snapshots, inSixtyDays)).toEqual([]);
    // So it is where their copies lie.
    const copies = snapshots.map((snapshot) => ({ ...snapshot, id: `copy of ${snapshot.id}`, original: snapshot.id }));
    expect(await selectExpired(client, await secondRepository('retained'), copies, inSixtyDays)).toEqual([]);
  });

  test.skipIf(missing !== null)(
    'a restore test starts it and asks, and finds what is damaged',
    async () => {
      const right = { name: 'rows', database: 'postgres', sql: 'SELECT count(*)::int FROM committed', expected: 15 };
      const good = await verify(wal, { assertions: [right] });
      expect(good).toMatchObject({ status: 'completed', errorMessage: null, details: { rows: 30, isExact: true, findingCount: 0 } });
      const wrong = await verify(base, { assertions: [right] });
      expect(wrong).toMatchObject({ status: 'failed', errorCode: 'verification_found_damage', details: { findingCount: 1, rows: 10 } });
      await damageLargestPack(join(fixture.folder, 'storage', 'repository', 'data'));
      expect(await verify(base)).toMatchObject({ status: 'failed', errorCode: 'verification_found_damage' });
      expect((await readdir(join(fixture.folder, 'scratch'))).filter((name) => !name.startsWith('postgresql-'))).toEqual([]);
    },
    limitMs,
  );
});

async function noteOf(path: string): Promise<{ path: string; device: string; inode: string }> {
  const { identityOf } = await import('../owned-target.ts');
  return { path, ...(await identityOf(path)) };
}

/** Flips a byte of every pack that is large: some of them hold the data folder. */
async function damageLargestPack(folder: string): Promise<void> {
  for (const name of await readdir(folder, { recursive: true })) {
    if (!/[0-9a-f]{64}$/u.test(name)) continue;
    const path = join(folder, name);
    const bytes = await readFile(path);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 0xff;
    await chmod(path, 0o600);
    await writeFile(path, bytes);
  }
}
