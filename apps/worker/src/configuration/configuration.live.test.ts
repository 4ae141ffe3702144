import { chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createDrPlan, updateDrPlan } from '@holdfast/database/dr-plans';
import { createRecoveryJob } from '@holdfast/database/recovery-jobs';
import { listSchedulers } from '@holdfast/jobs/schedulers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';
import type { Drift } from './drift.ts';

let fixture: WorkerFixture;
let source: string;
let configId: string;
let entityId: string;
let planId: string;

const rows = () => fixture.database.db.client;
const backupRow = (id: string) => rows().backupJob.findUniqueOrThrow({ where: { id } });
const backUp = async (id = configId): Promise<string> => {
  const job = await fixture.submitBackup(id);
  expect(await fixture.eventually('backup', job, isFinal)).toMatchObject({ status: 'completed', errorMessage: null });
  return job;
};
const driftOf = async (id: string) => ((await backupRow(id)).metadata as unknown as { drift?: Drift }).drift;
const driftEvents = () => rows().event.findMany({ where: { type: 'configuration.drifted' }, orderBy: { sequence: 'asc' } });
const recoverRows = async (backupJobId: string, how: { mode: 'diff' | 'apply'; overwrite?: boolean }) => {
  const options = { rows: { overwrite: false, ...how } };
  const input = { backupJobId, recoveryType: 'full', targetLocation: 'holdfast:rows', options, execute: true } as const;
  const { id } = await inTransaction(fixture.database.db, (tx) => createRecoveryJob(tx, '*', input));
  await fixture.queues.enqueueRun('recovery', id);
  const { status } = await fixture.eventually('recovery', id, isFinal);
  const { metadata, recoveredRecords } = await rows().recoveryJob.findUniqueOrThrow({ where: { id } });
  return {
    status,
    recoveredRecords,
    ...(metadata as unknown as { rows: Record<string, unknown> & { entries: Record<string, unknown>[] } }).rows,
  };
};
const nothing = { added: 0, changed: 0, removed: 0 };

beforeAll(async () => {
  fixture = await openWorkerFixture('postgresql');
  source = join(fixture.folder, 'source');
  await mkdir(join(source, 'app/sites'), { recursive: true });
  await mkdir(join(source, 'app/empty'));
  await writeFile(join(source, 'app/main.conf'), 'listen 80\n');
  await writeFile(join(source, 'app/notes.txt'), 'not of interest\n');
  await writeFile(join(source, 'app/sites/a.conf'), 'a\n');
  await writeFile(join(source, 'app/sites/b.conf'), 'b\n');
  await symlink('../main.conf', join(source, 'app/sites/linked.conf'));
  await writeFile(join(source, 'hosts'), '127.0.0.1 localhost\n');
  entityId = (await rows().businessEntity.findFirstOrThrow()).id;
  const plan = { businessEntityId: entityId, name: 'flood', priority: 1, rto: 60, rpo: 60 };
  planId = (await inTransaction(fixture.database.db, (tx) => createDrPlan(tx, '*', plan))).id;
  await fixture.startWorker();
  configId = await fixture.createConfig({
    name: 'how it is set up',
    backupType: 'configuration',
    encryptionKey: 'a password of somebody',
    source: {
      type: 'configuration',
      paths: [join(source, 'hosts')],
      globs: [join(source, 'app/**/*.conf'), join(source, 'missing/*.conf')],
      ownRows: true,
    },
  });
});
afterAll(() => fixture[Symbol.asyncDispose]());

test('files by path and glob and the own rows are stored; unchanged ones give the same tree', async () => {
  const first = await backUp();
  // In folders on the way other files come and go, and what is not taken is written anew.
  await writeFile(join(source, 'app/notes.txt'), 'still not of interest\n');
  await writeFile(join(source, 'app/sites/other.txt'), 'nor this\n');
  await mkdir(join(source, 'another'));
  const second = await backUp();
  const [one, two] = [await backupRow(first), await backupRow(second)];
  expect(two.checksum).toBe(one.checksum);
  expect(one.metadata).toMatchObject({ globs: [{ matchCount: 4 }, { matchCount: 0 }] });
  expect(await driftOf(first)).toBeUndefined();
  expect(await driftOf(second)).toMatchObject({ since: one.snapshotId, files: nothing, rows: nothing, entries: [] });
  expect(await driftEvents()).toEqual([]);

  const target = join(fixture.folder, 'target', 'all');
  const input = {
    backupJobId: second,
    recoveryType: 'full',
    targetLocation: target,
    options: { overwrite: false },
    execute: true,
  } as const;
  const { id } = await inTransaction(fixture.database.db, (tx) => createRecoveryJob(tx, '*', input));
  await fixture.queues.enqueueRun('recovery', id);
  expect(await fixture.eventually('recovery', id, isFinal)).toMatchObject({ status: 'completed' });
  const restored = join(target, source);
  expect(await readFile(join(restored, 'app/sites/linked.conf'), 'utf8')).toBe('listen 80\n');
  expect(await readFile(join(restored, 'hosts'), 'utf8')).toBe('127.0.0.1 localhost\n');
  await expect(readFile(join(restored, 'app/notes.txt'))).rejects.toThrow('ENOENT');
  await expect(readFile(join(restored, 'app/empty'))).rejects.toThrow('ENOENT');

  const stored = await readFile(join(target, `holdfast/rows/backup_configs/${configId}.json`), 'utf8');
  const { encryptionKey } = await rows().backupConfig.findUniqueOrThrow({ where: { id: configId } });
  const config = JSON.parse(stored) as Record<string, unknown>;
  expect(Object.keys(config)).toEqual(Object.keys(config).toSorted());
  expect(config).toMatchObject({ name: 'how it is set up', encryptionKey, businessEntityId: entityId });
  expect(stored).not.toContain('a password of somebody');
  expect(JSON.parse(await readFile(join(target, `holdfast/rows/disaster_recovery_plans/${planId}.json`), 'utf8'))).toMatchObject({
    name: 'flood',
  });
});

test('a run says which files and rows are others since the last one, and an event does', async () => {
  await writeFile(join(source, 'app/main.conf'), 'listen 81\n');
  await rm(join(source, 'app/sites/a.conf'));
  await writeFile(join(source, 'app/sites/c.conf'), 'c\n');
  await chmod(join(source, 'hosts'), 0o600);
  // As long as before: only its content tells.
  await inTransaction(fixture.database.db, (tx) => updateDrPlan(tx, '*', planId, { name: 'flooD', priority: 1, rto: 61, rpo: 60 }));
  await rows().backupConfig.update({ where: { id: configId }, data: { encryptionKey: null } });
  const before = (await rows().backupJob.findFirstOrThrow({ where: { backupConfigId: configId }, orderBy: { createdAt: 'desc' } }))
    .snapshotId;

  const job = await backUp();
  const drift = await driftOf(job);
  expect(drift).toMatchObject({
    since: before,
    files: { added: 1, changed: 2, removed: 1 },
    rows: { added: 0, changed: 2, removed: 0 },
  });
  expect(drift?.entries).toEqual(
    expect.arrayContaining([
      { path: join(source, 'app/main.conf'), change: 'changed', content: true },
      { path: join(source, 'app/sites/a.conf'), change: 'removed' },
      { path: join(source, 'app/sites/c.conf'), change: 'added' },
      { path: join(source, 'hosts'), change: 'changed', content: false },
      { table: 'backup_configs', id: configId, change: 'changed', fields: ['encryptionKey'] },
      { table: 'disaster_recovery_plans', id: planId, change: 'changed', fields: ['name', 'rto'] },
    ]),
  );
  const [event, ...others] = await driftEvents();
  expect(others).toEqual([]);
  expect(event).toMatchObject({
    businessEntityId: entityId,
    subjectId: configId,
    data: { backupJobId: job, files: { added: 1, changed: 2, removed: 1 } },
  });
});

test('a run whose worker died after the snapshot tells the same, once', async () => {
  await writeFile(join(source, 'app/main.conf'), 'listen 82\n');
  const job = await backUp();
  const drift = await driftOf(job);
  expect(drift?.files).toEqual({ added: 0, changed: 1, removed: 0 });
  const count = (await driftEvents()).length;
  // As if nobody had heard of its end.
  await rows().event.deleteMany({ where: { type: 'configuration.drifted', data: { path: ['backupJobId'], equals: job } } });
  const again = { status: 'queued', endTime: null, duration: null, queuedAt: new Date(), metadata: {}, snapshotId: null } as const;
  await rows().backupJob.update({ where: { id: job }, data: again });
  await fixture.queues.enqueueRun('backup', job);
  await fixture.eventually('backup', job, isFinal);
  expect(await driftOf(job)).toEqual(drift);
  expect(await driftEvents()).toHaveLength(count);
});

test('a config of which nothing is there, or whose files lie in the place of rows, fails with the reason', async () => {
  const fails = async (options: Record<string, unknown>) => {
    const id = await fixture.createConfig({ backupType: 'configuration', source: { type: 'configuration', ownRows: false, ...options } });
    return await fixture.eventually('backup', await fixture.submitBackup(id), isFinal);
  };
  expect(await fails({ globs: [join(source, 'missing/*.conf')] })).toMatchObject({ status: 'failed', errorCode: 'path_not_found' });
  expect(await fails({ globs: ['/etc/*.conf'] })).toMatchObject({ status: 'failed', errorCode: 'path_outside_roots' });
  expect(await fails({ paths: ['/holdfast/x'], ownRows: true })).toMatchObject({ status: 'failed', errorCode: 'request_invalid' });
});

test('rows are compared with those that are there, and come back under their ids, as they were', async () => {
  const schedule = '0 4 * * *';
  const scheduled = await fixture.createConfig({ name: 'scheduled', schedule });
  const job = await backUp();
  const before = await rows().backupConfig.findUniqueOrThrow({ where: { id: scheduled } });
  expect(await recoverRows(job, { mode: 'diff' })).toMatchObject({
    status: 'completed',
    created: 0,
    changed: 0,
    extra: 0,
    recoveredRecords: 0n,
  });

  await rows().backupConfig.delete({ where: { id: scheduled } });
  await inTransaction(fixture.database.db, (tx) => updateDrPlan(tx, '*', planId, { name: 'fire', priority: 2, rto: 61, rpo: 60 }));
  const extra = await fixture.createConfig({ name: 'made since' });
  const told = await recoverRows(job, { mode: 'diff' });
  expect(told).toMatchObject({ status: 'completed', created: 1, changed: 1, extra: 1, refused: 0, recoveredRecords: 0n });
  expect(told.entries).toEqual([
    { table: 'backup_configs', id: scheduled, fate: 'created' },
    { table: 'disaster_recovery_plans', id: planId, fate: 'changed', fields: ['name', 'priority'] },
    { table: 'backup_configs', id: extra, fate: 'extra' },
  ]);
  expect(await rows().backupConfig.findUnique({ where: { id: scheduled } })).toBeNull();

  expect(await recoverRows(job, { mode: 'apply' })).toMatchObject({
    status: 'completed',
    created: 1,
    changed: 0,
    kept: 1,
    recoveredRecords: 1n,
  });
  expect(await rows().backupConfig.findUniqueOrThrow({ where: { id: scheduled } })).toEqual({ ...before, updatedAt: expect.any(Date) });
  expect((await rows().disasterRecoveryPlan.findUniqueOrThrow({ where: { id: planId } })).name).toBe('fire');
  await expect
    .poll(async () => (await listSchedulers(fixture.queues)).find(({ id }) => id === scheduled)?.pattern, { timeout: 10_000 })
    .toBe(schedule);

  expect(await recoverRows(job, { mode: 'apply', overwrite: true })).toMatchObject({
    status: 'completed',
    created: 0,
    changed: 1,
    kept: 0,
  });
  expect((await rows().disasterRecoveryPlan.findUniqueOrThrow({ where: { id: planId } })).name).toBe('flooD');
  // The config that came back works.
  await backUp(scheduled);
});

test('a row that could not be a row of the entity is refused by its reason, and one whose secrets do not open is made inactive', async () => {
  const stranger = await rows().businessEntity.create({ data: { name: 'stranger' } });
  const foreign = await fixture.createConfig({
    name: 'of a stranger',
    businessEntityId: stranger.id,
    storageOptions: { type: 'local', path: join(fixture.folder, 'storage', 'strange') },
    locationKey: `local:${join(fixture.folder, 'storage', 'strange')}`,
  });
  const { repositoryId: strange } = await rows().backupConfig.findUniqueOrThrow({ where: { id: foreign } });
  const thief = await fixture.createConfig({ name: 'thief' });
  const sealed = await fixture.createConfig({ name: 'sealed', encryptionKey: 'a password of somebody' });
  // As a snapshot that somebody has made up would have it.
  const { repositoryId: own } = await rows().backupConfig.findUniqueOrThrow({ where: { id: thief } });
  await rows().backupConfig.update({ where: { id: thief }, data: { repositoryId: strange } });
  await rows().backupConfig.update({ where: { id: sealed }, data: { encryptionKey: 'v1.AAAA' } });
  const job = await backUp();
  await rows().backupConfig.update({ where: { id: thief }, data: { repositoryId: own } });
  await rows().backupConfig.delete({ where: { id: thief } });
  await rows().backupConfig.delete({ where: { id: sealed } });

  const applied = await recoverRows(job, { mode: 'apply' });
  expect(applied).toMatchObject({ status: 'completed_with_warnings', created: 1, refused: 1, inactive: 1 });
  expect(applied.entries).toEqual(
    expect.arrayContaining([
      {
        table: 'backup_configs',
        id: thief,
        fate: 'refused',
        reason: `names repository "${strange}", which the entity does not have`,
      },
      { table: 'backup_configs', id: sealed, fate: 'created', inactive: true },
    ]),
  );
  expect(await rows().backupConfig.findUnique({ where: { id: thief } })).toBeNull();
  expect(await rows().backupConfig.findUniqueOrThrow({ where: { id: sealed } })).toMatchObject({ isActive: false });
});
