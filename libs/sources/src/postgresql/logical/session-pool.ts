import type { Session } from './session.ts';

/** At most so many sessions, opened when they are needed; who asks for one more waits. */
export class SessionPool implements AsyncDisposable {
  readonly #open: () => Promise<Session>;
  readonly #idle: Session[] = [];
  readonly #all = new Set<Session>();
  /** That nobody has asked for yet. */
  readonly #ahead: Promise<Session>[] = [];
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(maxSessions: number, open: () => Promise<Session>) {
    this.#free = maxSessions;
    this.#open = open;
  }

  /** Begins to open so many, of those that are soon asked for. */
  openAhead(count: number): void {
    while (this.#ahead.length < count) {
      const opening = this.#open();
      // Who asks for it hears of it.
      opening.catch(() => undefined);
      this.#ahead.push(opening);
    }
  }

  /** Give it back with release, also when it is of no more use. */
  async acquire(): Promise<Session> {
    if (this.#free > 0) this.#free--;
    else await this.#turn();
    try {
      const session = this.#idle.pop() ?? (await (this.#ahead.shift() ?? this.#open()));
      this.#all.add(session);
      return session;
    } catch (error) {
      this.#next();
      throw error;
    }
  }

  release(session: Session): void {
    if (session.isUsable) this.#idle.push(session);
    else this.#all.delete(session);
    this.#next();
  }

  /** Whoever waits for one of them hears that it is gone. */
  destroy(): void {
    for (const session of this.#all) session.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const opened of await Promise.allSettled(this.#ahead)) if (opened.status === 'fulfilled') this.#all.add(opened.value);
    await Promise.all([...this.#all].map((session) => session.close()));
  }

  async #turn(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    await promise;
  }

  #next(): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#free++;
    else waiting();
  }
}
