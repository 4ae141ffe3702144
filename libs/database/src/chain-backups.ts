import type { Prisma } from '../generated/client.ts';
import { findBackupConfig } from './backup-configs.ts';
import type { Transaction } from './open-database.ts';
import type { Scope } from './scope.ts';
import { copiesInRepository } from './snapshot-copies.ts';

/** A backup of a chain: what is in its row and what its config is, as far as a chain needs to know. */
export interface ChainBackup {
  readonly jobId: string;
  readonly backupConfigId: string;
  readonly repositoryId: string;
  readonly snapshotId: string;
  /** Holds the facts of the backup; see policy's recovery-facts. */
  readonly metadata: unknown;
  readonly createdAt: Date;
}

/** Which configs build on the base config: those whose source names it, deleted ones too, since their backups may still be there. */
function buildingOn(baseConfigId: string): Prisma.BackupConfigWhereInput {
  return { source: { path: ['baseConfigId'], equals: baseConfigId } };
}

/** The configs that build on the base config and are not deleted, by name. */
export async function liveConfigsOn(rows: Transaction, baseConfigId: string): Promise<{ id: string; name: string }[]> {
  const where = { AND: [buildingOn(baseConfigId), { deletedAt: null }] };
  return await rows.backupConfig.findMany({ where, select: { id: true, name: true }, orderBy: [{ name: 'asc' }, { id: 'asc' }] });
}

/** The base config of a chain that the config belongs to: the one that its source names, or itself. Code: not_found. */
export async function findBaseConfigId(rows: Transaction, scope: Scope, configId: string): Promise<string> {
  const { source } = await findBackupConfig(rows, scope, configId);
  const named: unknown = typeof source === 'object' && source !== null ? Reflect.get(source, 'baseConfigId') : undefined;
  if (typeof named !== 'string') return configId;
  return (await findBackupConfig(rows, scope, named)).id;
}

/**
 * The backups of a base config and of those that build on it, as long as their snapshots are there; the oldest first. With
 * `fromRepositoryId` those that are, or were copied, there.
 */
export async function listChainBackups(rows: Transaction, baseConfigId: string, fromRepositoryId?: string): Promise<ChainBackup[]> {
  const { businessEntityId } = await rows.backupConfig.findUniqueOrThrow({
    where: { id: baseConfigId },
    select: { businessEntityId: true },
  });
  const jobs = await rows.backupJob.findMany({
    where: {
      businessEntityId,
      ...(fromRepositoryId === undefined ? { snapshotId: { not: null } } : {}),
      status: { in: ['completed', 'completed_with_warnings'] },
      backupConfig: { OR: [{ id: baseConfigId }, buildingOn(baseConfigId)] },
    },
    select: { id: true, backupConfigId: true, repositoryId: true, snapshotId: true, metadata: true, createdAt: true },
    orderBy: [{ createdAt: 'asc' }, { id: 'asc' }],
  });
  if (fromRepositoryId !== undefined) {
    const copies = await copiesInRepository(
      rows,
      fromRepositoryId,
      jobs.map(({ id }) => id),
    );
    return jobs.flatMap(({ id, ...job }) => {
      const snapshotId = copies.get(id) ?? (job.repositoryId === fromRepositoryId ? job.snapshotId : null);
      return snapshotId === null ? [] : [{ ...job, jobId: id, snapshotId, repositoryId: fromRepositoryId }];
    });
  }
  return jobs.flatMap(({ id, snapshotId, ...job }) => (snapshotId === null ? [] : [{ jobId: id, snapshotId, ...job }]));
}
