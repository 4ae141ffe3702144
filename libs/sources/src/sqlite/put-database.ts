import { stat } from 'node:fs/promises';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { toSystemPath } from '../system-path.ts';
import { beginCopy, type FinishedCopy } from './copy-database.ts';

export interface PutDatabaseOptions {
  /** A copy that nobody else has open. */
  readonly from: string;
  /** The real path of the database that is replaced, or of one that is not there yet. */
  readonly to: string;
  /** What it is called in messages. */
  readonly shownPath: string;
  /** Whether a database that is there may be replaced. */
  readonly overwrite: boolean;
  /** Hears once that what is there may be replaced, before anything is. */
  readonly onBegin?: (() => Promise<void>) | undefined;
  /** How long it waits for locks of those who use it. */
  readonly patienceMs: number;
  readonly signal: AbortSignal;
}

/** How long one call waits for a lock, before the time that is left is looked at again. */
const busyMs = 500;

/**
 * Makes a database what the copy is, by SQLite's online backup and in one transaction of SQLite's: whoever has it open sees the old content or the
 * new one, a process that is killed meanwhile leaves the old one, and no -wal of the old one can meet the new one. Codes: target_not_empty,
 * sqlite_damaged (the copy), sqlite_busy, sqlite_denied (also for a database with WAL and another page size), sqlite_disk_full, sqlite_failed,
 * the signal's reason.
 */
export async function putDatabase({ overwrite, onBegin, ...options }: PutDatabaseOptions): Promise<FinishedCopy> {
  if (!overwrite && (await sizeOf(options.to)) > 0) {
    throw new HoldfastError('target_not_empty', `there is a database at ${JSON.stringify(options.shownPath)}`, {
      hint: 'choose another path, or allow overwriting',
    });
  }
  await onBegin?.();
  const request = { blocksWriters: true, busyMs, check: 'quick', refusesDamage: true } as const;
  const copy = beginCopy({ ...options, ...request });
  try {
    return await copy.finished;
  } finally {
    await copy.ended;
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(toSystemPath(path))).size;
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return 0;
    throw error;
  }
}
