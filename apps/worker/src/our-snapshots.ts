import { adoptedSnapshots } from '@holdfast/database/adopted-backups';
import type { Transaction } from '@holdfast/database/open-database';
import type { RunStatus } from '@holdfast/database/run-states';
import type { Snapshot } from '@holdfast/engine/snapshots';
import { keptWithChain } from '@holdfast/policy/chain-retention';
import { factsOf, type RecoveryFacts } from '@holdfast/policy/recovery-facts';

/** A snapshot that a backup job of the entity made, here or in the repository that it was copied from. */
export interface OurSnapshot {
  readonly snapshot: Snapshot;
  readonly configId: string;
  readonly jobId: string;
  /** Undefined when its row is gone. */
  readonly jobStatus: RunStatus | undefined;
  /** The repository that the row says it was written to. */
  readonly jobRepositoryId: string | undefined;
  /** Whether a completed job stands for it. */
  readonly completed: boolean;
}

export interface OurSnapshots {
  readonly all: readonly OurSnapshot[];
  /** By the id of the config; deleted ones too, and none that keeps everything. */
  readonly retentionDaysOf: ReadonlyMap<string, number>;
  readonly chained: readonly ChainedSnapshot[];
}

interface ChainedSnapshot {
  readonly jobId: string;
  readonly snapshotId: string;
  readonly baseConfigId: string;
  readonly facts: RecoveryFacts;
}

/**
 * What rows say of the snapshots in a repository, by their tags: a copy has those of its original. One that an adoption found is of the config
 * that its row names, whatever its tags say.
 */
export async function findOurSnapshots(rows: Transaction, repositoryId: string, snapshots: readonly Snapshot[]): Promise<OurSnapshots> {
  const adoptedOf = new Map((await adoptedSnapshots(rows, repositoryId)).map((entry) => [entry.snapshotId, entry]));
  const tagged = snapshots.flatMap((snapshot) => {
    const adopted = adoptedOf.get(snapshot.id);
    if (adopted !== undefined) return [{ snapshot, configId: adopted.backupConfigId, jobId: adopted.jobId }];
    const [configId, jobId] = [tagOf(snapshot, 'config:'), tagOf(snapshot, 'job:')];
    return configId === undefined || jobId === undefined || snapshot.tags?.includes('holdfast') !== true
      ? []
      : [{ snapshot, configId, jobId }];
  });
  const configs = await rows.backupConfig.findMany({
    where: { id: { in: [...new Set(tagged.map(({ configId }) => configId))] } },
    select: { id: true, retentionDays: true, source: true },
  });
  const jobs = await rows.backupJob.findMany({
    where: { id: { in: tagged.map(({ jobId }) => jobId) }, businessEntity: { repositories: { some: { id: repositoryId } } } },
    select: { id: true, status: true, snapshotId: true, metadata: true, backupConfigId: true, repositoryId: true },
    orderBy: [{ createdAt: 'asc' }, { id: 'asc' }],
  });
  const jobOf = new Map(jobs.map((job) => [job.id, job]));
  const all = tagged.map(({ snapshot, configId, jobId }): OurSnapshot => {
    const job = jobOf.get(jobId);
    const isCopy = snapshot.original !== undefined && (job?.status === 'completed' || job?.status === 'completed_with_warnings');
    const facts = { jobStatus: job?.status, jobRepositoryId: job?.repositoryId };
    return { snapshot, configId, jobId, ...facts, completed: job?.snapshotId === snapshot.id || isCopy };
  });
  const hereOf = new Map(all.flatMap(({ snapshot, jobId, completed }) => (completed ? [[jobId, snapshot.id] as const] : [])));
  const baseOf = new Map(configs.map(({ id, source }) => [id, baseConfigOf(id, source)]));
  // What is of no completed run can be in no recovery.
  const chained = jobs.flatMap(({ id, backupConfigId, metadata }): ChainedSnapshot[] => {
    const [snapshotId, facts] = [hereOf.get(id), factsOf(metadata)];
    return snapshotId === undefined || facts === null
      ? []
      : [{ jobId: id, snapshotId, baseConfigId: baseOf.get(backupConfigId) ?? backupConfigId, facts }];
  });
  const retentionDaysOf = new Map(configs.flatMap((config) => (config.retentionDays === null ? [] : [[config.id, config.retentionDays]])));
  return { all, chained, retentionDaysOf };
}

/** Snapshots without which those that are chosen could not be recovered, those themselves included. */
export function neededBy(chained: readonly ChainedSnapshot[], chosen: ReadonlySet<string>): string[] {
  return [...Map.groupBy(chained, (snapshot) => snapshot.baseConfigId).values()].flatMap((ofChain) => {
    const staying = keptWithChain(ofChain, new Set(ofChain.filter(({ snapshotId }) => chosen.has(snapshotId)).map(({ jobId }) => jobId)));
    return ofChain.filter(({ jobId }) => staying.has(jobId)).map(({ snapshotId }) => snapshotId);
  });
}

/** The config of the base backups that those of a config build on; itself when its source names none. */
function baseConfigOf(id: string, source: unknown): string {
  const named: unknown = typeof source === 'object' && source !== null ? Reflect.get(source, 'baseConfigId') : undefined;
  return typeof named === 'string' ? named : id;
}

/** What follows `prefix` in a tag of a snapshot. */
export function tagOf({ tags }: { readonly tags?: readonly string[] }, prefix: string): string | undefined {
  return tags?.find((tag) => tag.startsWith(prefix))?.slice(prefix.length);
}
