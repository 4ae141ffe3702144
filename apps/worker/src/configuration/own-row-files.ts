import type { Database } from '@holdfast/database/open-database';
import { canonicalJson, ownRowsOfEntity } from '@holdfast/database/own-rows-of-entity';
import type { RowFile } from '@holdfast/sources/configuration/row-files';
import { ownRowsPath } from '@holdfast/sources/source-options/configuration';
import { pathOfRow } from './row-paths.ts';

const readme = `Rows of Holdfast, as its configuration
======================================

Each file in rows/ is one row of the entity whose backup this is, as JSON with its keys in order:

  rows/repositories/<id>.json               where backups are put
  rows/backup_configs/<id>.json             what is backed up, when, and for how long it is kept
  rows/copy_configs/<id>.json               what is copied to a second repository
  rows/disaster_recovery_plans/<id>.json    plans

Left out is what changes by itself: when a row was last changed, and what was last seen of a storage.
Secrets (sealed..., encryptionKey) are sealed with AES-256-GCM under the master key of the service and
open under that key alone.
`;

/** The own rows of an entity as files: equal rows give equal files. Codes: those of ownRowsOfEntity. */
export async function ownRowFiles(database: Database, businessEntityId: string): Promise<RowFile[]> {
  const rows = await ownRowsOfEntity(database, businessEntityId);
  const files = rows.map(({ table, id, row }) => ({ path: pathOfRow({ table, id }), text: canonicalJson(row) }));
  return [{ path: `${ownRowsPath}/README.txt`, text: readme }, ...files];
}
