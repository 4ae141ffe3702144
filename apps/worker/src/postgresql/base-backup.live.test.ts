import { chown, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { requestCancel } from '@holdfast/database/runs';
import type { EngineProgress } from '@holdfast/engine/progress';
import { factsOf, type BaseFacts } from '@holdfast/policy/recovery-facts';
import { parseRecoveryTime } from '@holdfast/policy/recovery-time';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { parseAllowedHosts } from '@holdfast/policy/allowed-hosts';
import { missingPostgres, startTestPostgres, testMajors, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { processBackup } from '../processors/backup.ts';
import type { RunWork } from '../run-with-claim.ts';
import type { RunningWorker } from '../start-workers.ts';
import { askWorker, bytesOf } from '../testing/browse-client.ts';
import { isFinal, openWorkerFixture, type RunRow, type WorkerFixture } from '../testing/worker-fixture.ts';

const role = 'holdfast_physical';
const password = 'a secret/of "the" tests';

describe.for(testMajors)('physical backups of a PostgreSQL %i server', (major) => {
  const missing = missingPostgres(major);
  let server: TestPostgres;
  let fixture: WorkerFixture;
  let worker: RunningWorker;
  let configCount = 0;
  let progress: EngineProgress[] = [];

  const connection = (more: object = {}) => ({
    host: server.host,
    port: server.port,
    user: role,
    database: 'postgres',
    tls: { mode: 'disable' },
    ...more,
  });
  const makeConfig = (source: object = {}, given = password): Promise<string> => {
    const { connection: to = {}, ...rest } = source as { connection?: object };
    const whole = { type: 'postgresql', method: 'physical', connection: connection(to), ...rest };
    const sourcePassword = { place: connectionPlace(whole.connection), password: given };
    return fixture.createConfig({ name: `config ${configCount++}`, backupType: 'database_full', source: whole, sourcePassword });
  };
  const backUp = async (configId: string): Promise<{ id: string; row: RunRow }> => {
    const id = await fixture.submitBackup(configId);
    return { id, row: await fixture.eventually('backup', id, isFinal, 60_000) };
  };
  const jobOf = (id: string) => fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
  const factsOfJob = async (id: string): Promise<BaseFacts> => {
    const facts = factsOf((await jobOf(id)).metadata);
    if (facts?.kind !== 'base') throw new Error(`job ${id} says nothing of a base backup`);
    return facts;
  };
  const summaryOf = async (id: string) => (await jobOf(id)).metadata as { summary: Record<string, number>; warnings?: string[] };
  const snapshotCount = async (): Promise<number> => fixture.database.db.client.backupJob.count({ where: { snapshotId: { not: null } } });
  /** Neither a backup nor a slot of ours. */
  const atServer = async (): Promise<unknown[]> =>
    server.query('SELECT pid::text FROM pg_stat_progress_basebackup UNION ALL SELECT slot_name FROM pg_replication_slots');
  const expectNothingLeft = async (): Promise<void> => expect.poll(atServer, { timeout: 5_000 }).toEqual([]);

  beforeAll(async () => {
    if (missing !== null) return;
    // Who backs up may need no database at all.
    const accessRules = ['host all shut_out 127.0.0.1/32 reject'];
    server = await startTestPostgres({ major, settings: { checkpoint_timeout: '1h' }, accessRules });
    const space = join(server.folder, 'space');
    await mkdir(space);
    if (process.getuid?.() === 0) await chown(space, 65_534, 65_534);
    await server.query(`CREATE TABLESPACE elsewhere LOCATION '${space}'`);
    await server.query(
      `CREATE ROLE ${role} LOGIN REPLICATION PASSWORD '${password}'; CREATE ROLE modest LOGIN PASSWORD 'modest';
       CREATE ROLE shut_out LOGIN REPLICATION PASSWORD 'shut_out';
       CREATE TABLE numbers AS SELECT n, md5(n::text) AS word FROM generate_series(1, 100000) n;
       CREATE TABLE apart TABLESPACE elsewhere AS SELECT n FROM generate_series(1, 10000) n`,
    );
    fixture = await openWorkerFixture('postgresql');
    const backup: RunWork<'backup'> = (run) => processBackup({ ...run, onProgress: (value) => void progress.push(value) });
    worker = await fixture.startWorker({ config: { databaseHosts: parseAllowedHosts(`127.0.0.1:${server.port}`) }, works: { backup } });
  });
  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test.skipIf(missing !== null)('the row says what the backup is, and the next one adds little', async () => {
    const configId = await makeConfig();
    const [before] = await server.query<{ id: string; now: string }>(
      'SELECT system_identifier::text AS id, clock_timestamp()::text AS now FROM pg_control_system()',
    );
    const { id, row } = await backUp(configId);
    expect(row).toMatchObject({ status: 'completed', errorMessage: null });
    const facts = await factsOfJob(id);
    expect(facts).toMatchObject({
      systemIdentifier: before?.id,
      majorVersion: major,
      segmentSizeBytes: 16 * 1024 * 1024,
      superuser: 'postgres',
      timeline: 1,
      parentJobId: null,
      badPageCount: 0,
      badPages: [],
    });
    expect(facts.checkedPageCount).toBeGreaterThan(1_000);
    expect(facts.endLsn).toBeGreaterThan(facts.startLsn);
    expect(facts.endTime).toBeGreaterThanOrEqual(parseRecoveryTime(before?.now ?? ''));
    const [after] = await server.query<{ now: string }>('SELECT clock_timestamp()::text AS now');
    expect(facts.endTime - parseRecoveryTime(after?.now ?? '')).toBeLessThanOrEqual(1_000_000n);
    // It can be looked into like any other.
    const { repositoryId, snapshotId } = await jobOf(id);
    const asked = { repositoryId, snapshotId: snapshotId ?? '' };
    const found = JSON.parse(
      String(await bytesOf(await askWorker(fixture, worker, '/search', { ...asked, name: 'PG_VERSION', limit: '1000' }))),
    );
    const [top] = (found as { items: { path: string }[] }).items.toSorted((a, b) => a.path.length - b.path.length);
    const version = await askWorker(fixture, worker, '/content', { ...asked, path: top?.path ?? '' });
    expect(String(await bytesOf(version))).toBe(`${major}\n`);

    const second = await backUp(configId);
    const { summary } = await summaryOf(second.id);
    expect(summary['filesUnmodified']).toBeGreaterThan(900);
    // The WAL is new each time, and little else.
    const walBytes = 3 * 16 * 1024 * 1024;
    expect(summary['dataAdded']).toBeLessThan(walBytes);
    await expectNothingLeft();
  });

  test.skipIf(missing !== null)('its progress is measured by what the server says is to come, from the first backup on', async () => {
    progress = [];
    const { id } = await backUp(await makeConfig());
    const totals = progress
      .filter(({ phase }) => phase === 'reading')
      .flatMap(({ bytesTotal }) => (bytesTotal === null ? [] : [bytesTotal]));
    const [row] = await server.query<{ bytes: string }>('SELECT sum(pg_database_size(oid)) AS bytes FROM pg_database');
    // Whatever is in no database is small but for WAL, of which the server says nothing.
    expect(Math.min(...totals)).toBeGreaterThan(0.9 * Number(row?.bytes));
    expect(Math.min(...totals)).toBeLessThan(1.2 * Number(row?.bytes));
    const done = progress.at(-1)?.bytesDone ?? 0;
    expect(BigInt(done)).toBe((await jobOf(id)).fileSize);
  });

  test.skipIf(missing !== null)('a role that may only replicate is enough', async () => {
    const { id, row } = await backUp(await makeConfig({ connection: { user: 'shut_out' } }, 'shut_out'));
    expect(row).toMatchObject({ status: 'completed', errorMessage: null });
    expect(await factsOfJob(id)).toMatchObject({ superuser: 'postgres' });
  });

  test.skipIf(missing !== null)('damaged pages are told by file and block, and the snapshot is kept', async () => {
    const [row] = await server.query("CHECKPOINT; SELECT pg_relation_filepath('numbers') AS file");
    const file = String(row?.['file']);
    const mend = await flipByte(join(server.dataDir, file), 7 * 8192 + 4_000);
    try {
      const { id, row: run } = await backUp(await makeConfig());
      expect(run).toMatchObject({ status: 'completed_with_warnings', errorMessage: null });
      expect(await factsOfJob(id)).toMatchObject({ badPageCount: 1, badPages: [{ path: file, block: 7 }] });
      expect((await summaryOf(id)).warnings).toContain(`${file}: block 7 does not match its checksum`);
      expect((await jobOf(id)).snapshotId).not.toBeNull();
    } finally {
      await mend();
    }
  });

  test.skipIf(missing !== null)('a cancellation in the middle is heard within seconds and leaves nothing', async () => {
    const before = await snapshotCount();
    const id = await fixture.submitBackup(await makeConfig({ maxRateKiB: 2_000 }));
    await expect.poll(atServer, { timeout: 20_000 }).toHaveLength(2);
    await delay(300);
    await requestCancel(fixture.database.db, 'backup', id);
    expect(await fixture.eventually('backup', id, isFinal, 10_000)).toMatchObject({ status: 'cancelled' });
    expect(await snapshotCount()).toBe(before);
    await expectNothingLeft();
  });

  test.skipIf(missing !== null)('what a former attempt had committed is this run’s result, with all that the row has to know', async () => {
    const { id } = await backUp(await makeConfig());
    const facts = await factsOfJob(id);
    const lost = { status: 'queued', snapshotId: null, metadata: {}, endTime: null } as const;
    await fixture.database.db.client.backupJob.update({ where: { id }, data: lost });
    await fixture.queues.enqueueRun('backup', id);
    expect(await fixture.eventually('backup', id, isFinal, 20_000)).toMatchObject({ status: 'completed' });
    expect((await jobOf(id)).metadata).toMatchObject({ adopted: true });
    expect(await factsOfJob(id)).toEqual(facts);
  });

  describe('what cannot be', () => {
    test.skipIf(missing !== null)('a wrong password', async () => {
      const { row } = await backUp(await makeConfig({}, 'wrong-password-123'));
      expect(row).toMatchObject({ status: 'failed', errorCode: 'postgresql_login_failed', attempt: 1 });
    });

    test.skipIf(missing !== null)('a role without the right', async () => {
      const { row } = await backUp(await makeConfig({ connection: { user: 'modest' } }, 'modest'));
      expect(row).toMatchObject({ status: 'failed', errorCode: 'postgresql_denied' });
    });

    test.skipIf(missing !== null)('a server that is not allowed', async () => {
      const { row } = await backUp(await makeConfig({ connection: { host: 'localhost' } }));
      expect(row).toMatchObject({ status: 'failed', errorCode: 'postgresql_host_not_allowed' });
    });
  });
});

/** Gives what puts the byte back. */
async function flipByte(path: string, at: number): Promise<() => Promise<void>> {
  const flip = async (): Promise<void> => {
    const file = await open(path, 'r+');
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    byte[0] = (byte[0] ?? 0) ^ 1;
    await file.write(byte, 0, 1, at);
    await file.close();
  };
  await flip();
  return flip;
}
