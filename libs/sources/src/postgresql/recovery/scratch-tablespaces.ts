import type { BackupFiles } from '../logical/restore/backup-files.ts';
import { mapLines } from '../logical/restore/map-lines.ts';

/** `CREATE TABLESPACE fast OWNER app LOCATION '/mnt/fast';` as pg_dumpall writes it, on a line of its own. */
const createTablespace = /^(CREATE TABLESPACE .* LOCATION) '(?:[^']|'')*';$/u;

/**
 * The files with tablespaces inside of the server's own data folder: where they are at the server that was backed up is no place of this
 * machine. Servers since August 2022 can do that, when it is allowed.
 */
export function withInPlaceTablespaces(files: BackupFiles): BackupFiles {
  return {
    list: (path) => files.list(path),
    read: (path, fromByte) => (path === '/globals.sql' ? mapLines(files.read(path, fromByte), adapt) : files.read(path, fromByte)),
  };
}

function adapt(line: string): string {
  return createTablespace.test(line) ? `SET allow_in_place_tablespaces = on;\n${line.replace(createTablespace, "$1 '';")}` : line;
}
