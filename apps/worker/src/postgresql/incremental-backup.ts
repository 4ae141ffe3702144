import { findBackupConfig } from '@holdfast/database/backup-configs';
import type { BackupWork } from '@holdfast/database/backup-jobs';
import { listChainBackups } from '@holdfast/database/chain-backups';
import type { RunOutcome } from '@holdfast/database/runs';
import type { IncrementalSourceOptions } from '@holdfast/sources/source-options/postgresql-wal';
import type { BackupStoring } from '../backup-storing.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { backUpBlocks } from './blocks-backup.ts';
import { backUpWal } from './wal-backup.ts';

/** Backs up what came since the last backup of the chain that the config builds on. Codes: not_found, those of backUpBlocks and backUpWal. */
export async function backUpIncrement(
  run: RunInHand<'backup'>,
  work: BackupWork,
  options: IncrementalSourceOptions,
  storing: BackupStoring,
): Promise<RunOutcome<'backup'>> {
  const { client } = run.context.database;
  const baseConfig = await findBackupConfig(client, [work.businessEntityId], options.baseConfigId);
  const chain = await listChainBackups(client, baseConfig.id);
  if (options.method === 'blocks') return await backUpBlocks(run, work, { baseConfig, chain }, storing);
  return await backUpWal(run, work, { options, baseConfig, chain }, storing);
}
