import { findRepository, type RepositoryRow } from '@holdfast/database/repositories';
import { openSnapshotBrowser, type SnapshotBrowser } from '@holdfast/engine/browse/snapshot-browser';
import { asHoldfastError, HoldfastError } from '@holdfast/errors/holdfast-error';
import { withDeadline } from '@holdfast/jobs/with-deadline';
import { untilAborted } from '@holdfast/storage/until-aborted';
import { openRepositoryToBrowse } from '../open-repository.ts';
import type { WorkerContext } from '../worker-context.ts';

/** Snapshot browsers of repositories, kept open between requests: what they have read of index and folders is what makes the next one quick. */
export interface BrowserPool extends AsyncDisposable {
  /**
   * Lends the browser of a repository, opened when there is none. Dispose of the loan when nothing more is asked.
   * Codes: not_found, those of openRepositoryToBrowse. Aborts with the signal's reason.
   */
  lend(repositoryId: string, signal: AbortSignal): Promise<LentBrowser>;
}

export interface LentBrowser extends Disposable {
  readonly browser: SnapshotBrowser;
  /** Tells of an error: after some of them the repository is opened anew for the next one. */
  failed(error: unknown): void;
}

/** So long a person looks at a page before going on. */
const idleMs = 5 * 60_000;
/** Then keys, credentials and password are looked at again, which may have been changed or taken away. */
const openMaxMs = 30 * 60_000;
/** Each holds an index and folders, within bounds of its own. */
const browsersMaxCount = 8;
const sweepMs = 30_000;
/** A storage that is away must not keep the worker from closing the rest. */
const closeMs = 3_000;

/** After these the way into the repository may be what is wrong. */
const distrusted: readonly string[] = [
  'repository_missing',
  'repository_password_wrong',
  'repository_damaged',
  'storage_denied',
  'storage_unreachable',
];

interface Opened {
  readonly browser: SnapshotBrowser;
  close(): Promise<void>;
}

interface OpenBrowser {
  /** What the row said of the place. */
  readonly place: string;
  readonly openedAtMs: number;
  readonly opening: Promise<Opened>;
  usedAtMs: number;
  useCount: number;
  /** No longer lent; closed when the last one is given back. */
  isRetired: boolean;
}

export function openBrowserPool(context: WorkerContext): BrowserPool {
  return new RepositoryBrowsers(context);
}

class RepositoryBrowsers implements BrowserPool {
  readonly #context: WorkerContext;
  readonly #closing = new AbortController();
  readonly #open = new Map<string, OpenBrowser>();
  readonly #closed = new Set<Promise<void>>();
  readonly #sweeper: NodeJS.Timeout;

  constructor(context: WorkerContext) {
    this.#context = context;
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs).unref();
  }

  async lend(repositoryId: string, signal: AbortSignal): Promise<LentBrowser> {
    const row = await findRepository(this.#context.database.client, '*', repositoryId);
    this.#closing.signal.throwIfAborted();
    const entry = this.#current(row);
    entry.useCount++;
    let isLent = true;
    const giveBack = (): void => {
      if (isLent) this.#takeBack(entry);
      isLent = false;
    };
    try {
      const { browser } = await untilAborted(entry.opening, signal);
      return { browser, failed: (error) => this.#judge(repositoryId, entry, error), [Symbol.dispose]: giveBack };
    } catch (error) {
      if (!signal.aborted) this.#retire(repositoryId, entry);
      giveBack();
      throw error;
    }
  }

  /** The one that is open and still as the row says, else a new one. */
  #current(row: RepositoryRow): OpenBrowser {
    const place = JSON.stringify([row.storageOptions, row.storageCredentialsPlace, row.resticId]);
    const now = performance.now();
    const known = this.#open.get(row.id);
    if (known !== undefined) {
      if (known.place === place && now - known.openedAtMs < openMaxMs) return known;
      this.#retire(row.id, known);
    }
    const opening = this.#openBrowser(row);
    // Whoever waits for it is told; nobody may wait any longer.
    opening.catch(() => undefined);
    const entry: OpenBrowser = { place, openedAtMs: now, opening, usedAtMs: now, useCount: 0, isRetired: false };
    this.#open.set(row.id, entry);
    this.#makeRoom();
    return entry;
  }

  async #openBrowser(row: RepositoryRow): Promise<Opened> {
    const repository = await openRepositoryToBrowse(this.#context, row, this.#closing.signal);
    const { clock, timing, logger } = this.#context;
    const browser = openSnapshotBrowser({
      repository,
      waitMs: timing.lockWaitMs,
      clock,
      onWarning: (message, error) => logger.warn({ err: error }, message),
    });
    const close = async (): Promise<void> => {
      await browser[Symbol.asyncDispose]();
      await repository.close();
    };
    return { browser, close };
  }

  #judge(repositoryId: string, entry: OpenBrowser, error: unknown): void {
    if (distrusted.includes(asHoldfastError(error).code)) this.#retire(repositoryId, entry);
  }

  #takeBack(entry: OpenBrowser): void {
    entry.useCount--;
    entry.usedAtMs = performance.now();
    if (entry.isRetired && entry.useCount === 0) this.#close(entry);
  }

  #retire(repositoryId: string, entry: OpenBrowser): void {
    if (this.#open.get(repositoryId) === entry) this.#open.delete(repositoryId);
    if (entry.isRetired) return;
    entry.isRetired = true;
    if (entry.useCount === 0) this.#close(entry);
  }

  #close(entry: OpenBrowser): void {
    const closed = entry.opening.then(
      (opened) => opened.close(),
      // It was never open.
      () => undefined,
    );
    const noted = closed
      .catch((error: unknown) => this.#context.logger.warn({ err: error }, 'a repository that was looked into did not close'))
      .finally(() => this.#closed.delete(noted));
    this.#closed.add(noted);
  }

  /** The least recently used of those that nobody has now. */
  #makeRoom(): void {
    const idle = [...this.#open].filter(([, { useCount }]) => useCount === 0).toSorted(([, a], [, b]) => a.usedAtMs - b.usedAtMs);
    for (const [id, entry] of idle) {
      if (this.#open.size <= browsersMaxCount) return;
      this.#retire(id, entry);
    }
  }

  #sweep(): void {
    const now = performance.now();
    for (const [id, entry] of this.#open) if (entry.useCount === 0 && now - entry.usedAtMs > idleMs) this.#retire(id, entry);
    this.#makeRoom();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweeper);
    this.#closing.abort(new HoldfastError('run_interrupted', 'the worker stopped'));
    for (const [id, entry] of this.#open) {
      // Those who still read have been cut off by the server before.
      entry.useCount = 0;
      this.#retire(id, entry);
    }
    try {
      await withDeadline(Promise.all(this.#closed), closeMs);
    } catch (error) {
      this.#context.logger.warn({ err: error }, 'a repository that was looked into did not close in time; its lock goes stale');
    }
  }
}
