import type { Transaction } from '@holdfast/database/open-database';
import { isFinal } from '@holdfast/database/run-states';
import type { Snapshot } from '@holdfast/engine/snapshots';
import { keptWithChain } from '@holdfast/policy/chain-retention';
import { factsOf, type RecoveryFacts } from '@holdfast/policy/recovery-facts';
import { selectKeptByConfig, type RetainedSnapshot } from '@holdfast/policy/retention';

const nsPerMs = 1_000_000n;

/**
 * The ids of the snapshots that retention no longer keeps. What lies in the repository decides, not the rows: a snapshot whose
 * row never heard of it expires by its config's rule too. Never expired are snapshots that no config of ours made (somebody
 * backs up with restic into the same repository), those of runs that are still going on, and what a kept backup of a PostgreSQL server needs to
 * be recovered.
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
    select: { id: true, retentionDays: true, source: true },
  });
  const jobs = await rows.backupJob.findMany({
    where: { repositoryId, id: { in: ours.map((entry) => entry.jobId) } },
    select: { id: true, status: true, snapshotId: true, metadata: true, backupConfigId: true },
    orderBy: [{ createdAt: 'asc' }, { id: 'asc' }],
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
  const baseOf = new Map(configs.map(({ id, source }) => [id, baseConfigOf(id, source)]));
  // What is of no completed run can be in no recovery.
  const chained = jobs.flatMap(({ id, backupConfigId, snapshotId, metadata }): ChainedSnapshot[] => {
    const facts = retained.some((snapshot) => snapshot.id === snapshotId) ? factsOf(metadata) : null;
    return snapshotId === null || facts === null
      ? []
      : [{ jobId: id, snapshotId, baseConfigId: baseOf.get(backupConfigId) ?? backupConfigId, facts }];
  });
  for (const id of neededByKept(chained, kept)) kept.add(id);
  return retained.filter((snapshot) => !kept.has(snapshot.id)).map((snapshot) => snapshot.id);
}

interface ChainedSnapshot {
  readonly jobId: string;
  readonly snapshotId: string;
  readonly baseConfigId: string;
  readonly facts: RecoveryFacts;
}

/** Snapshots without which those that are kept could not be recovered. */
function neededByKept(chained: readonly ChainedSnapshot[], kept: ReadonlySet<string>): string[] {
  return [...Map.groupBy(chained, (snapshot) => snapshot.baseConfigId).values()].flatMap((ofChain) => {
    const staying = keptWithChain(ofChain, new Set(ofChain.filter(({ snapshotId }) => kept.has(snapshotId)).map(({ jobId }) => jobId)));
    return ofChain.filter(({ jobId }) => staying.has(jobId)).map(({ snapshotId }) => snapshotId);
  });
}

/** The config of the base backups that those of a config build on; itself when its source names none. */
function baseConfigOf(id: string, source: unknown): string {
  const named: unknown = typeof source === 'object' && source !== null ? Reflect.get(source, 'baseConfigId') : undefined;
  return typeof named === 'string' ? named : id;
}

function tagged(snapshot: Snapshot, prefix: string): string | undefined {
  return snapshot.tags?.find((tag) => tag.startsWith(prefix))?.slice(prefix.length);
}
