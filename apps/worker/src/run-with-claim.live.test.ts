import { setTimeout as delay } from 'node:timers/promises';
import { claimRun, requestCancel } from '@holdfast/database/runs';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { RunWork } from './run-with-claim.ts';
import type { RunningWorker } from './start-workers.ts';
import { backends, isFinal, openWorkerFixture, type WorkerFixture } from './testing/worker-fixture.ts';

const done: Awaited<ReturnType<RunWork<'backup'>>> = {
  status: 'completed',
  result: { snapshotId: 'a'.repeat(64), filePath: 'x', fileSize: 1n, checksum: 'b'.repeat(64), metadata: {} },
};

/** Works until its signal aborts. */
const endless: RunWork<'backup'> = async ({ signal }) => {
  await delay(60_000, undefined, { signal, ref: false }).catch(() => signal.throwIfAborted());
  return done;
};

describe.each(backends)('a run on %s', (backend) => {
  let fixture: WorkerFixture;
  let configId: string;
  let workers: RunningWorker[] = [];

  const start = async (backup: RunWork<'backup'>, shutdownGraceMs = 0): Promise<RunningWorker> => {
    const worker = await fixture.startWorker({ works: { backup }, config: { shutdownGraceMs } });
    workers.push(worker);
    return worker;
  };
  const submitWith = async (attempts: number): Promise<string> => {
    const id = await fixture.submitBackup(configId, { enqueue: false });
    await fixture.queues.byName.backup.add('backup', { id }, { jobId: id, attempts, backoff: { type: 'fixed', delay: 50 } });
    return id;
  };
  const jobState = (id: string) => fixture.queues.byName.backup.getJobState(id);
  const eventsOf = async (id: string): Promise<string[]> => {
    const events = await fixture.database.db.client.event.findMany({ where: { subjectId: id }, orderBy: { sequence: 'asc' } });
    return events.map((event) => event.type.replace('backup.', ''));
  };

  beforeAll(async () => {
    fixture = await openWorkerFixture(backend);
    configId = await fixture.createConfig();
  });
  afterEach(async () => {
    await Promise.all(workers.map((worker) => worker.stop()));
    workers = [];
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  test('that fails with an error that may pass is tried again', async () => {
    await start(async ({ claim }) => {
      if (claim.attempt < 3) throw new HoldfastError('storage_unreachable', 'gone for a moment');
      return done;
    });
    const id = await submitWith(5);
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'completed', attempt: 3, errorCode: null });
    expect(await eventsOf(id)).toEqual(['queued', 'running', 'retrying', 'running', 'retrying', 'running', 'completed']);
  });

  test('that has used up its attempts fails with the last error', async () => {
    await start(async ({ claim }) => {
      throw new HoldfastError(claim.attempt === 1 ? 'storage_unreachable' : 'storage_full', `no. ${claim.attempt}`);
    });
    const id = await submitWith(2);
    const row = await fixture.eventually('backup', id, isFinal);
    expect(row).toMatchObject({ status: 'failed', attempt: 2, errorCode: 'storage_full', errorMessage: 'no. 2' });
    await expect.poll(() => jobState(id)).toBe('failed');
  });

  test('that fails for good is not tried again', async () => {
    await start(async () => {
      throw new HoldfastError('path_not_found', 'no such source');
    });
    const id = await submitWith(5);
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'failed', attempt: 1, errorCode: 'path_not_found' });
    await expect.poll(() => jobState(id)).toBe('failed');
  });

  test('that an unforeseen error hits is tried again', async () => {
    await start(async ({ claim }) => {
      if (claim.attempt === 1) throw new TypeError('undefined is not a function');
      return done;
    });
    const id = await submitWith(3);
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'completed', attempt: 2 });
  });

  test('that finds the repository locked waits without using up its attempts', async () => {
    await start(async ({ claim }) => {
      if (claim.attempt < 5) throw new HoldfastError('repository_locked', 'somebody prunes');
      return done;
    });
    const id = await submitWith(1);
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'completed', attempt: 5 });
  });

  test('that is cancelled while it waits is never begun', async () => {
    const id = await fixture.submitBackup(configId);
    await requestCancel(fixture.database.db, 'backup', id);
    await start(async () => done);
    await expect.poll(() => jobState(id)).toBe('completed');
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'cancelled', attempt: 0 });
  });

  test('that is cancelled while it runs stops within a second', async () => {
    await start(endless);
    const id = await fixture.submitBackup(configId);
    await fixture.eventually('backup', id, (row) => row.status === 'running');
    const cancelledAtMs = performance.now();
    await requestCancel(fixture.database.db, 'backup', id);
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'cancelled' });
    expect(performance.now() - cancelledAtMs).toBeLessThan(1_000);
    expect(await eventsOf(id)).toEqual(['queued', 'running', 'cancelling', 'cancelled']);
  });

  test('whose cancel notification was lost is stopped by the heartbeat', async () => {
    await start(endless);
    const id = await fixture.submitBackup(configId);
    await fixture.eventually('backup', id, (row) => row.status === 'running');
    await fixture.database.db.client.backupJob.update({ where: { id }, data: { cancelRequestedAt: new Date() } });
    expect(await fixture.eventually('backup', id, isFinal, 3_000)).toMatchObject({ status: 'cancelled' });
  });

  test('that a silent worker holds is taken over, and what that worker then tells is refused', async () => {
    const id = await fixture.submitBackup(configId, { enqueue: false });
    const former = await claimRun(fixture.database.db, 'backup', id, { workerId: 'dead', now: new Date(Date.now() - 60_000) });
    await start(async () => done);
    const row = await fixture.eventually('backup', id, isFinal);
    expect(row).toMatchObject({ status: 'completed', attempt: 2 });
    expect(former).toMatchObject({ attempt: 1 });
    expect(row.claimedBy).not.toBe('dead');
  });

  test('that another worker holds and works on is left to it', async () => {
    const id = await fixture.submitBackup(configId, { enqueue: false });
    await claimRun(fixture.database.db, 'backup', id, { workerId: 'busy' });
    await start(async () => done);
    await fixture.queues.enqueueRun('backup', id);
    await delay(600);
    expect(await fixture.eventually('backup', id, () => true)).toMatchObject({ status: 'running', attempt: 1, claimedBy: 'busy' });
    // It falls silent.
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'completed', attempt: 2 });
  });

  test('that was taken over in mid-work stops and changes nothing', async () => {
    let reason: unknown;
    const worker = await start(async (run) => {
      await endless(run).catch((error: unknown) => {
        reason = error;
        throw error;
      });
      return done;
    });
    const id = await fixture.submitBackup(configId);
    await fixture.eventually('backup', id, (row) => row.status === 'running');
    await claimRun(fixture.database.db, 'backup', id, { workerId: 'usurper' });
    await expect.poll(() => reason, { timeout: 5_000 }).toMatchObject({ code: 'run_superseded' });
    expect(await fixture.eventually('backup', id, () => true)).toMatchObject({ status: 'running', claimedBy: 'usurper' });
    await worker.stop();
    await requestCancel(fixture.database.db, 'backup', id);
  });

  test('that a stopping worker interrupts goes on at another one', async () => {
    const first = await start(endless);
    const id = await fixture.submitBackup(configId);
    await fixture.eventually('backup', id, (row) => row.status === 'running');
    await first.stop();
    expect(await fixture.eventually('backup', id, () => true)).toMatchObject({ status: 'queued', errorCode: 'run_interrupted' });
    expect(await jobState(id)).toBe('waiting');
    await start(async () => done);
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'completed', attempt: 2 });
  });

  test('that ends within the grace of a stopping worker is not interrupted', async () => {
    const worker = await start(async () => {
      await delay(700);
      return done;
    }, 5_000);
    const id = await fixture.submitBackup(configId);
    await fixture.eventually('backup', id, (row) => row.status === 'running');
    await worker.stop();
    expect(await fixture.eventually('backup', id, () => true)).toMatchObject({ status: 'completed', attempt: 1 });
  });

  test('is not begun while queues are paused', async () => {
    await start(async () => done);
    await fixture.queues.pauseAll();
    const id = await fixture.submitBackup(configId);
    await delay(1_500);
    expect(await fixture.eventually('backup', id, () => true)).toMatchObject({ status: 'queued' });
    await fixture.queues.resumeAll();
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'completed', attempt: 1 });
  });

  test('whose enqueue was lost is found by the reconciler', async () => {
    await start(async () => done);
    const id = await fixture.submitBackup(configId, { enqueue: false });
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'completed', attempt: 1 });
  });
});
