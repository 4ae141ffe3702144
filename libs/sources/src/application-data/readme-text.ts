import type { ManifestPaths } from './manifest.ts';

export interface ReadmePart {
  readonly name: string;
  readonly kind: string;
  /** Names of files, where it has a few that are known beforehand. */
  readonly file?: string | undefined;
  /** Where it was, for a SQLite database. */
  readonly path?: string | undefined;
}

/** How a set is restored with nothing but restic and stock programs; a test follows the commands word for word. */
export function readmeText(parts: readonly ReadmePart[], files: readonly ManifestPaths[]): string {
  return [
    'This snapshot is the data of one application, all of it of one moment: see manifest.json beside this file.',
    'It can be restored with restic (https://restic.net) and the programs that come with the databases.',
    '',
    '1. Get everything out, into an empty folder:',
    '',
    '     restic -r REPOSITORY restore SNAPSHOT --target TARGET',
    '',
    ...files.map(({ name, paths }) => `   Files of "${name}" are then at ${paths.map((path) => `TARGET${path}`).join(', ')}.`),
    ...(files.length === 0 ? [] : ['   Move them to their places while the application is stopped.', '']),
    ...parts.flatMap((part, index) => [`${index + 2}. ${partText(part)}`, '']),
    'Stop the application before you put anything in place, put back all parts of the set, and start it again.',
    '',
  ].join('\n');
}

function partText({ name, kind, file = '', path = '' }: ReadmePart): string {
  const folder = `TARGET/application-data/${name}`;
  if (kind !== 'sqlite') return `Part "${name}" (${kind}): ${folder}/README.txt says how it is restored.`;
  return [
    `Part "${name}" is the SQLite database ${path}. It is one file, which needs no other. Look at it first:`,
    '',
    `     sqlite3 ${folder}/${file} 'PRAGMA integrity_check'`,
    '',
    '   With the application stopped, remove what SQLite has left beside the old database and put the new one in its place:',
    '',
    `     rm -f ${path} ${path}-wal ${path}-shm ${path}-journal`,
    `     cp -p ${folder}/${file} ${path}`,
    '',
    '   A -wal or -journal of the old database beside the new one would destroy it.',
  ].join('\n');
}
