import { isAdopted, knownCopies } from '@holdfast/database/adopted-backups';
import type { Transaction } from '@holdfast/database/open-database';
import { isFinal } from '@holdfast/database/run-states';
import type { Snapshot } from '@holdfast/engine/snapshots';
import { selectKeptByConfig, type RetainedSnapshot } from '@holdfast/policy/retention';
import { findOurSnapshots, neededBy } from './our-snapshots.ts';

const nsPerMs = 1_000_000n;

/**
 * The ids of the snapshots that retention no longer keeps. What lies in the repository decides, not the rows: a snapshot whose
 * row never heard of it expires by its config's rule too, and so does a copy, in the repository that it was copied to. Never expired are
 * snapshots that no config of ours made (somebody backs up with restic into the same repository), those of runs that are still going on,
 * those under a config without a retention, and what a kept backup of a PostgreSQL server needs to be recovered. In a repository that was
 * adopted what is of no row there has not been adopted yet, and stays. `held` stay in any case, and what they need with them.
 */
export async function selectExpired(
  rows: Transaction,
  repositoryId: string,
  snapshots: readonly Snapshot[],
  now: Date,
  held: readonly string[] = [],
): Promise<string[]> {
  const { all, chained, retentionDaysOf } = await findOurSnapshots(rows, repositoryId, snapshots);
  const copies = new Set(await knownCopies(rows, repositoryId));
  const isForeign = await isAdopted(rows, repositoryId);
  const retained: RetainedSnapshot[] = all
    .filter(({ snapshot, jobRepositoryId }) => !isForeign || jobRepositoryId === repositoryId || copies.has(snapshot.id))
    // A job whose row is gone has ended as well: nobody will ever end it.
    .filter(({ jobStatus }) => isFinal(jobStatus ?? 'cancelled'))
    .map(({ snapshot, configId, completed }) => ({
      id: snapshot.id,
      configId,
      time: new Date(Number(snapshot.timeNs / nsPerMs)),
      completed,
    }));
  const kept = selectKeptByConfig(retained, retentionDaysOf, now);
  for (const id of held) kept.add(id);
  for (const id of neededBy(chained, kept)) kept.add(id);
  return retained.filter((snapshot) => !kept.has(snapshot.id)).map((snapshot) => snapshot.id);
}
