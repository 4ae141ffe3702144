import type { CopyConfig, Prisma } from '../generated/client.ts';
import { appendEvent } from './events.ts';
import { jsonInput, type JsonObject } from './json-object.ts';
import type { Transaction } from './open-database.ts';
import { readPage, type Page, type PageRequest } from './page.ts';
import type { ConfigSchedule } from './backup-configs.ts';
import { found, inScope, type Scope } from './scope.ts';

export type CopyConfigRow = CopyConfig;

/** Values are validated by the caller, who has found both repositories in the entity. */
export interface CopyConfigInput {
  readonly businessEntityId: string;
  readonly sourceRepositoryId: string;
  readonly targetRepositoryId: string;
  readonly schedule: string;
  readonly timeZone: string;
  /** What libs/jobs' copyOptionsSchema takes. */
  readonly options: JsonObject;
}

export async function createCopyConfig(tx: Transaction, { options, ...input }: CopyConfigInput): Promise<CopyConfigRow> {
  const row = await tx.copyConfig.create({ data: { ...input, options: jsonInput(options) } });
  await appendCopyConfigEvent(tx, row, 'created');
  return row;
}

export interface CopyConfigChanges {
  readonly schedule?: string | undefined;
  readonly timeZone?: string | undefined;
  readonly options?: JsonObject | undefined;
  readonly isActive?: boolean | undefined;
}

/** What is undefined stays. Code: not_found, also for one that is deleted. */
export async function updateCopyConfig(tx: Transaction, scope: Scope, id: string, changes: CopyConfigChanges): Promise<CopyConfigRow> {
  await lockLive(tx, scope, id);
  const { schedule, timeZone, options, isActive } = changes;
  const data: Prisma.CopyConfigUpdateInput = {
    ...(schedule === undefined ? {} : { schedule }),
    ...(timeZone === undefined ? {} : { timeZone }),
    ...(options === undefined ? {} : { options: jsonInput(options) }),
    ...(isActive === undefined ? {} : { isActive }),
  };
  const row = await tx.copyConfig.update({ where: { id }, data });
  await appendCopyConfigEvent(tx, row, 'updated');
  return row;
}

/** Takes it out of use; its jobs and copies stay. Code: not_found, also for one that is deleted already. */
export async function deleteCopyConfig(tx: Transaction, scope: Scope, id: string, now: Date): Promise<void> {
  await lockLive(tx, scope, id);
  const row = await tx.copyConfig.update({ where: { id }, data: { deletedAt: now, isActive: false } });
  await appendCopyConfigEvent(tx, row, 'deleted');
}

/** Deleted ones too: their jobs refer to them. Code: not_found. */
export async function findCopyConfig(rows: Transaction, scope: Scope, id: string): Promise<CopyConfigRow> {
  return found(await rows.copyConfig.findFirst({ where: { AND: [{ id }, inScope(scope)] } }), 'copy config', id);
}

export interface CopyConfigFilter {
  readonly entityId?: string | undefined;
  readonly sourceRepositoryId?: string | undefined;
  readonly targetRepositoryId?: string | undefined;
}

/** Those that are not deleted. */
export async function listCopyConfigs(
  rows: Transaction,
  scope: Scope,
  { entityId, sourceRepositoryId, targetRepositoryId }: CopyConfigFilter,
  page: PageRequest,
): Promise<Page<CopyConfigRow>> {
  const where: Prisma.CopyConfigWhereInput = {
    deletedAt: null,
    ...inScope(scope, entityId),
    ...(sourceRepositoryId === undefined ? {} : { sourceRepositoryId }),
    ...(targetRepositoryId === undefined ? {} : { targetRepositoryId }),
  };
  return readPage(page, where, (query) => rows.copyConfig.findMany(query));
}

/** What the job schedulers should be: one for each that is active. */
export async function activeCopySchedules(rows: Transaction): Promise<ConfigSchedule[]> {
  const where = { isActive: true, deletedAt: null };
  return rows.copyConfig.findMany({ where, select: { id: true, schedule: true, timeZone: true }, orderBy: { id: 'asc' } });
}

async function lockLive(tx: Transaction, scope: Scope, id: string): Promise<CopyConfigRow> {
  await tx.$executeRaw`SELECT 1 FROM "copy_configs" WHERE "id" = ${id} FOR NO KEY UPDATE`;
  return found(await tx.copyConfig.findFirst({ where: { AND: [{ id, deletedAt: null }, inScope(scope)] } }), 'copy config', id);
}

async function appendCopyConfigEvent(tx: Transaction, row: CopyConfigRow, change: 'created' | 'updated' | 'deleted'): Promise<void> {
  const { id, businessEntityId, sourceRepositoryId, targetRepositoryId, isActive } = row;
  await appendEvent(tx, {
    businessEntityId,
    type: `copy_config.${change}`,
    subjectKind: 'copy_config',
    subjectId: id,
    data: { sourceRepositoryId, targetRepositoryId, isActive },
  });
}
