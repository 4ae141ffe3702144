import type { Transaction } from '@holdfast/database/open-database';
import { isFinal } from '@holdfast/database/run-states';
import type { Snapshot } from '@holdfast/engine/snapshots';
import { selectKeptByConfig, type RetainedSnapshot } from '@holdfast/policy/retention';

const nsPerMs = 1_000_000n;

/**
 * The ids of the snapshots that retention no longer keeps. What lies in the repository decides, not the rows: a snapshot whose
 * row never heard of it expires by its config's rule too. Never expired are snapshots that no config of ours made (somebody
 * backs up with restic into the same repository) and those of runs that are still going on.
 */
export async function selectExpired(rows: Transaction, repositoryId: string, snapshots: readonly Snapshot[], now: Date): Promise<string[]> {
  const ours = snapshots.flatMap((snapshot) => {
    const configId = tagged(snapshot, 'config:');
    const jobId = tagged(snapshot, 'job:');
    return configId === undefined || jobId === undefined || snapshot.tags?.includes('holdfast') !== true
      ? []
      : [{ snapshot, configId, jobId }];
  });
  const configs = await rows.backupConfig.findMany({
    where: { id: { in: [...new Set(ours.map((entry) => entry.configId))] } },
    select: { id: true, retentionDays: true },
  });
  const jobs = await rows.backupJob.findMany({
    where: { repositoryId, id: { in: ours.map((entry) => entry.jobId) } },
    select: { id: true, status: true, snapshotId: true },
  });
  const jobOf = new Map(jobs.map((job) => [job.id, job]));

  const retained: RetainedSnapshot[] = ours
    // A job whose row is gone has ended as well: nobody will ever end it.
    .filter(({ jobId }) => isFinal(jobOf.get(jobId)?.status ?? 'cancelled'))
    .map(({ snapshot, configId, jobId }) => ({
      id: snapshot.id,
      configId,
      time: new Date(Number(snapshot.timeNs / nsPerMs)),
      completed: jobOf.get(jobId)?.snapshotId === snapshot.id,
    }));
  const kept = selectKeptByConfig(retained, new Map(configs.map((config) => [config.id, config.retentionDays])), now);
  return retained.filter((snapshot) => !kept.has(snapshot.id)).map((snapshot) => snapshot.id);
}

function tagged(snapshot: Snapshot, prefix: string): string | undefined {
  return snapshot.tags?.find((tag) => tag.startsWith(prefix))?.slice(prefix.length);
}
