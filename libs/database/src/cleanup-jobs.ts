import type { CleanupJob, Prisma } from '../generated/client.ts';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { initialRun } from './backup-jobs.ts';
import type { Transaction } from './open-database.ts';
import { createdBetween, readPage, type Page, type PageRequest } from './page.ts';
import { secretRepositoryColumns } from './repositories.ts';
import type { RepositoryRow } from './repositories.ts';
import { repositoryLabels } from './repository-labels.ts';
import type { RunStatus } from './run-states.ts';
import { appendRunEvent } from './runs.ts';
import { found, inScope, isInScope, type Scope } from './scope.ts';

export type CleanupJobRow = CleanupJob;

export interface CleanupInput {
  /** One repository, or all of an entity, or all in the scope. */
  readonly repositoryId?: string | undefined;
  readonly businessEntityId?: string | undefined;
  readonly dryRun: boolean;
  /** The tick that this cleanup answers; a repository gets one cleanup a tick. */
  readonly scheduledFor?: Date | undefined;
}

/**
 * Makes one cleanup for each repository meant, all owed at once. Those whose tick has its cleanup already are left out; so an
 * empty answer is possible. Repositories that are append-only are left out where none is named, but for a dry run.
 * Codes: not_found, when a named repository or entity is not there; storage_append_only, for a named one.
 */
export async function createCleanupJobs(tx: Transaction, scope: Scope, input: CleanupInput): Promise<CleanupJobRow[]> {
  const { repositoryId, businessEntityId } = input;
  if (businessEntityId !== undefined) {
    const isVisible = isInScope(scope, businessEntityId);
    found(isVisible ? await tx.businessEntity.findUnique({ where: { id: businessEntityId } }) : null, 'entity', businessEntityId);
  }
  const where = { AND: [inScope(scope, businessEntityId), repositoryId === undefined ? {} : { id: repositoryId }] };
  const select = { id: true, businessEntityId: true, storageOptions: true } as const;
  const repositories = await tx.repository.findMany({ where, select, orderBy: { id: 'asc' } });
  if (repositoryId !== undefined) found(repositories[0] ?? null, 'repository', repositoryId);
  const cleanable = repositories.filter(({ storageOptions }) => input.dryRun || !isAppendOnly(storageOptions));
  if (repositoryId !== undefined && cleanable.length === 0) {
    throw new HoldfastError('storage_append_only', `repository ${repositoryId} is append-only by its options: nothing is removed from it`);
  }
  const run = { ...initialRun(true), dryRun: input.dryRun, scheduledFor: input.scheduledFor ?? null };
  const trigger = input.scheduledFor === undefined ? ('request' as const) : ('schedule' as const);
  const labels = await repositoryLabels(
    tx,
    cleanable.map(({ id }) => id),
  );
  const data = cleanable.map((of) => ({
    repositoryId: of.id,
    businessEntityId: of.businessEntityId,
    workerLabel: labels.get(of.id) ?? null,
    trigger,
    ...run,
  }));
  const rows = await tx.cleanupJob.createManyAndReturn({ data, skipDuplicates: true });
  for (const row of rows) {
    await appendRunEvent(tx, 'cleanup', row, 'queued', { repositoryId: row.repositoryId, dryRun: row.dryRun, trigger });
  }
  return rows;
}

/** As the storage's own schema has it, which is not known here. */
function isAppendOnly(storageOptions: Prisma.JsonValue): boolean {
  return (
    typeof storageOptions === 'object' && storageOptions !== null && 'appendOnly' in storageOptions && storageOptions['appendOnly'] === true
  );
}

/** Code: not_found. */
export async function findCleanupJob(rows: Transaction, scope: Scope, id: string): Promise<CleanupJobRow> {
  return found(await rows.cleanupJob.findFirst({ where: { AND: [{ id }, inScope(scope)] } }), 'cleanup job', id);
}

export interface CleanupJobFilter {
  readonly entityId?: string | undefined;
  readonly repositoryId?: string | undefined;
  readonly status?: RunStatus | undefined;
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
}

export async function listCleanupJobs(
  rows: Transaction,
  scope: Scope,
  filter: CleanupJobFilter,
  page: PageRequest,
): Promise<Page<CleanupJobRow>> {
  const where: Prisma.CleanupJobWhereInput = {
    ...inScope(scope, filter.entityId),
    ...createdBetween(filter.from, filter.to),
    ...(filter.repositoryId === undefined ? {} : { repositoryId: filter.repositoryId }),
    ...(filter.status === undefined ? {} : { status: filter.status }),
  };
  return readPage(page, where, (query) => rows.cleanupJob.findMany(query));
}

/** A cleanup with what a worker needs for it. */
export type CleanupWork = CleanupJobRow & { readonly repository: RepositoryRow };

/** Code: not_found. */
export async function findCleanupWork(rows: Transaction, id: string): Promise<CleanupWork> {
  const include = { repository: { omit: secretRepositoryColumns } } as const;
  return found(await rows.cleanupJob.findUnique({ where: { id }, include }), 'cleanup job', id);
}
