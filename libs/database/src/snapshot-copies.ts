import type { SnapshotCopy } from '../generated/client.ts';
import { advisoryLocks } from './advisory-lock.ts';
import type { CopyJobRow } from './copy-jobs.ts';
import type { Transaction } from './open-database.ts';
import { inScope, type Scope } from './scope.ts';

/** PostgreSQL takes some ten thousand values in a statement. */
const maxRowsAtOnce = 1_000;

export type SnapshotCopyRow = SnapshotCopy;

export interface NewSnapshotCopy {
  readonly originalId: string;
  readonly snapshotId: string;
  /** As its tags have it; whether there is such a backup is looked up. */
  readonly backupJobId: string | undefined;
}

/** Nobody else writes copies into the repository until the transaction ends: of two that have the same snapshot one finds the other's. */
export async function lockCopiesOf(tx: Transaction, repositoryId: string): Promise<void> {
  await tx.$executeRaw`SELECT pg_advisory_xact_lock(${advisoryLocks.writeCopies}::int, hashtext(${repositoryId}))`;
}

/** Notes copies that a job has made or found; those that are known stay as they are. */
export async function recordSnapshotCopies(
  rows: Transaction,
  job: Pick<CopyJobRow, 'id' | 'businessEntityId' | 'sourceRepositoryId' | 'targetRepositoryId'>,
  copies: readonly NewSnapshotCopy[],
): Promise<void> {
  const { businessEntityId, sourceRepositoryId } = job;
  const common = { businessEntityId, sourceRepositoryId, repositoryId: job.targetRepositoryId, copyJobId: job.id };
  for (let at = 0; at < copies.length; at += maxRowsAtOnce) {
    const some = copies.slice(at, at + maxRowsAtOnce);
    const named = some.flatMap(({ backupJobId }) => backupJobId ?? []);
    const backups = await rows.backupJob.findMany({ where: { id: { in: named }, businessEntityId }, select: { id: true } });
    const known = new Set(backups.map(({ id }) => id));
    // Those of snapshots that were adopted are in no tag.
    const originals = some.map(({ originalId }) => originalId);
    const ofOriginals = await rows.backupJob.findMany({
      where: { repositoryId: sourceRepositoryId, snapshotId: { in: originals } },
      select: { id: true, snapshotId: true },
    });
    const backupOf = new Map(ofOriginals.map(({ id, snapshotId: original }) => [original, id]));
    const data = some.map(({ originalId, snapshotId, backupJobId }) => ({
      ...common,
      originalId,
      snapshotId,
      backupJobId: backupOf.get(originalId) ?? (backupJobId !== undefined && known.has(backupJobId) ? backupJobId : null),
    }));
    await rows.snapshotCopy.createMany({ data, skipDuplicates: true });
  }
}

/** Those of the given copies of which nobody has seen that they are whole. */
export async function unverifiedCopies(rows: Transaction, repositoryId: string, snapshotIds: readonly string[]): Promise<string[]> {
  const unverified = await rows.snapshotCopy.findMany({ where: { repositoryId, verifiedAt: null }, select: { snapshotId: true } });
  const given = new Set(snapshotIds);
  return unverified.map(({ snapshotId }) => snapshotId).filter((id) => given.has(id));
}

export async function markCopiesVerified(
  rows: Transaction,
  repositoryId: string,
  snapshotIds: readonly string[],
  now: Date,
): Promise<void> {
  await rows.snapshotCopy.updateMany({ where: { repositoryId, snapshotId: { in: [...snapshotIds] } }, data: { verifiedAt: now } });
}

/** Where copies of a backup lie, the oldest copy first. */
export async function copiesOfBackup(rows: Transaction, scope: Scope, backupJobId: string): Promise<SnapshotCopyRow[]> {
  const where = { AND: [{ backupJobId }, inScope(scope)] };
  return rows.snapshotCopy.findMany({ where, orderBy: [{ createdAt: 'asc' }, { repositoryId: 'asc' }] });
}

/** The copies of these backups in a repository: snapshot ids by backup, of the newest where one was lost and made anew. */
export async function copiesInRepository(
  rows: Transaction,
  repositoryId: string,
  backupJobIds: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const where = { repositoryId, backupJobId: { in: [...backupJobIds] } };
  const select = { backupJobId: true, snapshotId: true } as const;
  const copies = await rows.snapshotCopy.findMany({ where, select, orderBy: { createdAt: 'asc' } });
  return new Map(copies.flatMap(({ backupJobId, snapshotId }) => (backupJobId === null ? [] : [[backupJobId, snapshotId] as const])));
}
