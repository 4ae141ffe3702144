import type { BackupConfigRow } from '@holdfast/database/backup-configs';
import type { BackupWork } from '@holdfast/database/backup-jobs';
import type { ChainBackup } from '@holdfast/database/chain-backups';
import type { RunOutcome } from '@holdfast/database/runs';
import { withSnapshotFiles } from '@holdfast/engine/snapshot-files';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { chainOf } from '@holdfast/policy/recovery-chains';
import { chainsOf, factsOf } from '@holdfast/policy/recovery-facts';
import { parseSourceOptions } from '@holdfast/sources/source-options';
import type { BackupStoring } from '../backup-storing.ts';
import { lockOptionsOf } from '../lock-options.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { takeBase } from './base-backup.ts';

/**
 * Backs up the blocks that changed since the newest base backup of the chain, full or not. `baseConfig` has the server and the password;
 * `chain` is what listChainBackups says of it. Codes as of backUpBase, and postgresql_wal_lost when only a full backup can go on.
 */
export async function backUpBlocks(
  run: RunInHand<'backup'>,
  work: BackupWork,
  { baseConfig, chain }: { readonly baseConfig: BackupConfigRow; readonly chain: readonly ChainBackup[] },
  storing: BackupStoring,
): Promise<RunOutcome<'backup'>> {
  const options = parseSourceOptions(baseConfig.source);
  if (options.type !== 'postgresql' || options.method !== 'physical') {
    throw new HoldfastError('request_invalid', `backup config ${baseConfig.id} takes no physical backups to build on`);
  }
  const own = chain.filter(({ repositoryId }) => repositoryId === work.repositoryId);
  const newest = newestBase(own);
  if (newest === undefined) throw needsFull(baseConfig, 'there is no base backup to build on');
  const manifest = await loadManifest(run, storing, newest.snapshotId);
  const predecessor = { jobId: newest.jobId, manifest };
  try {
    return await takeBase(run, { options, configId: baseConfig.id, predecessor }, storing);
  } catch (error) {
    if (isHoldfastError(error, 'postgresql_wal_lost')) throw needsFull(baseConfig, error.message, error);
    throw error;
  }
}

/** The newest base backup of the newest cluster whose predecessors are all there. */
function newestBase(chain: readonly ChainBackup[]): ChainBackup | undefined {
  const chains = chainsOf(
    chain.flatMap(({ jobId, metadata }) => {
      const facts = factsOf(metadata);
      return facts === null ? [] : [{ jobId, facts }];
    }),
  );
  const whole = (chains?.bases ?? []).filter((base) => chains !== null && chainOf(chains, base) !== null);
  // Times are whole seconds: two of the same one are told apart by where they end.
  const newest = whole.toSorted((a, b) => Number(b.endTimeUs - a.endTimeUs) || Number(b.endLsn - a.endLsn))[0];
  return chain.find(({ jobId }) => jobId === newest?.id);
}

async function loadManifest(run: RunInHand<'backup'>, { options }: BackupStoring, snapshotId: string): Promise<Uint8Array> {
  return await withSnapshotFiles({ ...lockOptionsOf(run), repository: options.repository, snapshotId }, async (files) => {
    const pieces: Uint8Array[] = [];
    for await (const piece of files.read('/data/backup_manifest')) pieces.push(piece);
    return Buffer.concat(pieces);
  });
}

function needsFull(baseConfig: BackupConfigRow, message: string, cause?: unknown): HoldfastError {
  return new HoldfastError('postgresql_wal_lost', message, {
    hint: `run backup config ${baseConfig.name} (${baseConfig.id}): its next full backup begins a new chain`,
    context: { baseConfigId: baseConfig.id },
    ...(cause === undefined ? {} : { cause }),
  });
}
