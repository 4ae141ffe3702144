import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * The file tablespace_map beside backup_label: where the server that recovers puts its links in pg_tblspc. A line for each tablespace,
 * `16385 /srv/fast`; a backslash stands before a backslash, a line feed or a carriage return in the path.
 * Source: src/backend/access/transam/xlogrecovery.c, read_tablespace_map.
 */
export type TablespaceMap = ReadonlyMap<string, string>;

/** Code: postgresql_chain_broken, for a text that no server wrote. */
export function parseTablespaceMap(text: string): TablespaceMap {
  const map = new Map<string, string>();
  for (const [, oid = '', path = ''] of text.matchAll(/^(\d+) ((?:[^\\\n\r]|\\[\s\S])+)\r?\n/gmu)) {
    map.set(oid, path.replaceAll(/\\([\s\S])/gu, '$1'));
  }
  if (encodeTablespaceMap(map) !== text) {
    throw new HoldfastError('postgresql_chain_broken', 'the file tablespace_map of the base backup cannot be read');
  }
  return map;
}

export function encodeTablespaceMap(map: TablespaceMap): string {
  return [...map].map(([oid, path]) => `${oid} ${path.replaceAll(/[\\\n\r]/gu, String.raw`\$&`)}\n`).join('');
}
