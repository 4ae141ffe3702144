import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { BackupJob, BackupType, Prisma } from '../generated/client.ts';
import { secretConfigColumns, type BackupConfigRow } from './backup-configs.ts';
import type { Transaction } from './open-database.ts';
import { createdBetween, readPage, type Page, type PageRequest } from './page.ts';
import { secretRepositoryColumns } from './repositories.ts';
import type { RepositoryRow } from './repositories.ts';
import type { RunStatus } from './run-states.ts';
import { appendRunEvent } from './runs.ts';
import { copiesInRepository } from './snapshot-copies.ts';
import { found, inScope, type Scope } from './scope.ts';

export type BackupJobRow = BackupJob;

export interface BackupJobInput {
  readonly backupConfigId: string;
  /** False: the job waits as pending until it is executed. */
  readonly execute: boolean;
  /** The tick that this job answers; a second job of the same tick is not made. */
  readonly scheduledFor?: Date | undefined;
}

/**
 * Makes a job of a config, owed when `execute`. For a tick that has its job already that job is given, with `created` false.
 * Codes: not_found, config_inactive (inactive or deleted).
 */
export async function createBackupJob(
  tx: Transaction,
  scope: Scope,
  input: BackupJobInput,
): Promise<{ row: BackupJobRow; created: boolean }> {
  const id = input.backupConfigId;
  // Shared lock: the config is not deleted between the look and the job.
  await tx.$executeRaw`SELECT 1 FROM "backup_configs" WHERE "id" = ${id} FOR SHARE`;
  const config = found(await tx.backupConfig.findFirst({ where: { AND: [{ id }, inScope(scope)] } }), 'backup config', id);
  if (config.deletedAt !== null) throw new HoldfastError('config_inactive', `backup config ${id} is deleted`, { context: { id } });
  if (!config.isActive) throw new HoldfastError('config_inactive', `backup config ${id} is not active`, { context: { id } });
  const data: Prisma.BackupJobCreateManyInput = {
    businessEntityId: config.businessEntityId,
    backupConfigId: id,
    repositoryId: config.repositoryId,
    backupType: config.backupType,
    trigger: input.scheduledFor === undefined ? 'request' : 'schedule',
    scheduledFor: input.scheduledFor ?? null,
    workerLabel: config.workerLabel,
    ...initialRun(input.execute),
  };
  const [row] = await tx.backupJob.createManyAndReturn({ data: [data], skipDuplicates: true });
  if (row === undefined) {
    const tick = { backupConfigId: id, scheduledFor: input.scheduledFor ?? new Date(0) };
    return { row: await tx.backupJob.findUniqueOrThrow({ where: { backupConfigId_scheduledFor: tick } }), created: false };
  }
  await appendRunEvent(tx, 'backup', row, input.execute ? 'queued' : 'accepted', { backupConfigId: id, trigger: row.trigger });
  return { row, created: true };
}

/** The run columns of a new row. */
export function initialRun(execute: boolean): { status: 'queued' | 'pending'; queuedAt: Date | null } {
  return execute ? { status: 'queued', queuedAt: new Date() } : { status: 'pending', queuedAt: null };
}

/** Code: not_found. */
export async function findBackupJob(rows: Transaction, scope: Scope, id: string): Promise<BackupJobRow> {
  return found(await rows.backupJob.findFirst({ where: { AND: [{ id }, inScope(scope)] } }), 'backup job', id);
}

export interface BackupJobFilter {
  readonly entityId?: string | undefined;
  readonly status?: RunStatus | undefined;
  readonly type?: BackupType | undefined;
  readonly backupConfigId?: string | undefined;
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
}

export async function listBackupJobs(
  rows: Transaction,
  scope: Scope,
  filter: BackupJobFilter,
  page: PageRequest,
): Promise<Page<BackupJobRow>> {
  const where: Prisma.BackupJobWhereInput = {
    ...inScope(scope, filter.entityId),
    ...createdBetween(filter.from, filter.to),
    ...(filter.status === undefined ? {} : { status: filter.status }),
    ...(filter.type === undefined ? {} : { backupType: filter.type }),
    ...(filter.backupConfigId === undefined ? {} : { backupConfigId: filter.backupConfigId }),
  };
  return readPage(page, where, (query) => rows.backupJob.findMany(query));
}

/** The backups of a repository that made a snapshot, newest first; those whose snapshots are gone only when asked for. */
export async function listSnapshotBackups(
  rows: Transaction,
  repositoryId: string,
  filter: { readonly expired: boolean },
  page: PageRequest,
): Promise<Page<BackupJobRow>> {
  const isThere = filter.expired ? { filePath: { not: null } } : { snapshotId: { not: null } };
  const where: Prisma.BackupJobWhereInput = { repositoryId, status: { in: ['completed', 'completed_with_warnings'] }, ...isThere };
  return readPage(page, where, (query) => rows.backupJob.findMany(query));
}

/** The label of the config that made a backup, as it is now: of what is done with the backup. */
export async function configLabelOf(tx: Transaction, backupConfigId: string): Promise<string | null> {
  // Locked: a change of the label either sees the row that is made with this one, or comes before it.
  const [config] = await tx.$queryRaw<{ workerLabel: string | null }[]>`
    SELECT "workerLabel" FROM "backup_configs" WHERE "id" = ${backupConfigId} FOR SHARE`;
  return config?.workerLabel ?? null;
}

/** A backup whose snapshot can be looked into. */
export interface BrowsedBackup {
  readonly id: string;
  readonly snapshotId: string;
  readonly time: Date;
}

/** The backups of a repository, or of one config in it, whose snapshots are there, oldest first; made in `from` (inclusive) to `to` (exclusive). */
export async function listBrowsedBackups(
  rows: Transaction,
  repositoryId: string,
  filter: { readonly backupConfigId?: string | undefined; readonly from?: Date | undefined; readonly to?: Date | undefined },
  limit: number,
): Promise<BrowsedBackup[]> {
  const { backupConfigId, from, to } = filter;
  const startTime = { ...(from === undefined ? {} : { gte: from }), ...(to === undefined ? {} : { lt: to }) };
  const jobs = await rows.backupJob.findMany({
    where: {
      repositoryId,
      snapshotId: { not: null },
      status: { in: ['completed', 'completed_with_warnings'] },
      ...(backupConfigId === undefined ? {} : { backupConfigId }),
      ...(from === undefined && to === undefined ? {} : { startTime }),
    },
    select: { id: true, snapshotId: true, startTime: true, createdAt: true },
    orderBy: [{ startTime: 'asc' }, { id: 'asc' }],
    take: limit,
  });
  return jobs.map(({ id, snapshotId, startTime: started, createdAt }) => ({
    id,
    snapshotId: snapshotId ?? '',
    time: started ?? createdAt,
  }));
}

/** A job with what a worker needs for it. */
export type BackupWork = BackupJobRow & { readonly backupConfig: BackupConfigRow; readonly repository: RepositoryRow };

/** Code: not_found. */
export async function findBackupWork(rows: Transaction, id: string): Promise<BackupWork> {
  const include = { backupConfig: { omit: secretConfigColumns }, repository: { omit: secretRepositoryColumns } } as const;
  return found(await rows.backupJob.findUnique({ where: { id }, include }), 'backup job', id);
}

/** The backups of a repository whose snapshots are still there, oldest first, with the retention of their configs. */
export async function keptBackups(
  rows: Transaction,
  repositoryId: string,
): Promise<{ id: string; backupConfigId: string; snapshotId: string; startTime: Date; retentionDays: number | null }[]> {
  const jobs = await rows.backupJob.findMany({
    where: { repositoryId, snapshotId: { not: null }, status: { in: ['completed', 'completed_with_warnings'] } },
    include: { backupConfig: { select: { retentionDays: true } } },
    orderBy: [{ startTime: 'asc' }, { id: 'asc' }],
  });
  return jobs.map((job) => ({
    id: job.id,
    backupConfigId: job.backupConfigId,
    snapshotId: job.snapshotId ?? '',
    startTime: job.startTime ?? job.createdAt,
    retentionDays: job.backupConfig.retentionDays,
  }));
}

/** Says that cleanup has forgotten these snapshots, copies or not; gives how many jobs lost theirs. May be repeated. */
export async function markBackupsExpired(
  tx: Transaction,
  repositoryId: string,
  snapshotIds: readonly string[],
  now: Date,
): Promise<number> {
  const where = { repositoryId, snapshotId: { in: [...snapshotIds] } };
  const { count } = await tx.backupJob.updateMany({ where, data: { snapshotId: null, expiredAt: now } });
  await tx.snapshotCopy.deleteMany({ where });
  return count;
}

/**
 * The finished backup that a verification or recovery is to work on, kept from expiring until the transaction ends.
 * With `fromRepositoryId` its copy in that repository is what counts, and the repository and the snapshot of the row that is given.
 * Codes: not_found, run_not_finished, backup_not_usable (failed, cancelled, expired, or not copied to that repository).
 */
export async function findUsableBackup(tx: Transaction, scope: Scope, id: string, fromRepositoryId?: string): Promise<BackupJobRow> {
  await tx.$executeRaw`SELECT 1 FROM "backup_jobs" WHERE "id" = ${id} FOR SHARE`;
  return findBackupSnapshot(tx, scope, id, fromRepositoryId);
}

/** As findUsableBackup, for whoever only looks into it: the snapshot may expire at any time. */
export async function findBackupSnapshot(rows: Transaction, scope: Scope, id: string, fromRepositoryId?: string): Promise<BackupJobRow> {
  const job = await findBackupJob(rows, scope, id);
  const context = { id, status: job.status };
  if (job.status === 'pending' || job.status === 'queued' || job.status === 'running') {
    throw new HoldfastError('run_not_finished', `backup job ${id} is ${job.status}`, { context });
  }
  if (fromRepositoryId !== undefined && fromRepositoryId !== job.repositoryId) {
    const snapshotId = (await copiesInRepository(rows, fromRepositoryId, [id])).get(id);
    if (snapshotId !== undefined) return { ...job, repositoryId: fromRepositoryId, snapshotId };
    throw new HoldfastError('backup_not_usable', `repository ${fromRepositoryId} holds no copy of backup job ${id}`, { context });
  }
  if (job.snapshotId === null) {
    const why = job.expiredAt === null ? job.status : 'expired';
    throw new HoldfastError('backup_not_usable', `backup job ${id} is ${why} and has no snapshot`, { context });
  }
  return job;
}
