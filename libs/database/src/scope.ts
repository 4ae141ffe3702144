import { Prisma } from '../generated/client.ts';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** The id of the entity that stands for Holdfast itself: what it backs up is the service's own database, with every tenant's rows and the master key. */
export const systemEntityId = 'system';

/**
 * The entities that a token may touch: their ids; all; or all but the system's own, which only admins of all entities may touch. What lies
 * outside does not exist for it.
 */
export type Scope = readonly string[] | '*' | 'tenants';

/** Whether an entity lies in a scope. */
export function isInScope(scope: Scope, businessEntityId: string): boolean {
  if (scope === 'tenants') return businessEntityId !== systemEntityId;
  return scope === '*' || scope.includes(businessEntityId);
}

/** The ids of a scope as Prisma's condition; undefined for all. */
export function idsInScope(scope: Scope): { in: string[] } | { not: string } | undefined {
  if (scope === '*') return undefined;
  return scope === 'tenants' ? { not: systemEntityId } : { in: [...scope] };
}

/** Whether a row's entity lies in a scope, as a condition in SQL. */
export function entityIsInScope(scope: Scope): Prisma.Sql {
  if (scope === '*') return Prisma.sql`true`;
  if (scope === 'tenants') return Prisma.sql`"businessEntityId" <> ${systemEntityId}`;
  return Prisma.sql`"businessEntityId" = ANY(${[...scope]}::text[])`;
}

/** The `where` of a scope, narrowed to one entity when given. An entity outside the scope finds nothing. */
export function inScope(scope: Scope, businessEntityId?: string): { businessEntityId?: string | { in: string[] } | { not: string } } {
  if (businessEntityId !== undefined) return { businessEntityId: isInScope(scope, businessEntityId) ? businessEntityId : { in: [] } };
  const ids = idsInScope(scope);
  return ids === undefined ? {} : { businessEntityId: ids };
}

/** The row, or `not_found` naming what was looked for: also what a row outside the scope answers. */
export function found<T>(row: T | null, what: string, id: string): T {
  if (row === null) throw new HoldfastError('not_found', `there is no ${what} ${id}`, { context: { id } });
  return row;
}
