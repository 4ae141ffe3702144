import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createCleanupJobs } from '@holdfast/database/cleanup-jobs';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createVerification } from '@holdfast/database/verifications';
import { systemClock } from '@holdfast/engine/clock';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { backends, isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

const dayMs = 24 * 3600 * 1000;
const inThreeDays = { ...systemClock, now: () => new Date(Date.now() + 3 * dayMs) };

describe.each(backends)('cleanup with queues on %s', (backend) => {
  let fixture: WorkerFixture;
  let old: string;
  let newest: string;
  let ofDeleted: string;

  const backUp = async (configId: string): Promise<string> => {
    const id = await fixture.submitBackup(configId);
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'completed' });
    return id;
  };
  const cleanUp = async (dryRun: boolean): Promise<unknown> => {
    const [job] = await inTransaction(fixture.database.db, (tx) => createCleanupJobs(tx, '*', { dryRun }));
    const id = job?.id ?? '';
    await fixture.queues.enqueueRun('cleanup', id);
    expect(await fixture.eventually('cleanup', id, isFinal)).toMatchObject({ status: 'completed', errorMessage: null });
    return (await fixture.database.db.client.cleanupJob.findUniqueOrThrow({ where: { id } })).details;
  };
  const backupRow = (id: string) => fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
  const snapshotNames = () => readdir(join(fixture.folder, 'storage', 'repository', 'snapshots'));

  beforeAll(async () => {
    fixture = await openWorkerFixture(backend);
    const today = await fixture.startWorker();
    const source = join(fixture.folder, 'source');
    await writeFile(join(source, 'a.txt'), 'stays');
    await writeFile(join(source, 'old.bin'), crypto.getRandomValues(new Uint8Array(60_000)));
    const kept = await fixture.createConfig({ name: 'kept', retentionDays: 1 });
    old = await backUp(kept);
    await rm(join(source, 'old.bin'));
    newest = await backUp(kept);
    const deleted = await fixture.createConfig({ name: 'deleted', retentionDays: 1 });
    ofDeleted = await backUp(deleted);
    await fixture.database.db.client.backupConfig.update({ where: { id: deleted }, data: { deletedAt: new Date(), isActive: false } });
    await today.stop();
    await fixture.startWorker({ clock: inThreeDays });
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  test('as a dry run changes nothing', async () => {
    expect(await cleanUp(true)).toMatchObject({ dryRun: true, snapshotsForgotten: 1 });
    expect(await snapshotNames()).toHaveLength(3);
    expect((await backupRow(old)).expiredAt).toBeNull();
  });

  test('forgets what is too old, keeps the newest of each config, and frees bytes', async () => {
    const details = await cleanUp(false);
    expect(details).toMatchObject({ dryRun: false, snapshotsForgotten: 1 });
    expect(Object(details).bytesFreed).toBeGreaterThan(50_000);
    expect(await backupRow(old)).toMatchObject({ snapshotId: null, expiredAt: expect.any(Date) });
    const left = new Set([(await backupRow(newest)).snapshotId, (await backupRow(ofDeleted)).snapshotId]);
    expect(new Set(await snapshotNames())).toEqual(left);
  });

  test('leaves whole what it keeps', async () => {
    for (const backupJobId of [newest, ofDeleted]) {
      const input = { backupJobId, verificationType: 'restore_test' } as const;
      const { id } = await inTransaction(fixture.database.db, (tx) => createVerification(tx, '*', input));
      await fixture.queues.enqueueRun('verify', id);
      expect(await fixture.eventually('verify', id, isFinal)).toMatchObject({ status: 'completed', errorMessage: null });
    }
  });

  test('finds nothing more the second time', async () => {
    expect(await cleanUp(false)).toMatchObject({ snapshotsForgotten: 0, bytesFreed: 0 });
  });
});
