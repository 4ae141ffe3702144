import { findRecoveryWork } from '@holdfast/database/recovery-jobs';
import type { RunOutcome } from '@holdfast/database/runs';
import { copiesOfBackup } from '@holdfast/database/snapshot-copies';
import { restore } from '@holdfast/engine/restorer';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { factsOf } from '@holdfast/policy/recovery-facts';
import { resolveInsideRoots } from '@holdfast/sources/allowed-roots';
import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import { recoveryOptionsSchema } from '@holdfast/sources/recovery-options';
import { onlyLogical, recoverCluster } from '../postgresql/recover-cluster.ts';
import { lockOptionsOf } from '../lock-options.ts';
import { openRepositoryOf } from '../open-repository.ts';
import { ownedTarget, rememberTarget } from '../owned-target.ts';
import { recoverDatabase } from '../recover-database.ts';
import { recoveryOutcome } from '../run-outcomes.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { usableSnapshot } from '../usable-snapshot.ts';

/**
 * Recovers a backup, or the selected part of it, into a folder inside the allowed target roots. A folder that holds something is
 * refused unless overwriting was asked for, or unless what it holds is of a former attempt of this very run. A backup of databases may
 * also go into a database, and a physical one of a server becomes a data folder.
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
  const { context, claim, onProgress } = run;
  const work = await findRecoveryWork(context.database.client, claim.id);
  const snapshotId = usableSnapshot(work.backupJob);
  const options = recoveryOptionsSchema.parse(work.options);
  const { paths, overwrite, database } = options;
  if (factsOf(work.backupJob.metadata) !== null) {
    if (database !== undefined) throw onlyLogical(work.backupJob.id);
    if (work.recoveryType !== 'selective') return await recoverCluster(run, work, options);
  }
  if (work.recoveryType === 'point_in_time') {
    throw new HoldfastError('request_invalid', `backup job ${work.backupJob.id} is no physical backup: it is of one moment only`);
  }
  if (database !== undefined) return await recoverDatabase(run, { work, snapshotId, target: database, overwrite });
  if (work.recoveryType === 'selective' && paths === undefined) {
    throw new HoldfastError('request_invalid', 'a selective recovery needs paths');
  }

  const roots = context.config.targetRoots;
  const path = await resolveInsideRoots(work.targetLocation, roots);
  const isResumed = await ownedTarget(work.metadata, path);
  const inner = openFileSystemTarget({ path, roots, overwrite: overwrite || isResumed });
  const target = rememberTarget(inner, { path, database: context.database, claim });

  await using repository = await openRepositoryOf(run, work.backupJob.repository, { create: false, warm: false, cached: true });
  const result = await restore({
    ...lockOptionsOf(run),
    repository,
    snapshotId,
    target,
    ...(work.recoveryType === 'selective' && paths !== undefined ? { select: { paths } } : {}),
    // What a former attempt has left whole has its size and time. Where others' files may lie too, all is written again.
    ...(isResumed && !overwrite ? { overwrite: 'if-changed' as const } : {}),
    onProgress,
  });
  return recoveryOutcome(result, { path, resumed: isResumed });
}
