import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** The entities that a token may touch: their ids, or all. What lies outside does not exist for it. */
export type Scope = readonly string[] | '*';

/** The `where` of a scope, narrowed to one entity when given. An entity outside the scope finds nothing. */
export function inScope(scope: Scope, businessEntityId?: string): { businessEntityId?: string | { in: string[] } } {
  if (businessEntityId !== undefined) {
    return scope === '*' || scope.includes(businessEntityId) ? { businessEntityId } : { businessEntityId: { in: [] } };
  }
  return scope === '*' ? {} : { businessEntityId: { in: [...scope] } };
}

/** The row, or `not_found` naming what was looked for: also what a row outside the scope answers. */
export function found<T>(row: T | null, what: string, id: string): T {
  if (row === null) throw new HoldfastError('not_found', `there is no ${what} ${id}`, { context: { id } });
  return row;
}
