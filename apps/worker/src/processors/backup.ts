import { join } from 'node:path';
import { findBackupWork } from '@holdfast/database/backup-jobs';
import { commitUnderFence, type RunOutcome } from '@holdfast/database/runs';
import { archive } from '@holdfast/engine/archiver';
import type { Repository } from '@holdfast/engine/repository';
import { chooseParent, findSnapshotByTag, listSnapshots, type Snapshot } from '@holdfast/engine/snapshots';
import { openStatCache } from '@holdfast/engine/stat-cache/stat-cache';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { compressionOf, parseBackupOptions } from '@holdfast/jobs/backup-options';
import { encodeFacts } from '@holdfast/policy/recovery-facts';
import { walSourceOptionsSchema } from '@holdfast/sources/source-options';
import { backupStoring, tagsOf } from '../backup-storing.ts';
import { lockOptionsOf } from '../lock-options.ts';
import { openRepositoryOf } from '../open-repository.ts';
import { openSource } from '../open-source.ts';
import { factsPath, loadStoredFacts } from '../postgresql/stored-facts.ts';
import { backUpWal } from '../postgresql/wal-backup.ts';
import { backupOutcome } from '../run-outcomes.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { threadOptionsOf } from '../thread-options.ts';

/**
 * Backs up the config's source. A former attempt may have written its snapshot and died before the row knew: that snapshot,
 * found by its tag, is this run's result then.
 */
export async function processBackup(run: RunInHand<'backup'>): Promise<RunOutcome<'backup'>> {
  const { context, claim, signal, onProgress } = run;
  const work = await findBackupWork(context.database.client, claim.id);
  if (work.backupConfig.deletedAt !== null) throw new HoldfastError('config_inactive', `backup config ${work.backupConfigId} is deleted`);
  const backupOptions = parseBackupOptions(work.backupConfig.options);

  await using repository = await openRepositoryOf(run, work.repository, { create: true, warm: true, limits: backupOptions });
  const tags = tagsOf(work);
  // A damaged snapshot must not keep new ones from being made: that is when they are needed most.
  const onUnreadable = (id: string, error: Error): void => context.logger.warn({ err: error, id }, 'a snapshot cannot be read; left aside');
  const snapshots = await listSnapshots(repository, { signal, onUnreadable });
  const adopted = findSnapshotByTag(snapshots, tags.job);
  if (adopted !== undefined) return await adopt(run, repository, adopted);

  const walOptions = walSourceOptionsSchema.safeParse(work.backupConfig.source);
  if (walOptions.success) return await backUpWal(run, work, walOptions.data, backupStoring(run, work, { repository, snapshots }));

  const { source, excludes } = await openSource(context, work.backupConfig, signal);
  try {
    const parent = parentOf(snapshots, tags.config, source.paths);
    const result = await archive({
      ...lockOptionsOf(run),
      repository,
      source,
      ...(parent === undefined ? {} : { parent }),
      hostname: context.hostname,
      username: context.username,
      tags: ['holdfast', tags.job, tags.config],
      excludes,
      compression: compressionOf(work.backupConfig.compressionEnabled, backupOptions),
      statCache: openStatCache({
        folder: join(context.config.scratchDir, 'stat-cache'),
        location: repository.storage.location,
        hostname: context.hostname,
        source,
      }),
      ...threadOptionsOf(backupOptions),
      onProgress,
      // Only the holder of the run may leave a snapshot, and not after somebody has cancelled it.
      commit: (write) => commitUnderFence(context.database, claim, () => write()),
    });
    return backupOutcome(repository.storage.location, result, { hostname: context.hostname, parentId: parent?.id ?? null });
  } finally {
    await source.close();
  }
}

/** The config's last snapshot of the same paths, whichever worker made it: workers of one config see the same files. */
function parentOf(snapshots: readonly Snapshot[], configTag: string, paths: readonly string[]): Snapshot | undefined {
  const last = findSnapshotByTag(snapshots, configTag);
  return last && chooseParent(snapshots, { hostname: last.hostname ?? '', paths, tags: [configTag] });
}

async function adopt(run: RunInHand<'backup'>, repository: Repository, snapshot: Snapshot): Promise<RunOutcome<'backup'>> {
  const { location } = repository.storage;
  // Recovery cannot do without the facts of a physical or incremental backup.
  const hasFacts = snapshot.paths.includes(factsPath);
  const facts = hasFacts ? await loadStoredFacts({ ...lockOptionsOf(run), repository, snapshotId: snapshot.id }) : null;
  return {
    status: 'completed',
    result: {
      snapshotId: snapshot.id,
      filePath: `${location}/snapshots/${snapshot.id}`,
      fileSize: BigInt(snapshot.summary?.totalBytesProcessed ?? 0),
      checksum: snapshot.tree,
      metadata: {
        hostname: snapshot.hostname ?? null,
        parentId: snapshot.parent ?? null,
        adopted: true,
        summary: countsOf(snapshot),
        ...(facts === null ? {} : { postgresql: encodeFacts(facts) }),
      },
    },
  };
}

/** The summary without its times, which JSON cannot hold. */
function countsOf({ summary }: Snapshot): Record<string, number> {
  return Object.fromEntries(Object.entries(summary ?? {}).flatMap(([name, value]) => (typeof value === 'number' ? [[name, value]] : [])));
}
