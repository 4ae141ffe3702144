import type { FastifyReply } from 'fastify';
import { findBackupSnapshot } from '@holdfast/database/backup-jobs';
import type { Transaction } from '@holdfast/database/open-database';
import type { Scope } from '@holdfast/database/scope';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { fieldError } from '../problem.ts';

/** The snapshot of a backup that a request looks into. */
export interface BrowsedSnapshot {
  readonly backupJobId: string;
  readonly businessEntityId: string;
  readonly repositoryId: string;
  readonly snapshotId: string;
  /** What workers have to carry that reach what the backup's own runs need; null for any. */
  readonly workerLabel: string | null;
}

/**
 * Of the backup's own repository, or of the one that holds its copy. Codes: not_found, run_not_finished, backup_not_usable.
 */
export async function browsedSnapshot(
  rows: Transaction,
  scope: Scope,
  backupJobId: string,
  fromRepositoryId: string | undefined,
): Promise<BrowsedSnapshot> {
  try {
    const { businessEntityId, repositoryId, snapshotId, workerLabel } = await findBackupSnapshot(
      rows,
      scope,
      backupJobId,
      fromRepositoryId,
    );
    return { backupJobId, businessEntityId, repositoryId, snapshotId: snapshotId ?? '', workerLabel };
  } catch (error) {
    if (fromRepositoryId === undefined || !isHoldfastError(error, 'backup_not_usable')) throw error;
    throw fieldError('backup_not_usable', [
      { field: 'fromRepositoryId', message: `${error.message}; see GET /jobs/${backupJobId}/copies for those that do` },
    ]);
  }
}

/** Aborts when the client goes away before it has its answer. */
export function untilLeft(reply: FastifyReply): AbortSignal {
  const left = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) left.abort(new HoldfastError('run_cancelled', 'the client has gone'));
  });
  return left.signal;
}
