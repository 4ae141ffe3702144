import type { BackupJobRow } from '@holdfast/database/backup-jobs';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** The snapshot of a backup that is to be verified or recovered. Throws backup_not_usable: it may have expired since the request. */
export function usableSnapshot(backup: BackupJobRow): string {
  if (backup.snapshotId !== null) return backup.snapshotId;
  const why = backup.expiredAt === null ? `is ${backup.status}` : 'has expired';
  throw new HoldfastError('backup_not_usable', `backup job ${backup.id} ${why} and has no snapshot`, { context: { id: backup.id } });
}
