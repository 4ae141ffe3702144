import { isObjectId, type ObjectId } from './object-id.ts';

/**
 * Where a repository keeps its objects (restic's default layout): `config`, `keys/<id>`, `locks/<id>`, `snapshots/<id>`,
 * `index/<id>`, `data/<first two digits of id>/<id>`.
 */
export const configName = 'config';
export const keysPrefix = 'keys/';
export const locksPrefix = 'locks/';
export const snapshotsPrefix = 'snapshots/';
export const indexPrefix = 'index/';
export const dataPrefix = 'data/';

/** The name of the object of each kind that has `id`. */
export const keyName = (id: ObjectId): string => keysPrefix + id;
export const lockName = (id: ObjectId): string => locksPrefix + id;
export const snapshotName = (id: ObjectId): string => snapshotsPrefix + id;
export const indexName = (id: ObjectId): string => indexPrefix + id;
export const packName = (id: ObjectId): string => `${dataPrefix}${id.slice(0, 2)}/${id}`;

const nameMakers = [keyName, lockName, snapshotName, indexName, packName];

/**
 * The id in a name that the functions above make; null for every other name (`config`, a temporary file of another program,
 * a pack in the wrong folder), so that what is no object of the repository can be passed over.
 */
export function idOfName(name: string): ObjectId | null {
  const id = name.slice(name.lastIndexOf('/') + 1);
  if (!isObjectId(id)) return null;
  return nameMakers.some((make) => make(id) === name) ? id : null;
}
