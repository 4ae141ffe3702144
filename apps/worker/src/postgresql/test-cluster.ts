import type { VerificationWork } from '@holdfast/database/verifications';
import type { RunOutcome } from '@holdfast/database/runs';
import { planJobRecovery } from '@holdfast/policy/recovery-request';
import { formatLsn } from '@holdfast/sources/postgresql/lsn';
import { runRestoreTest } from '@holdfast/sources/postgresql/recovery/restore-test';
import { verificationOptionsSchema } from '@holdfast/sources/recovery-options';
import type { RunInHand } from '../run-with-claim.ts';
import { chainOfJob, withChainSnapshots } from './chain-of-job.ts';
import { damageOutcome, inspectedOutcome, inspectionLimits, recoveryDamage } from './inspected-outcome.ts';
import { layCluster } from './lay-cluster.ts';
import { recoveryTimeoutMs } from './recover-cluster.ts';

/**
 * Restores a physical or incremental backup into the scratch folder, as far as it goes by itself, starts a server there and looks inside.
 * Damage ends the run as verification_found_damage. Codes: postgresql_tool_missing, configuration_invalid, disk_full, those of the storage.
 */
export async function testCluster(run: RunInHand<'verify'>, work: VerificationWork): Promise<RunOutcome<'verify'>> {
  const { context, signal } = run;
  const { assertions } = verificationOptionsSchema.parse(work.options ?? {});
  const chain = await chainOfJob(context.database.client, work.backupJob);
  const { scratchDir, postgresqlBinFolders: programFolders } = context.config;
  try {
    const plan = planJobRecovery(chain.facts, work.backupJob.id, null);
    const result = await runRestoreTest({
      scratchRoot: scratchDir,
      majorVersion: plan.base.majorVersion,
      programFolders,
      stop: plan.stop,
      timeline: plan.timeline,
      leastLsn: plan.base.endLsn,
      superuser: plan.base.superuser,
      lay: async ({ dataDir, walDir }) => {
        const laying = { run, plan, dataDir, walDir, roots: [scratchDir], isScratch: true };
        return (await withChainSnapshots(run, chain, (snapshots) => layCluster({ ...laying, snapshots }))).bytes;
      },
      recoveryTimeoutMs,
      inspection: { ...inspectionLimits, assertions },
      signal,
    });
    const { lsn, timeline, lastCommit } = result.recovered;
    return inspectedOutcome(result, { recovered: { lsn: formatLsn(lsn), timeline, lastCommit }, notes: result.notes });
  } catch (error) {
    signal.throwIfAborted();
    return damageOutcome(error, recoveryDamage);
  }
}
