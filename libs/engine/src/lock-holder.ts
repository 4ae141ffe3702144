import { hostname } from 'node:os';
import { processUser } from './process-user.ts';

/** Who holds a lock: what restic shows of it. */
export interface LockHolder {
  readonly hostname: string;
  readonly username: string;
  readonly pid: number;
  readonly uid?: number;
  readonly gid?: number;
  /** When the lock was taken or last refreshed; for a process itself: when it started. */
  readonly since: Date;
}

/** restic's limit: a lock this old was left behind, since a living holder refreshes it every few minutes. */
export const staleAfterMs = 30 * 60 * 1000;

/** This process. */
export function currentHolder(): LockHolder {
  return { hostname: hostname(), ...processUser(), pid: process.pid, since: new Date(Date.now() - process.uptime() * 1000) };
}

/**
 * True for a lock whose holder is gone: too old, or of a dead process on the host of `own`. A lock of our own pid from before we
 * started is of a former process too: containers begin with the same few pids every time.
 */
export function isStale(lock: LockHolder, own: LockHolder, now: Date): boolean {
  if (now.getTime() - lock.since.getTime() >= staleAfterMs) return true;
  if (lock.hostname !== own.hostname) return false;
  if (lock.pid === own.pid) return lock.since < own.since;
  return !isAlive(lock.pid);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is there, but another user's.
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH');
  }
}
