import { asHoldfastError } from '@holdfast/errors/holdfast-error';

/** What a duty needs of a log; one of pino fits. */
export type DutyLogger = Readonly<Record<'info' | 'warn' | 'debug', (fields: object, message: string) => void>>;

export interface PeriodicDuty {
  /** Tells the round under way, waits for it, then ends. */
  stop(): Promise<void>;
}

export interface PeriodicDutyOptions {
  readonly name: string;
  readonly intervalMs: number;
  readonly logger: DutyLogger;
  /** `stopping` aborts when the process stops; what ends for that reason has not failed. */
  readonly run: (stopping: AbortSignal) => Promise<unknown>;
}

/** Share of an interval that is drawn by lot, so that processes that started together do not all ask at once. */
const jitter = 0.2;

/** Does something again and again, the first time at once. A round that fails is logged and the next one comes as ever. */
export function startPeriodicDuty({ name, intervalMs, logger, run }: PeriodicDutyOptions): PeriodicDuty {
  const stopping = new AbortController();
  let failedCount = 0;

  const round = async (): Promise<void> => {
    try {
      await run(stopping.signal);
      if (failedCount > 0) logger.info({ duty: name, failedCount }, 'goes again');
      failedCount = 0;
    } catch (error) {
      if (stopping.signal.aborted) return;
      failedCount++;
      const { code, message } = asHoldfastError(error);
      // An outage is told once, not every few seconds.
      logger[failedCount === 1 ? 'warn' : 'debug']({ duty: name, code, err: code === 'internal' ? error : undefined }, message);
    }
  };
  const loop = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await round();
      await pause(intervalMs * (1 - jitter * Math.random()), stopping.signal);
    }
  };
  const running = loop();
  return {
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, durationMs);
  signal.addEventListener('abort', () => resolve(), { once: true });
  await promise;
  clearTimeout(timer);
}
