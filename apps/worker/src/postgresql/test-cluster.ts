import type { VerificationWork } from '@holdfast/database/verifications';
import type { RunOutcome } from '@holdfast/database/runs';
import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import { planJobRecovery } from '@holdfast/policy/recovery-request';
import { formatLsn } from '@holdfast/sources/postgresql/lsn';
import { runRestoreTest, type RestoreTestResult } from '@holdfast/sources/postgresql/recovery/restore-test';
import { verificationOptionsSchema } from '@holdfast/sources/recovery-options';
import type { RunInHand } from '../run-with-claim.ts';
import { damaged } from '../run-outcomes.ts';
import { chainOfJob, withChainSnapshots } from './chain-of-job.ts';
import { layCluster } from './lay-cluster.ts';
import { recoveryTimeoutMs } from './recover-cluster.ts';

/** Tables with more rows are estimated. */
const exactRowLimit = 10_000_000;
const statementTimeoutMs = 3600 * 1000;
const totalTimeoutMs = 6 * 3600 * 1000;
const maxListed = 100;

/** What says of the backup, and not of the worker, that it cannot be recovered. */
const damageCodes: ReadonlySet<string> = new Set([
  'repository_damaged',
  'storage_object_missing',
  'storage_object_too_short',
  'postgresql_chain_broken',
  'postgresql_wal_missing',
  'postgresql_target_uncovered',
  'postgresql_recovery_failed',
]);

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
        const laying = { run, plan, dataDir, walDir, roots: [scratchDir] };
        return (await withChainSnapshots(run, chain, (snapshots) => layCluster({ ...laying, snapshots }))).bytes;
      },
      recoveryTimeoutMs,
      inspection: { exactRowLimit, statementTimeoutMs, totalTimeoutMs, assertions },
      signal,
    });
    return outcome(result);
  } catch (error) {
    signal.throwIfAborted();
    const { code, message } = asHoldfastError(error);
    if (!damageCodes.has(code)) throw error;
    return damaged({ findingCount: 1, findings: [{ kind: code, detail: message }] }, 1, message);
  }
}

function outcome({ restoreMs, laidBytes, recovered, inspection, notes }: RestoreTestResult): RunOutcome<'verify'> {
  const { findings, findingCount, databases, rowCount, isExact, bytes, assertions } = inspection;
  const details = {
    restoreSeconds: restoreMs / 1000,
    inspectionSeconds: inspection.durationMs / 1000,
    bytesRestored: laidBytes,
    bytes,
    rows: rowCount,
    isExact,
    recovered: { lsn: formatLsn(recovered.lsn), timeline: recovered.timeline, lastCommit: recovered.lastCommit },
    databases: databases.slice(0, maxListed).map(({ tables: _tables, ...database }) => database),
    assertions,
    notes: [...notes, ...inspection.notes].slice(0, maxListed),
    findingCount,
    findings: findings.slice(0, maxListed),
  };
  const [first] = findings;
  if (first === undefined) return { status: 'completed', result: { details } };
  return damaged(details, findingCount, `${first.database} ${first.relation ?? ''}: ${first.detail}`);
}
