import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createRecoveryJob } from '@holdfast/database/recovery-jobs';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { processRecovery } from './processors/recovery.ts';
import type { RunWork } from './run-with-claim.ts';
import type { RunningWorker } from './start-workers.ts';
import { backends, isFinal, openWorkerFixture, type WorkerFixture } from './testing/worker-fixture.ts';

describe('a recovery whose first attempt died after it had filled its folder', () => {
  let fixture: WorkerFixture;
  let backupJobId: string;
  let worker: RunningWorker;

  beforeAll(async () => {
    fixture = await openWorkerFixture(backends[0] ?? 'postgresql');
    await writeFile(join(fixture.folder, 'source', 'a.txt'), 'first');
    await writeFile(join(fixture.folder, 'source', 'b.txt'), 'second');
    worker = await fixture.startWorker();
    backupJobId = await fixture.submitBackup(await fixture.createConfig());
    await fixture.eventually('backup', backupJobId, isFinal);
    await worker.stop();
  });
  afterEach(() => worker.stop());
  afterAll(() => fixture[Symbol.asyncDispose]());

  /** Recovers into `name`; between the first attempt, which fails at its very end, and the second one `between` happens. */
  const recover = async (name: string, between: (target: string) => Promise<void>) => {
    const target = join(fixture.folder, 'target', name);
    const recovery: RunWork<'recovery'> = async (run) => {
      const outcome = await processRecovery(run);
      if (run.claim.attempt > 1) return outcome;
      await between(target);
      throw new HoldfastError('storage_unreachable', 'gone at the last moment');
    };
    worker = await fixture.startWorker({ works: { recovery } });
    const input = { backupJobId, recoveryType: 'full', targetLocation: target, options: { overwrite: false }, execute: true } as const;
    const { id } = await inTransaction(fixture.database.db, (tx) => createRecoveryJob(tx, '*', input));
    await fixture.queues.enqueueRun('recovery', id);
    await fixture.eventually('recovery', id, isFinal);
    return await fixture.database.db.client.recoveryJob.findUniqueOrThrow({ where: { id } });
  };
  const recovered = (name: string): string => join(fixture.folder, 'target', name, fixture.folder, 'source', 'a.txt');

  test('goes on in that folder', async () => {
    const row = await recover('same', () => rm(recovered('same')));
    // Only what is missing is written again, and all of it counts as recovered.
    expect(row).toMatchObject({ status: 'completed', attempt: 2, metadata: { resumed: true, filesRestored: 1, keptCount: 1 } });
    const { directoriesRestored } = row.metadata as { directoriesRestored: number };
    expect(row.recoveredRecords).toBe(BigInt(directoriesRestored + 2));
    expect(await readFile(recovered('same'), 'utf8')).toBe('first');
  });

  test('refuses another folder that has come to its place', async () => {
    const row = await recover('swapped', async (target) => {
      await rename(target, `${target}-before`);
      await mkdir(target);
      await writeFile(join(target, 'mine'), 'precious');
    });
    expect(row).toMatchObject({ status: 'failed', attempt: 2, errorCode: 'target_not_empty' });
    expect(await readFile(join(fixture.folder, 'target', 'swapped', 'mine'), 'utf8')).toBe('precious');
  });
});
