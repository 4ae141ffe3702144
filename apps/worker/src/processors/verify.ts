import { findVerificationWork } from '@holdfast/database/verifications';
import type { RunOutcome } from '@holdfast/database/runs';
import { check } from '@holdfast/engine/checker';
import type { Repository } from '@holdfast/engine/repository';
import { restore } from '@holdfast/engine/restorer';
import { verifyRestored } from '@holdfast/engine/verify-restored';
import { parseBackupOptions, type BackupOptions } from '@holdfast/jobs/backup-options';
import { factsOf } from '@holdfast/policy/recovery-facts';
import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import { testCluster } from '../postgresql/test-cluster.ts';
import { testDatabase } from '../postgresql/test-database.ts';
import { lockOptionsOf } from '../lock-options.ts';
import { openRepositoryOf } from '../open-repository.ts';
import { checkOutcome, restoreTestOutcome } from '../run-outcomes.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { makeScratchFolder } from '../scratch-folder.ts';
import { threadOptionsOf } from '../thread-options.ts';
import { usableSnapshot } from '../usable-snapshot.ts';

/**
 * Verifies a backup: `integrity` walks its trees, `restore_test` restores it and compares, `checksum` reads every pack of the
 * repository again, since a backup shares its packs with its neighbours.
 */
export async function processVerify(run: RunInHand<'verify'>): Promise<RunOutcome<'verify'>> {
  const { context, claim, onProgress } = run;
  const work = await findVerificationWork(context.database.client, claim.id);
  const snapshotId = usableSnapshot(work.backupJob);
  if (work.verificationType === 'restore_test') {
    if (factsOf(work.backupJob.metadata) !== null) return await testCluster(run, work);
    if (work.backupJob.backupType === 'database_full') return await testDatabase(run, work, snapshotId);
  }
  const options = parseBackupOptions(work.backupJob.backupConfig.options);

  await using repository = await openRepositoryOf(run, work.backupJob.repository, { create: false, warm: false, limits: options });
  const common = { ...lockOptionsOf(run), ...threadOptionsOf(options), repository, onProgress };
  // Awaited here: the repository closes when this function returns.
  if (work.verificationType === 'restore_test') return await testRestore(run, repository, snapshotId, options);
  const scope =
    work.verificationType === 'checksum' ? ({ level: 'checksum' } as const) : ({ level: 'integrity', snapshotIds: [snapshotId] } as const);
  return checkOutcome(await check({ ...common, ...scope }));
}

async function testRestore(
  run: RunInHand<'verify'>,
  repository: Repository,
  snapshotId: string,
  options: BackupOptions,
): Promise<RunOutcome<'verify'>> {
  const { scratchDir } = run.context.config;
  const common = { ...lockOptionsOf(run), repository, snapshotId, onProgress: run.onProgress };
  await using scratch = await makeScratchFolder(scratchDir, run.claim, run.logger);
  const { path } = scratch;
  const restored = await restore({
    ...common,
    ...threadOptionsOf(options),
    target: openFileSystemTarget({ path, roots: [scratchDir], overwrite: false }),
  });
  const source = await openFileSystemSource({ paths: [path], roots: [scratchDir] });
  try {
    return restoreTestOutcome(restored, await verifyRestored({ ...common, source, restoredRoot: path }));
  } finally {
    await source.close();
  }
}
