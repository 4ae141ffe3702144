import type { Transaction } from '@holdfast/database/open-database';
import type { Snapshot } from '@holdfast/engine/snapshots';
import type { CopyJobOptions } from '@holdfast/jobs/copy-options';
import { findOurSnapshots, neededBy, tagOf } from './our-snapshots.ts';

const nsPerMs = 1_000_000n;
const dayMs = 24 * 3600 * 1000;

/**
 * Which snapshots a copy job is to copy. Where a rule chooses, what the chosen ones need to be recovered comes with them: the base backup
 * of WAL, what an incremental one builds on. Of those that are named by id the ones that are not there are told apart.
 */
export async function chooseCopied(
  rows: Transaction,
  repositoryId: string,
  wanted: CopyJobOptions['snapshots'],
  snapshots: readonly Snapshot[],
  now: Date,
): Promise<{ ids: readonly string[]; absent: readonly string[] }> {
  const { newerThanDays, since, backupConfigIds, ids } = wanted;
  const fromMs = Math.max(
    since === undefined ? Number.NEGATIVE_INFINITY : Date.parse(since),
    newerThanDays === undefined ? Number.NEGATIVE_INFINITY : now.getTime() - newerThanDays * dayMs,
  );
  const chosen = new Set(
    snapshots
      .filter((snapshot) => Number(snapshot.timeNs / nsPerMs) >= fromMs)
      .filter((snapshot) => backupConfigIds === undefined || backupConfigIds.includes(tagOf(snapshot, 'config:') ?? ''))
      .filter(({ id }) => ids === undefined || ids.includes(id))
      .map(({ id }) => id),
  );
  if (ids !== undefined) {
    const present = new Set(snapshots.map(({ id }) => id));
    return { ids: [...chosen], absent: ids.filter((id) => !present.has(id)) };
  }
  if (chosen.size < snapshots.length) {
    const { chained } = await findOurSnapshots(rows, repositoryId, snapshots);
    for (const id of neededBy(chained, chosen)) chosen.add(id);
  }
  return { ids: [...chosen], absent: [] };
}
