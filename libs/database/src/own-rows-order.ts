import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** A foreign key: rows of `from` name rows of `to`, both as PostgreSQL writes their names. */
export interface TableReference {
  readonly from: string;
  readonly to: string;
}

/**
 * Tables in an order in which they can be filled: what others refer to comes first, otherwise by name. A table may refer to itself.
 * Code: internal, when references form a ring.
 */
export function orderByReference(tables: readonly string[], references: readonly TableReference[]): string[] {
  const needs = new Map(tables.map((table) => [table, new Set<string>()]));
  for (const { from, to } of references) {
    if (plain(from) !== plain(to) && needs.has(plain(to))) needs.get(plain(from))?.add(plain(to));
  }
  const ordered: string[] = [];
  for (const left = new Set(tables.toSorted()); left.size > 0;) {
    const free = [...left].filter((table) => [...(needs.get(table) ?? [])].every((needed) => !left.has(needed)));
    if (free.length === 0) throw new HoldfastError('internal', `tables refer to each other in a ring: ${[...left].join(', ')}`);
    for (const table of free) {
      ordered.push(table);
      left.delete(table);
    }
  }
  return ordered;
}

function plain(name: string): string {
  return name.replaceAll('"', '');
}
