import { chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createDrPlan, updateDrPlan } from '@holdfast/database/dr-plans';
import { createRecoveryJob } from '@holdfast/database/recovery-jobs';
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
  const [first, second] = [await backUp(), await backUp()];
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
