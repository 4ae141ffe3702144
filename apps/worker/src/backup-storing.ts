import type { BackupWork } from '@holdfast/database/backup-jobs';
import { commitUnderFence } from '@holdfast/database/runs';
import type { ArchiveStreamOptions } from '@holdfast/engine/archive-stream';
import type { Repository } from '@holdfast/engine/repository';
import { chooseParent, findSnapshotByTag, type Snapshot } from '@holdfast/engine/snapshots';
import { compressionOf, parseBackupOptions } from '@holdfast/jobs/backup-options';
import { lockOptionsOf } from './lock-options.ts';
import type { RunInHand } from './run-with-claim.ts';
import { threadOptionsOf } from './thread-options.ts';

/** How the snapshot of a run is stored, whatever comes into it. */
export interface BackupStoring {
  readonly options: Omit<ArchiveStreamOptions, 'paths' | 'receive' | 'parent' | 'onProgress' | 'expected'>;
  /** The config's last snapshot, whatever its paths. */
  readonly last: Snapshot | undefined;
  /** The config's last snapshot of the same paths. */
  readonly parentOf: (paths: readonly string[]) => Snapshot | undefined;
  /** The config's newest snapshot that this run has not made, whatever its paths. */
  readonly previous: Snapshot | undefined;
}

/** The tags of a run's snapshot, by which it and the config's last one are found. */
export function tagsOf(work: BackupWork): { job: string; config: string } {
  return { job: `job:${work.id}`, config: `config:${work.backupConfigId}` };
}

export function backupStoring(
  run: RunInHand<'backup'>,
  work: BackupWork,
  {
    repository,
    snapshots,
    adoptedId = null,
  }: {
    readonly repository: Repository;
    readonly snapshots: readonly Snapshot[];
    /** Of a config that an adoption made: its newest snapshot, the parent of the first one that we make. */
    readonly adoptedId?: string | null;
  },
): BackupStoring {
  const { context, claim } = run;
  const backupOptions = parseBackupOptions(work.backupConfig.options);
  const tags = tagsOf(work);
  const last = findSnapshotByTag(snapshots, tags.config);
  return {
    last,
    options: {
      ...lockOptionsOf(run),
      repository,
      hostname: context.hostname,
      username: context.username,
      tags: ['holdfast', tags.job, tags.config],
      compression: compressionOf(work.backupConfig.compressionEnabled, backupOptions),
      ...threadOptionsOf(backupOptions),
      // Only the holder of the run may leave a snapshot, and not after somebody has cancelled it.
      commit: (write) => commitUnderFence(context.database, claim, () => write()),
    },
    previous: snapshots.findLast((each) => each.tags?.includes(tags.config) === true && !each.tags.includes(tags.job)),
    // Whichever worker made it: workers of one config see the same files.
    parentOf: (paths) => {
      if (last !== undefined) return chooseParent(snapshots, { hostname: last.hostname ?? '', paths, tags: [tags.config] });
      const adopted = snapshots.find(({ id }) => id === adoptedId);
      return adopted && chooseParent([adopted], { hostname: adopted.hostname ?? '', paths });
    },
  };
}
