import type { OwnRow, OwnRowTable } from '@holdfast/database/own-rows-of-entity';
import { differingFields } from './row-difference.ts';

/**
 * What becomes, or would become, of a row: `created` is missing now, `changed` is another one now, `extra` is there and not in the backup and
 * stays, `refused` cannot be what the backup says.
 */
export type RowFate = 'created' | 'changed' | 'kept' | 'extra' | 'refused';

/** JSON, for the row of the run. */
export interface ComparedRow {
  readonly table: OwnRowTable;
  readonly id: string;
  readonly fate: RowFate;
  /** For one that differs: the names of the fields, never a value. */
  readonly fields?: readonly string[];
  readonly reason?: string;
  /** A config whose secrets this master key does not open: it is made inactive. */
  readonly inactive?: true;
}

export interface RowComparison {
  /** In the backup and not there now. */
  readonly missing: readonly OwnRow[];
  /** There, and others than the backup says. */
  readonly changed: readonly { readonly row: OwnRow; readonly fields: readonly string[] }[];
  readonly extra: readonly OwnRow[];
  readonly sameCount: number;
}

/** Rows of a backup against those that are there, by table and id. */
export function compareRows(backup: readonly OwnRow[], current: readonly OwnRow[]): RowComparison {
  const now = new Map(current.map((row) => [keyOf(row), row]));
  const then = new Set(backup.map(keyOf));
  const missing = backup.filter((row) => !now.has(keyOf(row)));
  const pairs = backup.flatMap((row) => {
    const there = now.get(keyOf(row));
    return there === undefined ? [] : [{ row, fields: differingFields(there.row, row.row) }];
  });
  const changed = pairs.filter(({ fields }) => fields.length > 0);
  return { missing, changed, extra: current.filter((row) => !then.has(keyOf(row))), sameCount: pairs.length - changed.length };
}

function keyOf({ table, id }: OwnRow): string {
  return `${table}/${id}`;
}
