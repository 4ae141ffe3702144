import { setTimeout as delay } from 'node:timers/promises';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { watchProgress, type ProgressEvent } from '@holdfast/jobs/progress-events';
import { createQueueBackend, type QueueBackend } from '@holdfast/jobs/queue-backend';
import { openQueues } from '@holdfast/jobs/queues';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { backends, openWorkerFixture, type WorkerFixture } from './testing/worker-fixture.ts';

// The queues of libs/jobs on both servers: here, because only an app may open a database for them.

const progress = {
  phase: 'reading',
  filesDone: 1,
  filesTotal: null,
  bytesDone: 5,
  bytesTotal: 10,
  bytesPerSecond: 1,
  elapsedMs: 5,
  remainingMs: 5,
};
const ignore = (): void => undefined;

describe.each(backends)('queues on %s', (kind) => {
  let fixture: WorkerFixture;
  let backend: QueueBackend;

  beforeAll(async () => {
    fixture = await openWorkerFixture(kind);
    backend = createQueueBackend({ redisUrl: fixture.config.redisUrl, databaseUrl: fixture.config.databaseUrl });
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  /** Takes every job of the verify queue once and gives it to `process`. */
  const work = async (process: (id: string) => Promise<void>, during: () => Promise<void>): Promise<void> => {
    const worker = backend.openWorker('verify', async (job) => process(job.id ?? ''), {}, ignore);
    void worker.run();
    try {
      await during();
    } finally {
      await worker.close();
    }
  };

  test('take a run once, however often it is added', async () => {
    await Promise.all([1, 2, 3].map(() => fixture.queues.enqueueRun('backup', 'twice')));
    expect((await fixture.queues.counts()).backup).toMatchObject({ waiting: 1 });
    expect(await fixture.queues.liveRuns('backup', ['twice', 'never'])).toEqual(new Set(['twice']));
    expect(await fixture.queues.removeRun('backup', 'twice')).toBe(true);
    expect(await fixture.queues.removeRun('backup', 'twice')).toBe(false);
  });

  test('take a finished run again, tell progress, and do not remove what is active', async () => {
    const seen: string[] = [];
    const heard: ProgressEvent[] = [];
    await using watch = watchProgress(backend, { onProgress: (event) => heard.push(event), onError: ignore });
    const process = async (id: string): Promise<void> => {
      seen.push(id);
      expect(await fixture.queues.removeRun('verify', id)).toBe(false);
      const job = await fixture.queues.byName.verify.getJob(id);
      await job?.updateProgress(progress);
      await job?.updateProgress({ other: 'shape' });
      await delay(100);
    };
    await work(process, async () => {
      await delay(300);
      await fixture.queues.enqueueRun('verify', 'again');
      await expect.poll(() => fixture.queues.byName.verify.getJobState('again')).toBe('completed');
      await fixture.queues.enqueueRun('verify', 'again');
      await expect.poll(() => seen.length).toBe(2);
      await expect.poll(() => heard.length).toBe(2);
    });
    expect(heard[0]).toEqual({ kind: 'verify', id: 'again', progress });
    await watch.close();
  });

  test('pause and resume, and answer how they are', async () => {
    await fixture.queues.pauseAll();
    expect(await fixture.queues.paused()).toEqual({ backup: true, verify: true, recovery: true, cleanup: true, copy: true, adopt: true });
    await fixture.queues.resumeAll();
    expect(await fixture.queues.paused()).toEqual({
      backup: false,
      verify: false,
      recovery: false,
      cleanup: false,
      copy: false,
      adopt: false,
    });
    expect((await fixture.queues.ping()).latencyMs).toBeLessThan(1_000);
    expect(await backend.checkConfiguration()).toEqual([]);
  });

  test('may be opened by many at once', async () => {
    const opened = await Promise.all([1, 2, 3].map(() => openQueues(backend, { onError: ignore })));
    expect(opened.map((queues) => queues.backendKind)).toEqual([kind, kind, kind]);
    await Promise.all(opened.map((queues) => queues.close()));
    await Promise.all(opened.map((queues) => queues.close()));
  });
});

describe('queues whose server is away', () => {
  test.each([{ redisUrl: 'redis://127.0.0.1:1', databaseUrl: '' }])('say so within the time that a request may wait', async (place) => {
    const queues = await openQueues(createQueueBackend(place), { onError: ignore });
    const startedAtMs = performance.now();
    const calls = [() => queues.enqueueRun('backup', 'a'), () => queues.ping(), () => queues.pauseAll(), () => queues.counts()];
    const answers = await Promise.all(calls.map((call) => call().catch((error: unknown) => error)));
    expect(answers.every((answer) => isHoldfastError(answer, 'queue_unreachable'))).toBe(true);
    expect(performance.now() - startedAtMs).toBeLessThan(2_500);
    await queues.close();
    expect(performance.now() - startedAtMs).toBeLessThan(9_000);
  });

  test('cannot be opened on postgresql', async () => {
    const backend = createQueueBackend({ databaseUrl: 'postgresql://u:secret@127.0.0.1:1/x' });
    const error = await openQueues(backend, { onError: ignore }).catch((thrown: unknown) => thrown);
    expect(isHoldfastError(error, 'queue_unreachable')).toBe(true);
    expect(String(error)).not.toContain('secret');
  });
});
