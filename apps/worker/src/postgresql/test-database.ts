import type { VerificationWork } from '@holdfast/database/verifications';
import type { RunOutcome } from '@holdfast/database/runs';
import { withSnapshotFiles } from '@holdfast/engine/snapshot-files';
import { runLogicalRestoreTest } from '@holdfast/sources/postgresql/recovery/logical-restore-test';
import { verificationOptionsSchema } from '@holdfast/sources/recovery-options';
import { lockOptionsOf } from '../lock-options.ts';
import { openRepositoryOf } from '../open-repository.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { damageOutcome, inspectedOutcome, inspectionLimits, readingDamage } from './inspected-outcome.ts';

/** More only makes one machine, which has the server too, change between them. */
const connectionCount = 4;

/**
 * Recovers a logical backup into a server that is made for it in the scratch folder and looks inside. Damage, and SQL that does not run,
 * end the run as verification_found_damage. Codes: postgresql_tool_missing, configuration_invalid, disk_full,
 * postgresql_failed and postgresql_recovery_failed (the server of the test itself), those of the storage.
 */
export async function testDatabase(run: RunInHand<'verify'>, work: VerificationWork, snapshotId: string): Promise<RunOutcome<'verify'>> {
  const { context, signal } = run;
  const { assertions } = verificationOptionsSchema.parse(work.options ?? {});
  const { scratchDir, postgresqlBinFolders } = context.config;
  await using repository = await openRepositoryOf(run, work.backupJob.repository, { create: false, warm: false });
  try {
    const result = await withSnapshotFiles({ ...lockOptionsOf(run), repository, snapshotId }, (files, lockedSignal) =>
      runLogicalRestoreTest({
        files,
        scratchRoot: scratchDir,
        programFolders: postgresqlBinFolders,
        toolPlaces: { binFolders: postgresqlBinFolders },
        connectionCount,
        inspection: { ...inspectionLimits, assertions },
        onProgress: (value) => run.onProgress({ phase: 'restoring', ...value }),
        signal: lockedSignal,
      }),
    );
    return inspectedOutcome(result, { serverVersion: result.serverVersion });
  } catch (error) {
    signal.throwIfAborted();
    return damageOutcome(error, readingDamage);
  }
}
