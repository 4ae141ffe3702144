import { findCopyWork, type CopyWork } from '@holdfast/database/copy-jobs';
import { commitUnderFence, type RunOutcome } from '@holdfast/database/runs';
import {
  lockCopiesOf,
  markCopiesVerified,
  recordSnapshotCopies,
  unverifiedCopies,
  type NewSnapshotCopy,
} from '@holdfast/database/snapshot-copies';
import { check, type CheckResult } from '@holdfast/engine/checker';
import { copySnapshots, type CopyResult, type SnapshotCopy } from '@holdfast/engine/copy';
import { acquireLock, type Lock } from '@holdfast/engine/lock';
import type { Repository } from '@holdfast/engine/repository';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { parseCopyOptions } from '@holdfast/jobs/copy-options';
import { chooseCopied } from '../choose-copied.ts';
import { lockOptionsOf } from '../lock-options.ts';
import { openRepositoryOf } from '../open-repository.ts';
import { tagOf } from '../our-snapshots.ts';
import { copyOutcome } from '../run-outcomes.ts';
import type { RunInHand } from '../run-with-claim.ts';

/** A few dozen small files at a slow storage, and as much again for another job whose turn it is first. */
const commitTimeoutMs = 120_000;

/**
 * Copies snapshots into a second repository, which is made with the first one's polynomial when it is not there, and reads back what was
 * written. One lock on the target spans both, so that nothing that was written goes before it is checked.
 */
export async function processCopy(run: RunInHand<'copy'>): Promise<RunOutcome<'copy'>> {
  const { context, claim, onProgress } = run;
  const { client } = context.database;
  const work = await findCopyWork(client, claim.id);
  if (work.copyConfig !== null && work.copyConfig.deletedAt !== null) {
    throw new HoldfastError('config_inactive', `copy config ${work.copyConfig.id} is deleted`);
  }
  const options = parseCopyOptions(work.options);
  const { uploadBytesPerSecond, downloadBytesPerSecond } = options;
  // Nothing was ever backed up to it.
  if (work.sourceRepository.resticId === null) return copyOutcome(null, [], null);

  const sourceLimits = downloadBytesPerSecond === undefined ? {} : { downloadBytesPerSecond };
  const targetLimits = uploadBytesPerSecond === undefined ? {} : { uploadBytesPerSecond };
  await using from = await openRepositoryOf(run, work.sourceRepository, { create: false, warm: true, limits: sourceLimits });
  const { chunkerPolynomial } = from;
  await using to = await openRepositoryOf(run, work.targetRepository, {
    create: true,
    warm: true,
    limits: targetLimits,
    chunkerPolynomial,
  });
  await using toLock = await acquireLock(to, { ...lockOptionsOf(run), exclusive: false });
  let absent: readonly string[] = [];
  const result = await copySnapshots({
    ...lockOptionsOf(run),
    from,
    to,
    toLock,
    indexLanded: claim.attempt > 1,
    async choose(snapshots) {
      const chosen = await chooseCopied(client, work.sourceRepositoryId, options.snapshots, snapshots, context.clock.now());
      absent = chosen.absent;
      return chosen.ids;
    },
    // Only the holder of the run may leave snapshots, and of two runs to one place the second finds those of the first.
    commit: (write) =>
      commitUnderFence(
        context.database,
        claim,
        async (tx, signal) => {
          await lockCopiesOf(tx, work.targetRepositoryId);
          await recordSnapshotCopies(tx, work, (await write(signal)).map(newCopy));
        },
        { timeoutMs: commitTimeoutMs },
      ),
    onProgress,
  });
  await recordSnapshotCopies(client, work, result.alreadyThere.map(newCopy));
  return copyOutcome(result, absent, options.verify ? await verifyCopies(run, work, { to, toLock, result }) : null);
}

/**
 * Looks up every file and folder of the copies that nobody has found whole yet, of former runs too, and reads back what this run has
 * written; all that they need, when a former attempt has written some of it. Null when there is nothing to look at.
 */
async function verifyCopies(
  run: RunInHand<'copy'>,
  { targetRepositoryId }: CopyWork,
  { to, toLock, result }: { readonly to: Repository; readonly toLock: Lock; readonly result: CopyResult },
): Promise<CheckResult | null> {
  const { context, claim, signal, onProgress } = run;
  const { client } = context.database;
  const copies = [...result.alreadyThere, ...result.copied].map((copy) => copy.to);
  const snapshotIds = await unverifiedCopies(client, targetRepositoryId, copies);
  if (snapshotIds.length === 0) return null;
  const made = new Set(result.copied.map((copy) => copy.to));
  const isAllOurs = claim.attempt === 1 && snapshotIds.every((id) => made.has(id));
  const checked = await check({
    ...lockOptionsOf(run),
    signal: AbortSignal.any([signal, toLock.lost]),
    repository: to,
    lock: toLock,
    level: 'full',
    snapshotIds,
    ...(isAllOurs ? { subset: { packIds: new Set(result.packIds) } } : {}),
    onProgress,
  });
  if (checked.damageCount === 0) await markCopiesVerified(client, targetRepositoryId, snapshotIds, context.clock.now());
  return checked;
}

function newCopy(copy: SnapshotCopy): NewSnapshotCopy {
  return { originalId: copy.from, snapshotId: copy.to, backupJobId: tagOf(copy, 'job:') };
}
