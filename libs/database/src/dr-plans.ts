import type { DisasterRecoveryPlan } from '../generated/client.ts';
import { Prisma } from '../generated/client.ts';
import { appendEvent } from './events.ts';
import { jsonInput } from './json-object.ts';
import type { Transaction } from './open-database.ts';
import { readPage, type Page, type PageRequest } from './page.ts';
import { found, inScope, isInScope, type Scope } from './scope.ts';

export type DrPlanRow = DisasterRecoveryPlan;

/** Values are validated by the caller. */
export interface DrPlanInput {
  readonly businessEntityId: string;
  readonly name: string;
  readonly description?: string | null | undefined;
  /** 1 is the most urgent. */
  readonly priority: number;
  /** Recovery time objective, minutes. */
  readonly rto: number;
  /** Recovery point objective, minutes. */
  readonly rpo: number;
  /** A JSON object or list. */
  readonly procedures?: object | null | undefined;
  readonly contacts?: object | null | undefined;
  readonly isActive?: boolean | undefined;
}

/** Code: not_found (entity). */
export async function createDrPlan(tx: Transaction, scope: Scope, input: DrPlanInput): Promise<DrPlanRow> {
  const { businessEntityId } = input;
  const isVisible = isInScope(scope, businessEntityId);
  found(isVisible ? await tx.businessEntity.findUnique({ where: { id: businessEntityId } }) : null, 'entity', businessEntityId);
  const plan = await tx.disasterRecoveryPlan.create({ data: { businessEntityId, ...columns(input) } });
  await appendPlanEvent(tx, plan, 'created');
  return plan;
}

/** Replaces everything but the entity. Code: not_found. */
export async function updateDrPlan(
  tx: Transaction,
  scope: Scope,
  id: string,
  input: Omit<DrPlanInput, 'businessEntityId'>,
): Promise<DrPlanRow> {
  await findDrPlan(tx, scope, id);
  const plan = await tx.disasterRecoveryPlan.update({ where: { id }, data: columns(input) });
  await appendPlanEvent(tx, plan, 'updated');
  return plan;
}

/** Code: not_found. */
export async function deleteDrPlan(tx: Transaction, scope: Scope, id: string): Promise<void> {
  const plan = await findDrPlan(tx, scope, id);
  await tx.disasterRecoveryPlan.deleteMany({ where: { id } });
  await appendPlanEvent(tx, plan, 'deleted');
}

/** Code: not_found. */
export async function findDrPlan(rows: Transaction, scope: Scope, id: string): Promise<DrPlanRow> {
  return found(await rows.disasterRecoveryPlan.findFirst({ where: { AND: [{ id }, inScope(scope)] } }), 'disaster recovery plan', id);
}

export async function listDrPlans(
  rows: Transaction,
  scope: Scope,
  filter: { readonly entityId?: string | undefined; readonly isActive?: boolean | undefined },
  page: PageRequest,
): Promise<Page<DrPlanRow>> {
  const where: Prisma.DisasterRecoveryPlanWhereInput = {
    ...inScope(scope, filter.entityId),
    ...(filter.isActive === undefined ? {} : { isActive: filter.isActive }),
  };
  return readPage(page, where, (query) => rows.disasterRecoveryPlan.findMany(query));
}

function columns(input: Omit<DrPlanInput, 'businessEntityId'>): Omit<Prisma.DisasterRecoveryPlanUncheckedCreateInput, 'businessEntityId'> {
  const { name, priority, rto, rpo } = input;
  return {
    name,
    description: input.description ?? null,
    priority,
    rto,
    rpo,
    procedures: jsonOrNull(input.procedures),
    contacts: jsonOrNull(input.contacts),
    isActive: input.isActive ?? true,
  };
}

function jsonOrNull(value: object | null | undefined): Prisma.InputJsonValue | typeof Prisma.DbNull {
  return value === undefined || value === null ? Prisma.DbNull : jsonInput(value);
}

async function appendPlanEvent(tx: Transaction, plan: DrPlanRow, change: 'created' | 'updated' | 'deleted'): Promise<void> {
  const { businessEntityId, id, name } = plan;
  await appendEvent(tx, { businessEntityId, type: `plan.${change}`, subjectKind: 'plan', subjectId: id, data: { name } });
}
