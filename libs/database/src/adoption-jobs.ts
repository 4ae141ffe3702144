import type { AdoptionJob, Prisma } from '../generated/client.ts';
import { initialRun } from './backup-jobs.ts';
import type { Transaction } from './open-database.ts';
import { createdBetween, readPage, type Page, type PageRequest } from './page.ts';
import { secretRepositoryColumns, type RepositoryRow } from './repositories.ts';
import { repositoryLabels } from './repository-labels.ts';
import type { RunStatus } from './run-states.ts';
import { appendRunEvent } from './runs.ts';
import { found, inScope, isInScope, type Scope } from './scope.ts';

export type AdoptionJobRow = AdoptionJob;

/** Code: not_found, when the entity is not there or not in the scope. */
export async function assertEntity(tx: Transaction, scope: Scope, id: string): Promise<void> {
  found(isInScope(scope, id) ? await tx.businessEntity.findUnique({ where: { id } }) : null, 'entity', id);
}

/** Makes an adoption of a repository, owed at once. Code: not_found. */
export async function createAdoptionJob(tx: Transaction, scope: Scope, repositoryId: string): Promise<AdoptionJobRow> {
  const where = { AND: [{ id: repositoryId }, inScope(scope)] };
  const { businessEntityId } = found(
    await tx.repository.findFirst({ where, select: { businessEntityId: true } }),
    'repository',
    repositoryId,
  );
  const workerLabel = (await repositoryLabels(tx, [repositoryId])).get(repositoryId) ?? null;
  const row = await tx.adoptionJob.create({ data: { repositoryId, businessEntityId, workerLabel, ...initialRun(true) } });
  await appendRunEvent(tx, 'adopt', row, 'queued', { repositoryId });
  return row;
}

/** Code: not_found. */
export async function findAdoptionJob(rows: Transaction, scope: Scope, id: string): Promise<AdoptionJobRow> {
  return found(await rows.adoptionJob.findFirst({ where: { AND: [{ id }, inScope(scope)] } }), 'adoption', id);
}

export interface AdoptionJobFilter {
  readonly entityId?: string | undefined;
  readonly repositoryId?: string | undefined;
  readonly status?: RunStatus | undefined;
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
}

export async function listAdoptionJobs(
  rows: Transaction,
  scope: Scope,
  filter: AdoptionJobFilter,
  page: PageRequest,
): Promise<Page<AdoptionJobRow>> {
  const where: Prisma.AdoptionJobWhereInput = {
    ...inScope(scope, filter.entityId),
    ...createdBetween(filter.from, filter.to),
    ...(filter.repositoryId === undefined ? {} : { repositoryId: filter.repositoryId }),
    ...(filter.status === undefined ? {} : { status: filter.status }),
  };
  return readPage(page, where, (query) => rows.adoptionJob.findMany(query));
}

/** An adoption with what a worker needs for it. */
export type AdoptionWork = AdoptionJobRow & { readonly repository: RepositoryRow };

/** Code: not_found. */
export async function findAdoptionWork(rows: Transaction, id: string): Promise<AdoptionWork> {
  const include = { repository: { omit: secretRepositoryColumns } } as const;
  return found(await rows.adoptionJob.findUnique({ where: { id }, include }), 'adoption', id);
}
