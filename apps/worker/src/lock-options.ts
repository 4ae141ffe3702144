import type { LockOptions } from '@holdfast/engine/lock';
import type { RunKind } from '@holdfast/database/run-kinds';
import type { RunInHand } from './run-with-claim.ts';

/** How a run waits for the repository's lock: a while, telling of it in the log. */
export function lockOptionsOf<K extends RunKind>({ context, signal, logger }: RunInHand<K>): LockOptions {
  return {
    waitMs: context.timing.lockWaitMs,
    clock: context.clock,
    signal,
    onWaiting: (holder) => logger.info({ holder: { ...holder } }, 'waiting for the lock of the repository'),
    onWarning: (message, error) => logger.warn({ err: error }, message),
  };
}
