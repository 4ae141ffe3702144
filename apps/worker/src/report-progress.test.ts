import type { EngineProgress } from '@holdfast/engine/progress';
import type { Progress } from '@holdfast/jobs/progress';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createProgressReporter } from './report-progress.ts';

const at = (bytesDone: number, more: Partial<EngineProgress> = {}): EngineProgress => ({
  phase: 'reading',
  filesDone: 0,
  filesTotal: null,
  bytesDone,
  bytesTotal: 10_000,
  ...more,
});

describe('a progress reporter', () => {
  let sent: Progress[] = [];
  let send: (progress: Progress) => Promise<unknown>;
  const lost = vi.fn<(error: unknown) => void>();
  const reporter = () => createProgressReporter({ send: (progress) => send(progress), onLost: lost, now: () => Date.now() });

  beforeEach(() => {
    vi.useFakeTimers();
    sent = [];
    send = async (progress) => void sent.push(progress);
    lost.mockClear();
  });
  afterEach(() => vi.useRealTimers());

  test('sends at most twice a second, and the newest', async () => {
    const { onProgress } = reporter();
    for (let ms = 0; ms < 2_000; ms += 10) {
      onProgress(at(ms));
      await vi.advanceTimersByTimeAsync(10);
    }
    expect(sent.length).toBeGreaterThanOrEqual(4);
    expect(sent.length).toBeLessThanOrEqual(5);
    expect(sent.at(-1)?.bytesDone).toBeGreaterThanOrEqual(1_500);
  });

  test('tells rate and remaining time', async () => {
    const { onProgress } = reporter();
    for (let second = 0; second <= 4; second++) {
      onProgress(at(second * 1_000));
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(sent.at(-1)).toMatchObject({ bytesDone: 4_000, bytesPerSecond: 1_000, remainingMs: 6_000, elapsedMs: 4_000 });
  });

  test('knows no remaining time without a total or a rate', async () => {
    const { onProgress, flush } = reporter();
    onProgress(at(0));
    await vi.advanceTimersByTimeAsync(1);
    onProgress(at(10, { bytesTotal: null }));
    await flush();
    expect(sent.map((progress) => progress.remainingMs)).toEqual([null, null]);
  });

  test('begins to measure anew with a new phase', async () => {
    const { onProgress } = reporter();
    onProgress(at(9_000));
    await vi.advanceTimersByTimeAsync(1_000);
    onProgress(at(0, { phase: 'saving' }));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(sent.at(-1)).toMatchObject({ phase: 'saving', bytesPerSecond: 0 });
  });

  test('sends the last one at the end, whenever the one before was', async () => {
    const { onProgress, flush } = reporter();
    onProgress(at(1));
    await vi.advanceTimersByTimeAsync(1);
    onProgress(at(10_000));
    await flush();
    expect(sent.map((progress) => progress.bytesDone)).toEqual([1, 10_000]);
    expect(sent.at(-1)?.remainingMs).toBe(0);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(sent).toHaveLength(2);
  });

  test('lets go of what cannot be sent', async () => {
    send = async () => {
      throw new Error('no queue');
    };
    const { onProgress, flush } = reporter();
    onProgress(at(1));
    await flush();
    expect(lost).toHaveBeenCalledOnce();
  });

  test('waits for the one on its way', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    send = async (progress) => {
      sent.push(progress);
      await promise;
    };
    const { onProgress } = reporter();
    onProgress(at(1));
    await vi.advanceTimersByTimeAsync(10);
    for (let step = 2; step < 10; step++) {
      onProgress(at(step));
      await vi.advanceTimersByTimeAsync(600);
    }
    expect(sent).toHaveLength(1);
    resolve();
    await vi.advanceTimersByTimeAsync(600);
    expect(sent.map((progress) => progress.bytesDone)).toEqual([1, 9]);
  });
});
