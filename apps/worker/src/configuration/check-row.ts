import { isJsonObject } from '@holdfast/database/json-object';
import type { Transaction } from '@holdfast/database/open-database';
import { columnsOfOwnRows, entityOfOwnRow } from '@holdfast/database/own-rows-applying';
import type { OwnRow } from '@holdfast/database/own-rows-of-entity';
import { refuseTakenPlace } from '@holdfast/database/repository-place';
import { systemEntityId } from '@holdfast/database/scope';
import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import { parseBackupOptions } from '@holdfast/jobs/backup-options';
import { parseSourceOptions } from '@holdfast/sources/source-options';
import { locationKey, parseStorageOptions } from '@holdfast/storage/storage-options';

/**
 * Why a row of a backup may not become a row of the entity; null when it may. A snapshot may be made by anybody who has the repository's
 * password: what is in it counts no more than a request, and refers to rows of the same entity only. Throws errors of the database alone.
 */
export async function whyRefused(tx: Transaction, businessEntityId: string, row: OwnRow): Promise<string | null> {
  const values = row.row;
  if (values['businessEntityId'] !== businessEntityId) return 'is of another entity';
  if (values['id'] !== row.id) return 'has another id than its file';
  const columns = await columnsOfOwnRows(tx, row.table);
  const [unknown] = Object.keys(values).filter((column) => !columns.has(column));
  if (unknown !== undefined) return `has a field ${JSON.stringify(unknown)} that this version does not know`;
  const owner = await entityOfOwnRow(tx, row);
  if (owner !== null && owner !== businessEntityId) return 'has an id that is taken';
  try {
    return await whyUnfit(tx, businessEntityId, row);
  } catch (error) {
    const { code, message } = asHoldfastError(error);
    if (code === 'database_unreachable' || code === 'internal') throw error;
    return message;
  }
}

async function whyUnfit(tx: Transaction, entity: string, { table, id, row }: OwnRow): Promise<string | null> {
  switch (table) {
    case 'repositories': {
      const options = parseStorageOptions(row['storageOptions']);
      const key = locationKey(options);
      if (row['locationKey'] !== key || row['storageLocation'] !== options.type) return 'names another place than its options';
      const encryptionEnabled = row['encryptionEnabled'] === true;
      await refuseTakenPlace(tx, { businessEntityId: entity, locationKey: key, encryptionEnabled });
      const other = await tx.repository.findFirst({
        where: { businessEntityId: entity, locationKey: key, encryptionEnabled, NOT: { id } },
        select: { id: true },
      });
      return other === null ? null : `has the place of repository ${other.id}`;
    }
    case 'backup_configs':
      return await whyUnfitConfig(tx, entity, { id, row });
    case 'copy_configs':
      return (await whyForeign(tx, entity, row['sourceRepositoryId'])) ?? (await whyForeign(tx, entity, row['targetRepositoryId']));
    case 'disaster_recovery_plans':
      return null;
  }
  throw new Error(`no table of own rows: ${String(table)}`);
}

async function whyUnfitConfig(tx: Transaction, entity: string, { id, row }: Pick<OwnRow, 'id' | 'row'>): Promise<string | null> {
  const source = parseSourceOptions(row['source']);
  parseBackupOptions(row['options']);
  if (source.type === 'own_database' && entity !== systemEntityId) return 'backs up the database of the service';
  const baseId: unknown = isJsonObject(row['source']) ? row['source']['baseConfigId'] : undefined;
  if (typeof baseId === 'string') {
    const base = await tx.backupConfig.findFirst({ where: { id: baseId, businessEntityId: entity }, select: { id: true } });
    if (base === null) return `builds on config ${baseId}, which the entity does not have`;
  }
  const { repositoryId, adoptionKey } = row;
  if (typeof repositoryId === 'string' && typeof adoptionKey === 'string') {
    const other = await tx.backupConfig.findFirst({ where: { repositoryId, adoptionKey, NOT: { id } }, select: { id: true } });
    if (other !== null) return `stands for the same adopted snapshots as config ${other.id}`;
  }
  return await whyForeign(tx, entity, repositoryId);
}

async function whyForeign(tx: Transaction, businessEntityId: string, repositoryId: unknown): Promise<string | null> {
  const isThere =
    typeof repositoryId === 'string' &&
    (await tx.repository.findFirst({ where: { id: repositoryId, businessEntityId }, select: { id: true } })) !== null;
  return isThere ? null : `names repository ${JSON.stringify(repositoryId)}, which the entity does not have`;
}
