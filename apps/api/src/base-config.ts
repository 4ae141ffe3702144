import { lockLiveConfig, type BackupConfigRow } from '@holdfast/database/backup-configs';
import { liveConfigsOn } from '@holdfast/database/chain-backups';
import type { Transaction } from '@holdfast/database/open-database';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { parseSourceOptions, type SourceOptions } from '@holdfast/sources/source-options';
import { fieldError } from './problem.ts';

/**
 * Configs that build on the physical backups of another one, their base: it has the server and the password, and one repository holds the
 * whole chain. The base's row is locked by whoever writes one of the two, so neither goes while the other one comes.
 */

const field = 'source.baseConfigId';

/** The base that the source names, locked until the transaction ends; null when it names none. Code: request_invalid. */
export async function lockBase(tx: Transaction, businessEntityId: string, source: SourceOptions): Promise<BackupConfigRow | null> {
  if (source.type !== 'postgresql_wal') return null;
  let base: BackupConfigRow;
  try {
    base = await lockLiveConfig(tx, [businessEntityId], source.baseConfigId);
  } catch (error) {
    if (!isHoldfastError(error, 'not_found')) throw error;
    throw unfit('names no config of this entity; send the id of one that takes physical backups');
  }
  if (isPhysical(base)) return base;
  throw unfit('takes no physical backups to build on; send the id of a database_full config whose source.method is physical');
}

/** Once the config is written, in the same transaction. Code: request_invalid. */
export function refuseOtherRepository(config: BackupConfigRow, base: BackupConfigRow | null): void {
  if (base?.id === config.id) throw unfit('is this config itself; send the id of another one');
  if (base === null || base.repositoryId === config.repositoryId) return;
  throw unfit('backs up to another repository; send the storageOptions and the encryptionEnabled of that config');
}

/** After the change of a config, in the same transaction. Code: conflict, when others build on what it was. */
export async function refuseLossOfBase(tx: Transaction, before: BackupConfigRow, after: BackupConfigRow): Promise<void> {
  const isMoved = after.repositoryId !== before.repositoryId;
  if (isPhysical(after) && !isMoved) return;
  const building = await tellConfigsOn(tx, before.id);
  if (building === null) return;
  const message = `cannot change: ${building}; ${remedy}`;
  throw fieldError('conflict', [{ field: isPhysical(after) ? 'storageOptions' : 'source', message }]);
}

/** After the deletion of a config, in the same transaction. Code: conflict, when others build on it. */
export async function refuseDeletionOfBase(tx: Transaction, id: string): Promise<void> {
  const building = await tellConfigsOn(tx, id);
  if (building !== null) throw new HoldfastError('conflict', building, { hint: remedy });
}

const remedy = 'delete those first, or let them build on another one';

async function tellConfigsOn(tx: Transaction, id: string): Promise<string | null> {
  const building = await liveConfigsOn(tx, id);
  if (building.length === 0) return null;
  return `configs build on this one: ${building.map((config) => `${config.name} (${config.id})`).join(', ')}`;
}

function isPhysical({ source }: BackupConfigRow): boolean {
  const options = parseSourceOptions(source);
  return options.type === 'postgresql' && options.method === 'physical';
}

function unfit(message: string): HoldfastError {
  return fieldError('request_invalid', [{ field, message }]);
}
