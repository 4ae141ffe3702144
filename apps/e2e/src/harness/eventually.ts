import { setTimeout as sleep } from 'node:timers/promises';

const pollIntervalMs = 100;

/** Polls `probe` until it gives something other than undefined; after `timeoutMs` throws what `describe` says. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined>,
  timeoutMs: number,
  describe: () => string = () => '',
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (Date.now() > deadline) throw new Error(`${what}: not seen within ${timeoutMs} ms ${describe()}`);
    await sleep(pollIntervalMs);
  }
}
