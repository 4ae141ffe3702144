import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { isCrowded } from './ftp-error.ts';
import type { FtpConnection } from './ftp-connection.ts';

/**
 * Sessions at a server, each lent to one call at a time. So many at most; who comes later waits in line. A session that a call left
 * broken is not lent again, and one that nobody wanted for a minute is ended.
 *
 * Servers allow an address or a user some sessions only, often fewer than we would use. One that refuses another session while we have
 * some is taken at its word: for a while we get by with those.
 */
export interface FtpPoolOptions {
  readonly maxConnections: number;
  readonly open: (signal?: AbortSignal) => Promise<FtpConnection>;
  readonly location: string;
}

/** Servers end a silent session after some minutes; before they do, its owner should. */
const idleLimitMs = 60_000;
/** After so long a server that had too many sessions is asked for another one again. */
const crowdedForMs = 60_000;

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

export class FtpPool {
  readonly #options: FtpPoolOptions;
  readonly #open = new Set<FtpConnection>();
  /** The last one given back is lent first. */
  readonly #idle: { readonly connection: FtpConnection; readonly timer: NodeJS.Timeout }[] = [];
  readonly #line: Waiter[] = [];
  readonly #crowded = new Set<NodeJS.Timeout>();
  #freeCount: number;
  #openingCount = 0;
  #isClosed = false;

  constructor(options: FtpPoolOptions) {
    this.#options = options;
    this.#freeCount = options.maxConnections;
  }

  /** Lends a session for `work`, which does everything inside its `guard`. An abort rejects at once while it waits or connects. */
  async use<T>(signal: AbortSignal | undefined, work: (connection: FtpConnection) => Promise<T>): Promise<T> {
    const connection = await this.#acquire(signal);
    try {
      return await work(connection);
    } finally {
      this.#putBack(connection);
      this.#free();
    }
  }

  /** Ends all sessions, those in use too, and refuses whoever waits. */
  close(): void {
    this.#isClosed = true;
    for (const { timer } of this.#idle.splice(0)) clearTimeout(timer);
    for (const timer of this.#crowded) clearTimeout(timer);
    for (const connection of this.#open) connection.close();
    this.#open.clear();
    for (const { reject } of this.#line.splice(0)) reject(this.#closedError());
  }

  async #acquire(signal: AbortSignal | undefined): Promise<FtpConnection> {
    for (;;) {
      await this.#turn(signal);
      let isTurnKept = false;
      try {
        const connection = this.#takeIdle() ?? (await this.#connect(signal));
        isTurnKept = connection !== undefined;
        if (connection !== undefined) return connection;
        this.#leaveOut();
        isTurnKept = true;
      } finally {
        if (!isTurnKept) this.#free();
      }
    }
  }

  /** Waits until a session may be taken; first come, first served. */
  async #turn(signal: AbortSignal | undefined): Promise<void> {
    if (this.#isClosed) throw this.#closedError();
    signal?.throwIfAborted();
    if (this.#freeCount > 0) {
      this.#freeCount -= 1;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { resolve, reject };
    this.#line.push(waiter);
    const onAbort = (): void => {
      const place = this.#line.indexOf(waiter);
      // Who has been called up already takes its turn, and sees the abort then.
      if (place === -1) return;
      this.#line.splice(place, 1);
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #free(): void {
    const next = this.#line.shift();
    if (next === undefined) this.#freeCount += 1;
    else next.resolve();
  }

  #takeIdle(): FtpConnection | undefined {
    for (let last = this.#idle.pop(); last !== undefined; last = this.#idle.pop()) {
      clearTimeout(last.timer);
      if (last.connection.isOpen) return last.connection;
      this.#open.delete(last.connection);
    }
    return undefined;
  }

  /** Undefined when the server takes no more than the sessions that we have. */
  async #connect(signal: AbortSignal | undefined): Promise<FtpConnection | undefined> {
    this.#openingCount += 1;
    try {
      const connection = await this.#options.open(signal);
      if (this.#isClosed) {
        connection.close();
        throw this.#closedError();
      }
      this.#open.add(connection);
      return connection;
    } catch (error) {
      if (isCrowded(error) && this.#open.size + this.#openingCount > 1) return undefined;
      throw error;
    } finally {
      this.#openingCount -= 1;
    }
  }

  #leaveOut(): void {
    const timer = setTimeout(() => {
      this.#crowded.delete(timer);
      this.#free();
    }, crowdedForMs);
    timer.unref();
    this.#crowded.add(timer);
  }

  #putBack(connection: FtpConnection): void {
    if (!connection.isOpen || this.#isClosed) {
      this.#open.delete(connection);
      connection.close();
      return;
    }
    const timer = setTimeout(() => this.#end(connection), idleLimitMs);
    timer.unref();
    this.#idle.push({ connection, timer });
  }

  #end(connection: FtpConnection): void {
    const place = this.#idle.findIndex((idle) => idle.connection === connection);
    if (place !== -1) this.#idle.splice(place, 1);
    this.#open.delete(connection);
    connection.close();
  }

  #closedError(): HoldfastError {
    return new HoldfastError('storage_unreachable', `${this.#options.location} was closed`, {
      context: { location: this.#options.location },
    });
  }
}
