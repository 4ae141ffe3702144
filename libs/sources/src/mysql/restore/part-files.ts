import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { readBounded } from '../../read-bounded.ts';
import { manifestPath, parseManifest, type DatabaseManifest, type MysqlManifest } from '../manifest.ts';

/** The files of a part, wherever they lie: what a recovery reads. Paths begin at the part's own top. */
export interface PartFiles {
  /** In order. Code: path_not_found. */
  read(path: string): AsyncIterable<Uint8Array>;
}

/** A manifest is some hundred bytes a table. */
const maxManifestBytes = 256 * 1024 * 1024;

/** Codes: path_not_found (no such backup), repository_damaged. */
export async function readManifest(files: PartFiles): Promise<MysqlManifest> {
  return parseManifest(await readBounded(manifestPath, files.read(manifestPath), maxManifestBytes));
}

/** The database that is meant, by its name or as the only one. Code: mysql_not_found. */
export function chosenDatabase({ databases }: MysqlManifest, name: string | undefined): DatabaseManifest {
  const found = name === undefined && databases.length === 1 ? databases[0] : databases.find((database) => database.name === name);
  if (found !== undefined) return found;
  const what = name === undefined ? 'the backup has not exactly one database' : `the backup has no database ${name}`;
  throw new HoldfastError('mysql_not_found', what, {
    hint: `name one of these as sourceDatabase: ${databases.map((database) => database.name).join(', ')}`,
  });
}
