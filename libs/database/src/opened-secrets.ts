import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { Transaction } from './open-database.ts';
import { repositoryPassword, storageCredentials } from './repositories.ts';
import { unseal, type MasterKey } from './sealed-secret.ts';

/** Whether a master key opens what a config needs to work: its repository's password and credentials, and the key that it was given. Code: not_found. */
export async function opensConfigSecrets(rows: Transaction, id: string, masterKey: MasterKey): Promise<boolean> {
  const { repositoryId, encryptionKey, repository } = await rows.backupConfig.findUniqueOrThrow({
    where: { id },
    select: { repositoryId: true, encryptionKey: true, repository: { select: { storageCredentialsPlace: true } } },
  });
  try {
    await repositoryPassword(rows, repositoryId, masterKey);
    await storageCredentials(rows, repositoryId, repository.storageCredentialsPlace ?? '', masterKey);
    if (encryptionKey !== null) unseal(masterKey, `backup_configs.encryptionKey:${repositoryId}`, encryptionKey);
    return true;
  } catch (error) {
    if (isHoldfastError(error, 'secret_unreadable')) return false;
    throw error;
  }
}
