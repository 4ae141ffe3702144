/** Why a command is to end in good order. */
export class StopRequest extends Error {
  override readonly name = 'StopRequest';
}

export interface StopSignals extends Disposable {
  readonly signal: AbortSignal;
}

/** A Ctrl-C reaches a process from its terminal and from npm at the same moment: one wish, not two. */
const sameWishMs = 1_000;
const parentPollMs = 500;

/**
 * Turns SIGINT, SIGTERM, SIGHUP and the death of the parent that `HOLDFAST_PARENT_PID` names into an abort. `onImpatience` is called when
 * somebody asks again later, because the orderly way takes too long.
 */
export function watchStopSignals(environment: Readonly<Record<string, string | undefined>>, onImpatience: () => void): StopSignals {
  const stopping = new AbortController();
  let askedAtMs: number | undefined;
  const ask = (reason: string): void => {
    if (askedAtMs === undefined) {
      askedAtMs = performance.now();
      stopping.abort(new StopRequest(reason));
    } else if (performance.now() - askedAtMs > sameWishMs) onImpatience();
  };
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of names) process.on(name, ask);

  // When the one who reads is gone there is nobody to tell, and still much to stop in order.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

  const parentPid = process.ppid;
  const isWatched = environment['HOLDFAST_PARENT_PID'] === String(parentPid);
  const watch = setInterval(() => {
    if (!isWatched || process.ppid === parentPid) return;
    clearInterval(watch);
    ask('the parent process is gone');
  }, parentPollMs);
  watch.unref();

  return {
    signal: stopping.signal,
    [Symbol.dispose]() {
      clearInterval(watch);
      for (const name of names) process.off(name, ask);
    },
  };
}

/** Resolves when the signal is aborted. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    // A signal alone keeps no process alive.
    const keepAlive = setInterval(() => undefined, 2 ** 30);
    signal.addEventListener('abort', () => {
      clearInterval(keepAlive);
      resolve();
    });
  });
}
