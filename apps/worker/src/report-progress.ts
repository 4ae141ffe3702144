import type { EngineProgress, OnProgress } from '@holdfast/engine/progress';
import { progressIntervalMs, type Progress } from '@holdfast/jobs/progress';

/**
 * Turns the engine's many counts into at most two values a second with rate and remaining time. Values are for eyes: one that
 * cannot be sent is dropped, and while one is on its way the newest waits for it.
 */
export interface ProgressReporter {
  readonly onProgress: OnProgress;
  /** Sends what was told last, if it was not sent; returns when it is out or lost. */
  readonly flush: () => Promise<void>;
}

export interface ProgressReporterOptions {
  readonly send: (progress: Progress) => Promise<unknown>;
  readonly onLost: (error: unknown) => void;
  /** Milliseconds of a clock that only goes forward. */
  readonly now: () => number;
}

/** The rate is a mean over this long: shorter jumps about, longer lags behind. */
const rateWindowMs = 10_000;
/** Over less than this a rate says more about buffers than about the work: none is told (0). */
const shortestRateMs = 400;

export function createProgressReporter({ send, onLost, now }: ProgressReporterOptions): ProgressReporter {
  const startedAtMs = now();
  let samples: { atMs: number; bytesDone: number }[] = [];
  let phase = '';
  let latest: EngineProgress | undefined;
  let sentAtMs = Number.NEGATIVE_INFINITY;
  let sending: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;

  const valueOf = (progress: EngineProgress): Progress => {
    const atMs = now();
    samples = [...samples.filter((sample) => atMs - sample.atMs <= rateWindowMs), { atMs, bytesDone: progress.bytesDone }];
    const bytesPerSecond = rateOf(samples);
    const bytesLeft = progress.bytesTotal === null ? null : Math.max(0, progress.bytesTotal - progress.bytesDone);
    const remainingMs = bytesLeft === null || bytesPerSecond === 0 ? null : Math.round((bytesLeft / bytesPerSecond) * 1000);
    const { filesDone, filesTotal, bytesDone, bytesTotal } = progress;
    return {
      phase: progress.phase,
      filesDone,
      filesTotal,
      bytesDone,
      bytesTotal,
      bytesPerSecond,
      elapsedMs: Math.round(atMs - startedAtMs),
      remainingMs: bytesLeft === 0 ? 0 : remainingMs,
    };
  };

  const sendLatest = async (): Promise<void> => {
    const progress = latest;
    if (progress === undefined) return;
    latest = undefined;
    sentAtMs = now();
    try {
      await send(valueOf(progress));
    } catch (error) {
      onLost(error);
    }
  };

  const schedule = (): void => {
    if (latest === undefined || sending !== undefined || timer !== undefined) return;
    const waitMs = Math.max(0, sentAtMs + progressIntervalMs - now());
    timer = setTimeout(() => {
      timer = undefined;
      sending = sendLatest().finally(() => {
        sending = undefined;
        schedule();
      });
    }, waitMs);
    timer.unref();
  };

  return {
    onProgress(progress) {
      if (progress.phase !== phase) {
        // Another phase counts other bytes.
        phase = progress.phase;
        samples = [{ atMs: now(), bytesDone: progress.bytesDone }];
      }
      latest = progress;
      schedule();
    },
    async flush() {
      clearTimeout(timer);
      timer = undefined;
      await sending;
      clearTimeout(timer);
      timer = undefined;
      await sendLatest();
    },
  };
}

function rateOf(samples: readonly { atMs: number; bytesDone: number }[]): number {
  const first = samples[0];
  const last = samples.at(-1);
  if (first === undefined || last === undefined || last.atMs - first.atMs < shortestRateMs) return 0;
  return Math.max(0, Math.round(((last.bytesDone - first.bytesDone) * 1000) / (last.atMs - first.atMs)));
}
