import { setTimeout as delay } from 'node:timers/promises';
import { latestSequence, readEvents, type LoggedEvent } from '@holdfast/database/events';
import type { Database } from '@holdfast/database/open-database';
import { isInScope, type Scope } from '@holdfast/database/scope';
import type { ProgressEvent } from '@holdfast/jobs/progress-events';

/**
 * From the event log to many readers. One reader of the log per process, woken by LISTEN, hands each event to every subscriber
 * that may see it; a subscriber that asks for older ones is first given them from the log, and joins the others without a gap
 * and without a repetition. Progress is passed on as it comes and kept nowhere.
 */
export interface Subscriber {
  /** The entities whose events are wanted; '*' includes events of the service as a whole. */
  readonly scope: Scope;
  readonly subjectId: string | undefined;
  /** Takes one event. May wait while older events are replayed, so that a slow reader slows its own replay only. */
  onEvent(event: LoggedEvent): void;
  /** Resolves when more may be given, or the reader is gone. */
  ready(): Promise<void>;
  onProgress(progress: ProgressEvent, businessEntityId: string): void;
  /** The replay is over, or there was none: from here on events are told as they happen. */
  onLive(sequence: bigint): void;
  /** The feed ends: the server stops, or the replay failed. */
  onEnd(): void;
}

export interface EventFeed extends AsyncDisposable {
  /** Reads what is new: to be called whenever LISTEN says so, and after it was lost. */
  wake(): void;
  /** Passes progress on to those who may see it. */
  progress(event: ProgressEvent): void;
  /** Begins after the event numbered `after`, or with what happens from now on. Returns how to stop. */
  subscribe(subscriber: Subscriber, after: bigint | undefined): () => void;
  readonly subscriberCount: number;
  /** Ends every subscription. May be called twice. */
  close(): Promise<void>;
}

const pageCount = 500;
/** A replayed page is written at once: it must fit into what may wait for a reader. */
const replayPageCount = 100;
/** A notification that got lost is made good after this. */
const pollIntervalMs = 5_000;
const retryPauseMs = 1_000;
/** Of so many runs it is remembered whose they are; the oldest are forgotten and looked up again. */
const rememberedRunsMaxCount = 10_000;

/** Starts at the newest event of the log. Code: database_unreachable. */
export async function createEventFeed(options: {
  readonly database: Database;
  readonly onError: (error: unknown) => void;
}): Promise<EventFeed> {
  const feed = new LogFeed(options.database, options.onError, await latestSequence(options.database.client));
  feed.start();
  return feed;
}

class LogFeed implements EventFeed {
  readonly #database: Database;
  readonly #onError: (error: unknown) => void;
  readonly #live = new Set<Subscriber>();
  readonly #all = new Set<Subscriber>();
  readonly #stopping = new AbortController();
  readonly #entityByRun = new Map<string, string>();
  /** The newest event that the live subscribers were given. */
  #head: bigint;
  #awake = Promise.withResolvers<void>();
  #reading: Promise<void> = Promise.resolve();
  #poll: NodeJS.Timeout | undefined;

  constructor(database: Database, onError: (error: unknown) => void, head: bigint) {
    this.#database = database;
    this.#onError = onError;
    this.#head = head;
  }

  get subscriberCount(): number {
    return this.#all.size;
  }

  start(): void {
    this.#reading = this.#readForEver();
    this.#poll = setInterval(() => this.wake(), pollIntervalMs);
    this.#poll.unref();
  }

  wake(): void {
    this.#awake.resolve();
  }

  subscribe(subscriber: Subscriber, after: bigint | undefined): () => void {
    this.#all.add(subscriber);
    if (after === undefined) this.#join(subscriber);
    else {
      void this.#replay(subscriber, after < this.#head ? after : this.#head).catch((error: unknown) => {
        if (!this.#all.has(subscriber)) return;
        this.#onError(error);
        this.#remove(subscriber);
        subscriber.onEnd();
      });
    }
    return () => this.#remove(subscriber);
  }

  progress(event: ProgressEvent): void {
    if (this.#live.size === 0) return;
    const entityId = this.#entityByRun.get(event.id);
    if (entityId !== undefined) this.#tellProgress(event, entityId);
    else {
      void this.#lookUpEntity(event.id).then(
        (found) => (found === undefined ? undefined : this.#tellProgress(event, found)),
        this.#onError,
      );
    }
  }

  async close(): Promise<void> {
    if (!this.#stopping.signal.aborted) {
      this.#stopping.abort();
      clearInterval(this.#poll);
      this.wake();
      for (const subscriber of this.#all) subscriber.onEnd();
      this.#all.clear();
      this.#live.clear();
    }
    await this.#reading;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #readForEver(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await this.#awake.promise;
      this.#awake = Promise.withResolvers<void>();
      try {
        while (!signal.aborted && (await this.#readPage()) === pageCount);
      } catch (error) {
        if (signal.aborted) return;
        this.#onError(error);
        await delay(retryPauseMs, undefined, { signal }).catch(() => undefined);
        this.wake();
      }
    }
  }

  async #readPage(): Promise<number> {
    const events = await readEvents(this.#database.client, { after: this.#head, entityIds: '*', limit: pageCount });
    for (const event of events) {
      this.#head = event.sequence;
      if (event.businessEntityId !== null) this.#remember(event.subjectId, event.businessEntityId);
      for (const subscriber of this.#live) if (wants(subscriber, event)) subscriber.onEvent(event);
    }
    return events.length;
  }

  /** Reads until nothing is missing between what the subscriber has and what the live ones have; then, at once, it is one of them. */
  async #replay(subscriber: Subscriber, after: bigint): Promise<void> {
    let position = after;
    while (this.#all.has(subscriber)) {
      const headBefore = this.#head;
      if (position >= headBefore) return this.#join(subscriber);
      const events = await readEvents(this.#database.client, {
        after: position,
        entityIds: subscriber.scope,
        subjectId: subscriber.subjectId,
        limit: replayPageCount,
      });
      for (const event of events) {
        // What lies beyond is told by the live reader, or by the next round.
        if (event.sequence <= headBefore) subscriber.onEvent(event);
      }
      const last = events.at(-1)?.sequence;
      position = events.length === replayPageCount && last !== undefined && last < headBefore ? last : headBefore;
      await subscriber.ready();
    }
  }

  #join(subscriber: Subscriber): void {
    this.#live.add(subscriber);
    subscriber.onLive(this.#head);
  }

  #remove(subscriber: Subscriber): void {
    this.#all.delete(subscriber);
    this.#live.delete(subscriber);
  }

  #tellProgress(event: ProgressEvent, entityId: string): void {
    for (const subscriber of this.#live) {
      const sees = isInScope(subscriber.scope, entityId);
      if (sees && (subscriber.subjectId === undefined || subscriber.subjectId === event.id)) subscriber.onProgress(event, entityId);
    }
  }

  /** A run's first event says whose it is. */
  async #lookUpEntity(runId: string): Promise<string | undefined> {
    const [first] = await readEvents(this.#database.client, { after: 0n, entityIds: '*', subjectId: runId, limit: 1 });
    const entityId = first?.businessEntityId ?? undefined;
    if (entityId !== undefined) this.#remember(runId, entityId);
    return entityId;
  }

  #remember(runId: string, entityId: string): void {
    this.#entityByRun.set(runId, entityId);
    if (this.#entityByRun.size <= rememberedRunsMaxCount) return;
    const [oldest] = this.#entityByRun.keys();
    if (oldest !== undefined) this.#entityByRun.delete(oldest);
  }
}

function wants(subscriber: Subscriber, event: LoggedEvent): boolean {
  const { scope } = subscriber;
  const sees = event.businessEntityId === null ? typeof scope === 'string' : isInScope(scope, event.businessEntityId);
  return sees && (subscriber.subjectId === undefined || subscriber.subjectId === event.subjectId);
}
