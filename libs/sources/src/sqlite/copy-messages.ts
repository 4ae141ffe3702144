/**
 * What goes between the worker and the process that has a SQLite database open. SQLite's locks belong to a process, and go when any
 * descriptor of the file is closed in it: a worker that reads the same folder as files would take them away from under a backup of its own.
 */

/** The parent's only message. Paths are real ones. `to` may be a database in use, which becomes the other one in one transaction. */
export interface CopyRequest {
  readonly from: string;
  readonly to: string;
  /** Who writes to a database without WAL waits until the copy is made, rather than the copy until nobody writes. */
  readonly blocksWriters: boolean;
  /** How long one call waits for a lock of somebody else. */
  readonly busyMs: number;
  /** How long it is tried while others write. */
  readonly patienceMs: number;
  /** What is looked at in the copy. */
  readonly check: CopyCheck;
  /** Looks at `from` before anything is written, and writes nothing when it is damaged. */
  readonly refusesDamage: boolean;
}

export const copyChecks = ['none', 'quick', 'full'] as const;
export type CopyCheck = (typeof copyChecks)[number];

export interface CopyFacts {
  readonly sqliteVersion: string;
  /** `wal`, `delete`, ... of the database itself. */
  readonly journalMode: string;
  readonly pageSizeBytes: number;
  readonly pageCount: number;
  readonly userVersion: number;
  readonly applicationId: number;
}

export type CopyEvent =
  /** What was committed by now is in the copy, nothing that comes is. */
  | { readonly kind: 'moment' }
  | {
      readonly kind: 'copied';
      readonly facts: CopyFacts;
      /** What the check found; empty when all is well. */ readonly findings: readonly string[];
    }
  | { readonly kind: 'failed'; readonly reason: CopyFailure; readonly message: string };

export const copyFailures = ['busy', 'disk_full', 'not_a_database', 'denied', 'hot_journal', 'other'] as const;
export type CopyFailure = (typeof copyFailures)[number];
