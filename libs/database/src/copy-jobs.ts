import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { copyWorkerLabel } from '@holdfast/policy/routing';
import type { CopyConfig, CopyJob, Prisma } from '../generated/client.ts';
import { initialRun } from './backup-jobs.ts';
import { jsonInput, type JsonObject } from './json-object.ts';
import type { Transaction } from './open-database.ts';
import { createdBetween, readPage, type Page, type PageRequest } from './page.ts';
import { secretRepositoryColumns, type RepositoryRow } from './repositories.ts';
import { repositoryLabels } from './repository-labels.ts';
import type { RunStatus } from './run-states.ts';
import { appendRunEvent } from './runs.ts';
import { found, inScope, type Scope } from './scope.ts';

export type CopyJobRow = CopyJob;

/** Values are validated by the caller, who has found both repositories in the entity. */
export interface CopyJobInput {
  readonly businessEntityId: string;
  readonly sourceRepositoryId: string;
  readonly targetRepositoryId: string;
  readonly copyConfigId: string | null;
  /** What libs/jobs' copyJobOptionsSchema takes. */
  readonly options: JsonObject;
  /** False: the job waits as pending until it is executed. */
  readonly execute: boolean;
}

export async function createCopyJob(tx: Transaction, { execute, options, ...input }: CopyJobInput): Promise<CopyJobRow> {
  const workerLabel = await copyLabel(tx, input);
  const row = await tx.copyJob.create({ data: { ...input, workerLabel, options: jsonInput(options), ...initialRun(execute) } });
  await appendCopyEvent(tx, row);
  return row;
}

/**
 * Makes a job of a copy config, owed at once: that of a tick, unless it is there already (`created` is false then), or one that
 * somebody asks for. Codes: not_found, config_inactive (inactive or deleted).
 */
export async function createCopyJobOf(
  tx: Transaction,
  scope: Scope,
  { copyConfigId, scheduledFor }: { readonly copyConfigId: string; readonly scheduledFor?: Date | undefined },
): Promise<{ row: CopyJobRow; created: boolean }> {
  const id = copyConfigId;
  // Shared lock: it is not deleted between the look and the job.
  await tx.$executeRaw`SELECT 1 FROM "copy_configs" WHERE "id" = ${id} FOR SHARE`;
  const config = found(await tx.copyConfig.findFirst({ where: { AND: [{ id }, inScope(scope)] } }), 'copy config', id);
  if (config.deletedAt !== null) throw new HoldfastError('config_inactive', `copy config ${id} is deleted`, { context: { id } });
  if (!config.isActive) throw new HoldfastError('config_inactive', `copy config ${id} is not active`, { context: { id } });
  const { businessEntityId, sourceRepositoryId, targetRepositoryId, options } = config;
  const data: Prisma.CopyJobCreateManyInput = {
    businessEntityId,
    sourceRepositoryId,
    targetRepositoryId,
    copyConfigId,
    // As validated when it was written.
    options: options ?? {},
    trigger: scheduledFor === undefined ? 'request' : 'schedule',
    scheduledFor: scheduledFor ?? null,
    workerLabel: await copyLabel(tx, config),
    ...initialRun(true),
  };
  const [row] = await tx.copyJob.createManyAndReturn({ data: [data], skipDuplicates: true });
  if (row === undefined) {
    const tick = { copyConfigId, scheduledFor: scheduledFor ?? new Date(0) };
    return { row: await tx.copyJob.findUniqueOrThrow({ where: { copyConfigId_scheduledFor: tick } }), created: false };
  }
  await appendCopyEvent(tx, row);
  return { row, created: true };
}

async function copyLabel(
  tx: Transaction,
  { sourceRepositoryId, targetRepositoryId }: Pick<CopyJobInput, 'sourceRepositoryId' | 'targetRepositoryId'>,
): Promise<string | null> {
  const labels = await repositoryLabels(tx, [sourceRepositoryId, targetRepositoryId]);
  return copyWorkerLabel(labels.get(sourceRepositoryId) ?? null, labels.get(targetRepositoryId) ?? null);
}

/** Code: not_found. */
export async function findCopyJob(rows: Transaction, scope: Scope, id: string): Promise<CopyJobRow> {
  return found(await rows.copyJob.findFirst({ where: { AND: [{ id }, inScope(scope)] } }), 'copy job', id);
}

export interface CopyJobFilter {
  readonly entityId?: string | undefined;
  readonly sourceRepositoryId?: string | undefined;
  readonly targetRepositoryId?: string | undefined;
  readonly copyConfigId?: string | undefined;
  readonly status?: RunStatus | undefined;
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
}

export async function listCopyJobs(rows: Transaction, scope: Scope, filter: CopyJobFilter, page: PageRequest): Promise<Page<CopyJobRow>> {
  const { entityId, sourceRepositoryId, targetRepositoryId, copyConfigId, status, from, to } = filter;
  const where: Prisma.CopyJobWhereInput = {
    ...inScope(scope, entityId),
    ...createdBetween(from, to),
    ...(sourceRepositoryId === undefined ? {} : { sourceRepositoryId }),
    ...(targetRepositoryId === undefined ? {} : { targetRepositoryId }),
    ...(copyConfigId === undefined ? {} : { copyConfigId }),
    ...(status === undefined ? {} : { status }),
  };
  return readPage(page, where, (query) => rows.copyJob.findMany(query));
}

/** A copy job with what a worker needs for it. */
export type CopyWork = CopyJobRow & {
  readonly sourceRepository: RepositoryRow;
  readonly targetRepository: RepositoryRow;
  readonly copyConfig: CopyConfig | null;
};

/** Code: not_found. */
export async function findCopyWork(rows: Transaction, id: string): Promise<CopyWork> {
  const repository = { omit: secretRepositoryColumns } as const;
  const include = { sourceRepository: repository, targetRepository: repository, copyConfig: true } as const;
  return found(await rows.copyJob.findUnique({ where: { id }, include }), 'copy job', id);
}

async function appendCopyEvent(tx: Transaction, row: CopyJobRow): Promise<void> {
  const { sourceRepositoryId, targetRepositoryId, copyConfigId, trigger } = row;
  const change = row.status === 'pending' ? 'accepted' : 'queued';
  await appendRunEvent(tx, 'copy', row, change, { sourceRepositoryId, targetRepositoryId, copyConfigId, trigger });
}
