import { findRecoveryWork } from '@holdfast/database/recovery-jobs';
import type { RunOutcome } from '@holdfast/database/runs';
import { copiesOfBackup } from '@holdfast/database/snapshot-copies';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { factsOf } from '@holdfast/policy/recovery-facts';
import { recoveryOptionsSchema } from '@holdfast/sources/recovery-options';
import { recoverSqlite } from '../application-data/recover-sqlite.ts';
import { recoverWindow } from '../logs/recover-window.ts';
import { onlyLogical, recoverCluster } from '../postgresql/recover-cluster.ts';
import { recoverRows } from '../configuration/recover-rows.ts';
import { recoverDatabase } from '../recover-database.ts';
import { recoverServer } from '../application-data/recover-server.ts';
import { recoverFiles } from '../recover-files.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { usableSnapshot } from '../usable-snapshot.ts';

/**
 * Recovers a backup, or the selected part of it, as files (see recover-files.ts). A backup of databases may also go into a database, and
 * a physical one of a server becomes a data folder; of logs, what the runs of a window of time picked up can be had.
 */
export async function processRecovery(run: RunInHand<'recovery'>): Promise<RunOutcome<'recovery'>> {
  try {
    return await recover(run);
  } catch (error) {
    throw await namingCopies(run, error);
  }
}

/** What is wrong with the place of a repository, or with what lies there, and not with the recovery. */
const lostPlaces = ['repository_missing', 'repository_damaged', 'snapshot_missing', 'storage_unreachable', 'storage_denied'] as const;

/** An error that a copy of the backup would not have says where copies are. */
async function namingCopies({ context, claim }: RunInHand<'recovery'>, error: unknown): Promise<unknown> {
  if (!isHoldfastError(error) || !lostPlaces.some((code) => code === error.code)) return error;
  const { backupJobId, fromRepositoryId, backupJob } = await findRecoveryWork(context.database.client, claim.id);
  const read = fromRepositoryId ?? backupJob.repositoryId;
  const copies = await copiesOfBackup(context.database.client, '*', backupJobId);
  const [other] = copies.map(({ repositoryId }) => repositoryId).filter((id) => id !== read);
  if (other === undefined) return error;
  const message = `${error.message}; repository ${other} holds a copy: recover from it with fromRepositoryId`;
  const { hint, retry, context: details } = error;
  return new HoldfastError(error.code, message, { hint, retry, cause: error, context: details });
}

async function recover(run: RunInHand<'recovery'>): Promise<RunOutcome<'recovery'>> {
  const { context, claim } = run;
  const work = await findRecoveryWork(context.database.client, claim.id);
  const snapshotId = usableSnapshot(work.backupJob);
  const options = recoveryOptionsSchema.parse(work.options);
  const { paths, globs, excludes, overwrite, database, sqlite, server, window, rows } = options;
  if (rows !== undefined) return await recoverRows(run, { work, snapshotId, rows });
  if (factsOf(work.backupJob.metadata) !== null) {
    if (database !== undefined || server !== undefined) throw onlyLogical(work.backupJob.id);
    if (work.recoveryType !== 'selective') return await recoverCluster(run, work, options);
  }
  if (work.recoveryType === 'point_in_time') {
    throw new HoldfastError('request_invalid', `backup job ${work.backupJob.id} is no physical backup: it is of one moment only`);
  }
  if (database !== undefined) return await recoverDatabase(run, { work, snapshotId, target: database, overwrite: overwrite === true });
  if (sqlite !== undefined) return await recoverSqlite(run, { work, snapshotId, target: sqlite, overwrite: overwrite === true });
  if (window !== undefined) return await recoverWindow(run, { work, options, window });
  if (server !== undefined) return await recoverServer(run, { work, snapshotId, target: server, overwrite: overwrite === true });
  if (work.recoveryType === 'selective' && paths === undefined && globs === undefined && excludes === undefined) {
    throw new HoldfastError('request_invalid', 'a selective recovery needs paths, globs or excludes');
  }

  return await recoverFiles(run, { work, snapshotId, options });
}
