import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';

/** What `nice` gives by default: others that want the processor get about nine tenths of it. */
export const lowNiceness = 10;

/**
 * Makes the calling thread alone one of low priority, for good: without privileges there is no way back. Only Linux has a priority
 * for each thread; elsewhere nothing happens, since it would be the whole process's.
 */
export function lowerThreadPriority(): void {
  const id = ownThreadId();
  if (id !== undefined) setPriority(id, lowNiceness);
}

function ownThreadId(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    // A link to <process>/task/<thread>, for whichever thread reads it.
    return Number(readlinkSync('/proc/thread-self').split('/').at(-1));
  } catch {
    // A Linux without /proc: as elsewhere.
    return undefined;
  }
}
