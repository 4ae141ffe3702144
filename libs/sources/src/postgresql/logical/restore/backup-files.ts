import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { readBounded } from '../../../read-bounded.ts';
import { manifestPath, parseManifest, type DatabaseManifest, type Manifest } from '../manifest.ts';

/** The files of a logical backup, wherever they lie: what a recovery reads. */
export interface BackupFiles {
  list(path: string): Promise<readonly { readonly name: string; readonly sizeBytes: number }[]>;
  /** From `fromByte` on, in order. */
  read(path: string, fromByte?: number): AsyncIterable<Uint8Array>;
}

/** A manifest is some hundred bytes a table. */
const maxManifestBytes = 256 * 1024 * 1024;

/** Codes: path_not_found (no logical backup), repository_damaged. */
export async function readManifest(files: BackupFiles): Promise<Manifest> {
  return parseManifest(await readBounded(manifestPath, files.read(manifestPath), maxManifestBytes));
}

/** The database that is meant, by its name or as the only one. Code: postgresql_not_found. */
export function chosenDatabase({ databases }: Manifest, name: string | undefined): DatabaseManifest {
  const found = name === undefined && databases.length === 1 ? databases[0] : databases.find((database) => database.name === name);
  if (found !== undefined) return found;
  const names = databases.map((database) => database.name).join(', ');
  throw new HoldfastError(
    'postgresql_not_found',
    name === undefined ? 'the backup has several databases' : `the backup has no database ${name}`,
    {
      hint: `name one of these as sourceDatabase: ${names}`,
    },
  );
}

/** The folder of a database in the backup. */
export function folderOf({ folder }: DatabaseManifest): string {
  return `/databases/${folder}`;
}
