import { mkdir, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { resolveInsideRoots } from '../allowed-roots.ts';
import type { Part, PartFacts, PartMoment } from '../application-data/part.ts';
import { readingError } from '../file-system-error.ts';
import type { Source } from '../source.ts';
import { toSystemPath } from '../system-path.ts';
import { beginCopy, type DatabaseCopy, type FinishedCopy } from './copy-database.ts';
import type { CopyCheck } from './copy-messages.ts';
import { CopySource, type FoundFile } from './copy-source.ts';

export interface SqlitePartOptions {
  readonly name: string;
  /** As the config has it. */
  readonly path: string;
  /** The allowed source roots. */
  readonly roots: readonly string[];
  /** A private folder that is the part's own; made when it is missing, and removed by close. */
  readonly scratch: string;
  readonly blocksWriters: boolean;
  readonly patienceMs: number;
  readonly check: CopyCheck;
  readonly signal: AbortSignal;
}

/** How long one call waits for somebody's lock, before the time that is left is looked at again. */
const busyMs = 500;
/** What SQLite keeps beside a database. */
export const companions = ['-wal', '-shm', '-journal'] as const;

/** A SQLite database of this machine. */
export interface SqlitePart extends Part {
  /** The real path of the database. */
  readonly databasePath: string;
}

/**
 * A database that is in use, as one file of the database's name: a copy that SQLite's online backup makes, never the file itself. Codes:
 * path_outside_roots, path_not_found, path_not_readable, sqlite_damaged (it is no regular file); later those of beginCopy.
 */
export async function openSqlitePart(options: SqlitePartOptions): Promise<SqlitePart> {
  const databasePath = await resolveInsideRoots(options.path, options.roots);
  const found = await stat(toSystemPath(databasePath)).catch((error: unknown) => {
    throw readingError(error, options.path);
  });
  if (!found.isFile()) {
    throw new HoldfastError('sqlite_damaged', `${JSON.stringify(options.path)} is no SQLite database: it is no regular file`, {
      context: { path: options.path },
    });
  }
  return new CopiedDatabase(options, databasePath, found);
}

class CopiedDatabase implements SqlitePart {
  readonly kind = 'sqlite';
  readonly name: string;
  readonly databasePath: string;
  readonly source: Source;
  readonly #options: SqlitePartOptions;
  readonly #closing = new AbortController();
  #copy: Promise<DatabaseCopy> | undefined;
  #takenAtMs = 0;

  constructor(options: SqlitePartOptions, databasePath: string, found: FoundFile) {
    this.name = options.name;
    this.databasePath = databasePath;
    this.#options = options;
    this.source = new CopySource({ name: basename(databasePath), found, copied: () => this.#copied(), takenAtMs: () => this.#takenAtMs });
  }

  async takeMoment(signal: AbortSignal): Promise<PartMoment> {
    const onAbort = (): void => this.#closing.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      signal.throwIfAborted();
      const { moment } = await (this.#copy ??= this.#begin());
      await moment;
      if (this.#takenAtMs === 0) this.#takenAtMs = Date.now();
      return { takenAt: new Date(this.#takenAtMs).toISOString(), warnings: [] };
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async facts(): Promise<PartFacts> {
    const { facts, findings } = await (await this.#begun()).finished;
    const { path, check } = this.#options;
    return { path, takenAt: new Date(this.#takenAtMs).toISOString(), ...facts, check, findings };
  }

  async close(): Promise<void> {
    this.#closing.abort(new HoldfastError('internal', 'the part was closed'));
    // Also where no copy was begun: a folder of that name is ours.
    await this.#copy?.then(
      ({ ended }) => ended,
      () => undefined,
    );
    await rm(this.#options.scratch, { recursive: true, force: true });
  }

  async #begin(): Promise<DatabaseCopy> {
    const { scratch, path, blocksWriters, patienceMs, check } = this.#options;
    const signal = AbortSignal.any([this.#options.signal, this.#closing.signal]);
    await mkdir(scratch, { recursive: true, mode: 0o700 });
    const request = { from: this.databasePath, to: this.#copyPath, blocksWriters, busyMs, patienceMs, check, refusesDamage: false };
    return beginCopy({ ...request, shownPath: path, signal });
  }

  #begun(): Promise<DatabaseCopy> {
    if (this.#copy === undefined) throw new HoldfastError('internal', `the moment of part ${this.name} was not taken`);
    return this.#copy;
  }

  get #copyPath(): string {
    return join(this.#options.scratch, 'copy.db');
  }

  /** Waits until it is whole. */
  async #copied(): Promise<{ path: string } & FinishedCopy> {
    const finished = await (await this.#begun()).finished;
    return { path: this.#copyPath, ...finished };
  }
}
