import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import type { SftpSession } from './sftp-session.ts';

/** OpenSSH turns connections away at random from the eleventh that has not logged in yet (MaxStartups); others log in beside us. */
const maxOpeningCount = 4;
/** A server that takes no more connections is not asked for more for a while: those that are open go on with the work. */
const refusedForMs = 10_000;
const idleLimitMs = 60_000;
/** For aborted puts that still remove their temporary file. */
const closeGraceMs = 5_000;

interface Waiter {
  readonly resolve: (session: SftpSession) => void;
  readonly reject: (error: unknown) => void;
}

interface IdleSession {
  readonly session: SftpSession;
  readonly timer: NodeJS.Timeout;
}

/**
 * Sessions at one server, so many at most, each with one piece of work at a time. They are opened when needed and ended when nobody has
 * needed them for a minute; a lost one is dropped. Work waits in line for a session and fails only when there is none and none can be had.
 */
export class SftpSessionPool {
  readonly #open: () => Promise<SftpSession>;
  readonly #maxCount: number;
  readonly #nowMs: () => number;
  readonly #sessions = new Set<SftpSession>();
  readonly #idle: IdleSession[] = [];
  readonly #waiters: Waiter[] = [];
  readonly #running = new Set<Promise<unknown>>();
  #openingCount = 0;
  /** Until when no more than those that there were are opened. */
  #refused = { count: 0, untilMs: 0 };
  #isClosed = false;

  constructor(open: () => Promise<SftpSession>, maxCount: number, nowMs: () => number = () => performance.now()) {
    this.#open = open;
    this.#maxCount = maxCount;
    this.#nowMs = nowMs;
  }

  /** Aborting ends the waiting in line; what runs sees to it by itself. Errors: those of opening a session, and the work's own. */
  async run<T>(work: (session: SftpSession) => Promise<T>, signal?: AbortSignal): Promise<T> {
    invariant(!this.#isClosed, 'a storage is not used after it was closed');
    const session = await this.#acquire(signal);
    const running = work(session);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
      this.#release(session);
    }
  }

  /** Waits a little for what runs, and ends all sessions. Calling it twice is no error. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const closed = new HoldfastError('storage_unreachable', 'the storage was closed meanwhile');
    for (const waiter of this.#waiters.splice(0)) waiter.reject(closed);
    for (const { session, timer } of this.#idle.splice(0)) {
      clearTimeout(timer);
      this.#drop(session);
    }
    if (this.#running.size > 0) {
      const over = new AbortController();
      const grace = sleep(closeGraceMs, undefined, { signal: over.signal }).catch(() => undefined);
      await Promise.race([Promise.allSettled(this.#running), grace]);
      over.abort();
    }
    for (const session of this.#sessions) this.#drop(session);
  }

  async #acquire(signal: AbortSignal | undefined): Promise<SftpSession> {
    signal?.throwIfAborted();
    for (let entry = this.#idle.pop(); entry !== undefined; entry = this.#idle.pop()) {
      clearTimeout(entry.timer);
      if (!entry.session.isLost) return entry.session;
      this.#drop(entry.session);
    }
    const { promise, resolve, reject } = Promise.withResolvers<SftpSession>();
    const waiter = { resolve, reject };
    this.#waiters.push(waiter);
    const onAbort = (): void => {
      const index = this.#waiters.indexOf(waiter);
      // One that was given a session already sees the signal in its work.
      if (index === -1) return;
      this.#waiters.splice(index, 1);
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#openMore();
    try {
      return await promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #release(session: SftpSession): void {
    if (session.isLost || this.#isClosed) {
      this.#drop(session);
      this.#openMore();
    } else this.#give(session);
  }

  #give(session: SftpSession): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) return waiter.resolve(session);
    const entry = { session, timer: setTimeout(() => this.#retire(entry), idleLimitMs) };
    entry.timer.unref();
    this.#idle.push(entry);
  }

  #retire(entry: IdleSession): void {
    this.#idle.splice(this.#idle.indexOf(entry), 1);
    this.#drop(entry.session);
  }

  #drop(session: SftpSession): void {
    this.#sessions.delete(session);
    session.end();
  }

  #openMore(): void {
    for (;;) {
      const count = this.#sessions.size + this.#openingCount;
      const isRefused = this.#nowMs() < this.#refused.untilMs && count >= this.#refused.count;
      if (this.#openingCount >= Math.min(this.#waiters.length, maxOpeningCount) || count >= this.#maxCount || isRefused) return;
      this.#openingCount += 1;
      void this.#openOne();
    }
  }

  async #openOne(): Promise<void> {
    try {
      const session = await this.#open();
      this.#openingCount -= 1;
      this.#sessions.add(session);
      if (this.#isClosed) this.#drop(session);
      else this.#give(session);
    } catch (error) {
      this.#openingCount -= 1;
      this.#refuse(error);
    }
    this.#openMore();
  }

  /** A refusal stays one for all who wait; out of reach is a server only when nobody works with it. */
  #refuse(error: unknown): void {
    const leftCount = this.#sessions.size + this.#openingCount;
    if (leftCount > 0 && isHoldfastError(error, 'storage_unreachable')) {
      this.#refused = { count: leftCount, untilMs: this.#nowMs() + refusedForMs };
      return;
    }
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }
}
