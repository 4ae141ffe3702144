import { isOwnRowTable, type OwnRow, type OwnRowTable } from '@holdfast/database/own-rows-of-entity';
import { ownRowsPath } from '@holdfast/sources/source-options/configuration';

/** `/holdfast/rows/<table>/<id>.json`: one file a row. */
export const rowsFolder = `${ownRowsPath}/rows`;

export function pathOfRow({ table, id }: Pick<OwnRow, 'table' | 'id'>): string {
  return `${rowsFolder}/${table}/${id}.json`;
}

/** Null for any other path. */
export function rowOfPath(path: string): { readonly table: OwnRowTable; readonly id: string } | null {
  const groups = /^\/holdfast\/rows\/(?<table>[a-z_]+)\/(?<id>[A-Za-z0-9_-]{1,64})\.json$/u.exec(path)?.groups;
  const [table, id] = [groups?.['table'], groups?.['id']];
  return table !== undefined && id !== undefined && isOwnRowTable(table) ? { table, id } : null;
}
